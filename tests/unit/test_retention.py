"""What a rule names is forgotten, whole, and nothing else; a dry run tells the same numbers."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from nimad.background.retention_job import EVERY, RetentionJob
from nimad.background.worker import Worker
from nimad.config import Config
from nimad.core.retention import BATCH, Chosen
from nimad.core.store import MemoryStore
from nimad.errors import ConfigError, UsageError
from nimad.model import Memory, Relation, now_ms
from nimad.namespaces import Namespaces
from nimad.reflection import goals
from nimad.selection import Selection, read, read_rules
from nimad.serve.access import Peer
from nimad.serve.memory_verbs import MemoryVerbs
from nimad.serve.verbs import Call
from nimad.text import common_form

DAY = 86_400_000
NOW = now_ms()
CONFIG = Config().replace(embedder="hash", graph__engine="none")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    made = MemoryStore.open(tmp_path / "s", CONFIG)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("layer=contemplation and before=90d", (("layer", "contemplation"), ("before", "90d"))),
        ("who='Dr X'  AND  tag = a and tag=b", (("who", "Dr X"), ("tag", "a"), ("tag", "b"))),
        ('before="8 May 2023"', (("before", "8 May 2023"),)),
        ("namespace=and", (("namespace", "and"),)),
        ("where=andes", (("where", "andes"),)),
    ],
)
def test_a_rule_is_read(text: str, terms: tuple[tuple[str, str], ...]) -> None:
    assert read(text) == Selection(terms)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be text"),
        (7, "must be text"),
        ("before 90d", "must be terms"),
        ("before=90d and", "must be terms"),
        ("before=90d or who=x", "must be terms"),
        ("before=90d who=x", "must be terms"),
        ("before=8 May 2023", "must be terms"),
        ("who=a and who=b", "must name who once"),
        ("age=90d", "must name fields among who, where"),
        ("layer=contemplatoin", "must name as layer one of input"),
        ("origin=stranger", "must name as origin one of owner"),
        ("found=yes", "must name as found one of never"),
        ("before=soon", "must give before a date"),
        ("who=''", "must name a who"),
        ("id=1; DROP TABLE memories", "must be terms"),
    ],
)
def test_what_is_no_rule_is_told(text: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(text)


def test_rules_of_the_configuration(tmp_path: Path) -> None:
    assert read_rules(["before=1y"]) == (read("before=1y"),) and read_rules(None) == ()
    with pytest.raises(ConfigError, match=r"retention \(rule 2\) must name fields"):
        Config().replace(retention=["before=1y", "x=1"])
    with pytest.raises(ConfigError, match="retention must be a list of rules"):
        Config().replace(retention="before=1y")


# --- what is forgotten ----------------------------------------------------------------------------

WHO = ("Anna", "anna ", "Ben", None)
LAYERS = ("note", "input", "contemplation")
ORIGINS = ("owner", "untrusted", None)


def drawn(draw: random.Random) -> Memory:
    """A memory with some of everything that rules name."""
    return Memory(
        f"The kettle {draw.random()}",
        who=draw.choice(WHO),
        where=draw.choice(("Rome", "rome", None)),
        layer=draw.choice(LAYERS),
        origin=draw.choice(ORIGINS),
        agent=draw.choice(("a", None)),
        tags=tuple(draw.sample(("x", "Y", "z"), draw.randrange(3))),
        namespace=draw.choice(("default", "other")),
        timestamp=draw.choice((None, NOW - DAY * draw.randrange(1, 200))),
        created=NOW - DAY * draw.randrange(1, 400),
        access_count=draw.choice((0, 3)),
        key=f"k{draw.random()}" if draw.random() < 0.1 else None,
    )


def term(draw: random.Random) -> tuple[str, str]:
    return draw.choice(
        [
            ("who", draw.choice(("ANNA", "ben"))),
            ("where", "ROME"),
            ("layer", draw.choice(LAYERS)),
            ("origin", draw.choice(("owner", "untrusted", "unknown"))),
            ("agent", "a"),
            ("tag", draw.choice(("x", "y"))),
            ("namespace", draw.choice(("default", "other"))),
            ("before", f"{draw.randrange(1, 200)}d"),
            ("after", f"{draw.randrange(1, 200)}d"),
            ("stored_before", f"{draw.randrange(1, 400)}d"),
            ("found", "never"),
        ]
    )


def holds(memory: Memory, terms: tuple[tuple[str, str], ...]) -> bool:
    """Whether a rule names a memory, worked out another way."""
    origins = [value for name, value in terms if name == "origin"]
    if memory.key is not None or (origins and (memory.origin or "unknown") not in origins):
        return False
    for name, value in terms:
        if name in ("who", "where", "layer", "namespace", "agent"):
            if common_form(getattr(memory, name) or "") != common_form(value):
                return False
        elif name == "tag":
            if common_form(value) not in map(common_form, memory.tags):
                return False
        elif name == "found":
            if memory.access_count:
                return False
        elif name != "origin":
            at = memory.created if name == "stored_before" else memory.timestamp
            edge = NOW - DAY * int(value[:-1])
            if at is None or (at < edge if name == "after" else at >= edge):
                return False
    return True


def test_a_rule_forgets_what_it_names_and_nothing_else(store: MemoryStore) -> None:
    draw = random.Random(7)
    forgotten = 0
    for _ in range(60):
        made = [drawn(draw) for _ in range(40)]
        ids = store.remember_many(made)
        with store.records.write() as tx:
            edges = [Relation(*draw.sample(ids, 2), "related_to", 1.0) for _ in range(20)]
            tx.add_relations([(edge, None, None) for edge in edges])
        goals.add(store, Memory("sell the kettle", who="Anna", timestamp=NOW - 90 * DAY))
        terms = dict(term(draw) for _ in range(draw.randrange(1, 4)))
        selection = read(" and ".join(f"{name}={value}" for name, value in terms.items()))
        kept = store.records.get(store.records.ids())
        is_goal = {goal.memory for goal, _ in goals.listed(store)}
        wanted = [n for n, m in sorted(kept.items()) if holds(m, selection.terms)]
        wanted = [number for number in wanted if number not in is_goal]
        before = store.records.counts()
        chosen = Chosen(store, selection, NOW, UTC)
        dry = chosen.forget(dry_run=True)
        assert store.records.counts() == before and dry.forgotten == wanted
        done = chosen.forget()
        forgotten += len(wanted)
        assert done.forgotten == wanted
        assert store.records.ids().tolist() == sorted(kept.keys() - set(wanted))
        gone = before["relations"] - store.records.counts()["relations"]
        assert done.removed.get("relations", 0) == dry.removed.get("relations", 0) == gone
    assert forgotten > 200


def test_many_go_in_batches_and_what_was_found_meanwhile_stays(store: MemoryStore) -> None:
    ids = store.remember_many([Memory(f"kettle {n}", created=NOW - DAY) for n in range(BATCH + 5)])
    batches = Chosen(store, read("found=never and stored_before=1h"), NOW, UTC).batches()
    assert next(batches) == ids[:BATCH]
    store.get(ids[BATCH])
    store.writer.accesses.count(ids[BATCH : BATCH + 2])
    assert list(batches) == [ids[BATCH + 2 :]]


def forget(store: MemoryStore, within: Namespaces | None = None, **given: Any) -> dict[str, Any]:
    (verb,) = (verb for verb in MemoryVerbs(store).all() if verb.name == "forget")
    done: dict[str, Any] = verb.answer(Call(given, Peer(1, 0, 0), within=within))
    return done


def test_the_verb_keeps_to_namespaces_and_takes_one_thing_at_a_time(store: MemoryStore) -> None:
    mine, theirs = store.remember_many([Memory("a", namespace="anna"), Memory("a")])
    anna = Namespaces(("anna",))
    for dry in (True, False):
        receipt = forget(store, anna, where="layer=note", dry_run=dry)
        assert receipt["forgotten"] == [mine] and receipt["count"] == 1
        assert "relations" not in receipt["removed"]
    assert forget(store, anna, where="namespace=default")["forgotten"] == []
    assert store.records.ids().tolist() == [theirs]
    with pytest.raises(UsageError, match="where, or ids"):
        forget(store, where="layer=note", ids=[theirs])
    with pytest.raises(UsageError, match="where must name fields"):
        forget(store, where="x=1")
    assert forget(store, where="layer=note", purge=True)["purged"] is True
    assert forget(store, where="layer=note", purge=True)["count"] == 0


# --- by itself ------------------------------------------------------------------------------------


class Day:
    """A worker's clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def work(job: RetentionJob) -> int:
    """Do all steps that are due; how many."""
    steps = 0
    while (step := job.next_step()) is not None and step.wait < EVERY / 2:
        step.run()
        steps += 1
    return steps


def test_rules_run_once_a_day_with_a_receipt_that_has_no_value(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Day()
    job = RetentionJob(store, Worker(lambda: store.config, clock))
    old = NOW - 100 * DAY
    ids = store.remember_many(
        [Memory(f"{n}", who="zyxgnu", timestamp=old) for n in range(BATCH + 1)] + [Memory("new")]
    )
    assert job.next_step() is None and work(job) == 0  # off by default
    store.configure(CONFIG.replace(retention=["who=zyxgnu and before=90d", "before=1000d"]))
    with caplog.at_level(logging.INFO):
        assert work(job) == 3
    assert store.records.ids().tolist() == ids[-1:]
    told = "retention: rule 1 (who and before) forgot 201 memories, 0 relations, 0 turns"
    assert told in caplog.text and "zyxgnu" not in caplog.text and "rule 2" not in caplog.text
    again = store.remember(Memory("x", who="zyxgnu", timestamp=old))
    assert work(job) == 0
    clock.at += EVERY
    assert work(job) > 0 and again not in store.records.ids()


def test_a_clock_that_may_be_wrong_forgets_nothing(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    number = store.remember(Memory("new"))
    store.configure(CONFIG.replace(retention=["before=90d"]))
    for wrong in (NOW + 500 * DAY, NOW + 20_000 * DAY, 0):
        store.clock.now = lambda at=wrong: at  # type: ignore[misc]
        work(RetentionJob(store, Worker(lambda: store.config, Day())))
    assert store.records.ids().tolist() == [number]
    assert "the clock may be wrong" in caplog.text
