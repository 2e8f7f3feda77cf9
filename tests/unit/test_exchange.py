"""A whole export, imported into an empty store and exported again, is the same; the same file
twice adds nothing."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nimad.check import check
from nimad.core import maintenance
from nimad.core.capture import CapturedTurn
from nimad.core.store import MemoryStore
from nimad.errors import BadRecord, UsageError
from nimad.legacy.bundle import take_bundle
from nimad.legacy.detect import GRAPH
from nimad.legacy.source import REFUSALS
from nimad.legacy.stores import find
from nimad.model import MAX_TEXT, Memory, Relation
from nimad.serve.access import Peer
from nimad.serve.exchange_verbs import ExchangeVerbs
from nimad.serve.verbs import Call
from nimad.store import broadcasts, exchange, goals, suggestions
from nimad.store.goals import Goal
from nimad.store.identity import identity
from nimad.store.suggestions import Pair
from tests.legacy.moving import migrate, opened
from tests.legacy.stores import create, insert, small_store
from tests.unit.test_round_trip import MEMORY, odd_rows

ME = Peer(os.getpid(), os.getuid(), os.getgid())


def ask(store: MemoryStore, verb: str, fd: int) -> dict[str, Any]:
    verbs = {each.name: each for each in ExchangeVerbs(store).all()}
    answer: dict[str, Any] = verbs[verb].answer(Call({}, ME, [fd]))
    return answer


def exported(store: MemoryStore) -> bytes:
    with os.fdopen(os.memfd_create("export"), "r+b") as file:
        counts = ask(store, "export.all", file.fileno())["exported"]
        file.seek(0)
        data = file.read()
    assert sum(counts.values()) == data.count(b"\n") - 1
    return data


def imported(store: MemoryStore, data: bytes) -> dict[str, Any]:
    with os.fdopen(os.memfd_create("import"), "r+b") as file:
        file.write(data)
        file.flush()
        return ask(store, "import.all", file.fileno())


def told(data: bytes) -> list[dict[str, Any]]:
    """The lines, with the place of a memory among the memories in place of its id."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in data.splitlines()]
    place = {each["id"]: n for n, each in enumerate(lines) if "text" in each}
    del lines[0]["made"]
    lines[0].pop("stores", None)
    for each in lines:
        if "text" in each:
            each["id"] = place[each["id"]]
        for name in exchange.MEMORIES_OF.get(each.get("kind", ""), ()):
            row = each["row"]
            row[name] = row[name] if row[name] is None else place[row[name]]
    return lines


@contextmanager
def empty() -> Iterator[MemoryStore]:
    with TemporaryDirectory() as place, opened(Path(place) / "state") as (store, _):
        yield store


def check_exchange(store: MemoryStore) -> bytes:
    first = exported(store)
    with empty() as other:
        new = imported(other, first)
        assert not any(new["known"].values())
        second = exported(other)
        assert told(second) == told(first)
        assert check(other) == []
        again = imported(other, first)
        assert not any(again["imported"].values()), again
        assert exported(other).partition(b"\n")[2] == second.partition(b"\n")[2]
    return first


def fill(store: MemoryStore, *, long: bool = True) -> None:
    """One of each kind, with what is hard about it."""
    many = 200_000 if long else 20
    store.remember_many(
        [
            Memory(text="without a date", timestamp=None, created=None),
            Memory(text="twice the same", timestamp=5, created=7),
            Memory(text="twice the same", timestamp=5, created=7),
            Memory(text="x" * many, extra={"long": ["y" * 5 * many] * 3, "source": "mine"}),
            Memory(text="blobs", blobs={"vector": os.urandom(7 * many), "none": b""}),
            Memory(text="a document", namespace="a.b", key="k", extra={"value": {"n": 1}}),
            Memory(text="\u2028 \x00 \x1b[31m ＡＢＣ", who="", tags=("a", "ß")),
        ]
    )
    for turn, roles in (("t1", ("input", "output")), ("t2", ("input",))):
        said = {
            role: Memory(text=f"{role} of {turn}", layer=role, session="s", turn=turn)
            for role in roles
        }
        store.capture([CapturedTurn(turn, "default", "s", said, '{"CARE": 1}')])
    ids = store.records.ids().tolist()
    with store.records.write() as tx:
        goals.add(tx, Goal(ids[1], 0.5, 1_700_000_000_000, due=1_800_000_000_000))
        goals.add(tx, Goal(ids[3], 0.25, 1_700_000_000_000))
        goals.close(tx, ids[1], 1_700_000_000_001, by=ids[0])
        same = (Relation(ids[0], ids[2], "like", 0.5), None, None)
        tx.add_relations([same, same, (Relation(ids[2], ids[0], "ähnlich", None), None, {"a": 1})])
        found = [Pair("link", ids[0], ids[1], 0.75), Pair("repeat", ids[1], ids[2], 1)]
        suggestions.add(tx, found, 9)
        broadcasts.add(tx, ids[4], 1_700_000_000_000, 3, 0.5)
    store.forget([store.query("input of t2").hits[0].memory.id])


def test_one_of_each_kind_comes_back() -> None:
    with empty() as store:
        fill(store)
        kinds = {json.loads(line).get("kind") for line in exported(store).splitlines()}
        assert kinds == {None, "export", *exchange.SELECT} - {"source", "note", "board"}
        check_exchange(store)


def test_a_migrated_store_comes_back_and_what_was_forgotten_stays_so(tmp_path: Path) -> None:
    small_store(tmp_path / "graph.sqlite")
    with opened(tmp_path / "state") as (store, manager):
        migrate(manager, tmp_path / "graph.sqlite")
        fill(store)
        store.forget([2, 5])
        data = check_exchange(store)
    with opened(tmp_path / "new") as (other, manager):
        imported(other, data)
        (source,) = manager.status(None)["sources"]
        assert source["state"] == "verified"
        other.forget([3])
        assert imported(other, data)["imported"].get("memory", 0) == 0
        # the source itself is known, too: nothing of it comes twice
        migrate(manager, tmp_path / "graph.sqlite")
        texts = [memory.text for memory in other.export(0, 1000)]
        assert len(texts) - len(set(texts)) == 1  # "twice the same"


def test_odd_rows_come_back(tmp_path: Path) -> None:
    create(tmp_path / "graph.sqlite", loose=True)
    insert(tmp_path / "graph.sqlite", "memory_nodes", odd_rows())
    weights = [0.5, float("inf"), None, 1e300, float("-inf")]
    edges = [
        {"id": n, "source_id": 1, "target_id": 2, "relation": "a", "weight": weight}
        for n, weight in enumerate(weights, 1)
    ]
    insert(tmp_path / "graph.sqlite", "memory_edges", edges)
    with opened(tmp_path / "state") as (store, manager):
        migrate(manager, tmp_path / "graph.sqlite", time_zone="Asia/Tokyo")
        check_exchange(store)


@pytest.mark.slow
def test_real_stores_come_back(legacy_dir: Path, tmp_path: Path) -> None:
    done = 0
    for number, found in enumerate(find(legacy_dir).stores):
        with opened(tmp_path / f"s{number}") as (store, manager):
            try:
                if found.kind == GRAPH:
                    migrate(manager, found.path)
                else:
                    with take_bundle(found.members, found.path, tmp_path) as taken:
                        manager.attach(taken.fd, taken.request(strategy="full"))
                    manager.finish()
            except REFUSALS:  # the damaged ones
                continue
            check_exchange(store)
            done += 1
    assert done > 3


@given(st.lists(MEMORY, max_size=6, unique_by=lambda m: m.key or id(m)))
@settings(max_examples=5, suppress_health_check=list(HealthCheck))
def test_whatever_memories_hold_comes_back(memories: list[Memory]) -> None:
    with empty() as store:
        for memory in memories:
            store.remember_many([memory])
        check_exchange(store)


def test_what_is_as_large_as_a_legacy_row_may_be_comes_back() -> None:
    with empty() as store:
        blob = random.Random(1).randbytes(16 << 20)
        large = Memory("x" * MAX_TEXT, blobs={"a": blob, "b": b"1", "c": b""})
        store.remember_many([Memory("before"), large, Memory("after", blobs={"a": b"12"})])
        check_exchange(store)


def test_two_stores_come_into_one_and_sources_of_one_name_stay_apart(tmp_path: Path) -> None:
    exports = []
    for number in (1, 2):
        place = tmp_path / str(number)
        place.mkdir()
        small_store(place / "graph.sqlite", 10 * number)
        with opened(place / "state") as (store, manager):
            migrate(manager, place / "graph.sqlite")
            store.remember(Memory(text=f"of board {number}"))
            exports.append(exported(store))
    with empty() as store:
        for data in exports:
            imported(store, data)
        store.remember(Memory(text="mine"))
        before = exported(store)
        ledger = [line for line in before.splitlines() if line.startswith(b'{"kind":"source"')]
        names = [json.loads(line)["row"]["name"] for line in ledger]
        assert names == ["graph", "graph.2"]
        for data in exports:
            assert not any(imported(store, data)["imported"].values())
        assert exported(store).partition(b"\n")[2] == before.partition(b"\n")[2]


def test_what_a_fleet_brought_keeps_its_key_and_comes_once() -> None:
    with empty() as mine, empty() as other:
        for moment, store in enumerate((mine, other), 1):  # else both may be of one millisecond
            same = Memory(text="same text", timestamp=moment)
            store.remember_many([same, Memory(text=f"of {id(store)}")])
        me, they = identity(mine.records).store, identity(other.records).store
        with mine.records.write() as tx:  # as a round of nimad-sync leaves it
            tx.execute("INSERT INTO boards (id, store, name) VALUES (-1, ?, 'porch@1')", (they,))
            shared = [Memory(text="same text", source=("porch@1", 1), created=5, timestamp=5)]
            tx.add_memories(shared, board=-1)
        with other.records.write() as tx:
            tx.execute("INSERT INTO boards (id, store, name) VALUES (-1, ?, 'den@2')", (me,))
            back = Memory(text=f"of {id(mine)}", source=("den@2", 2), created=5, timestamp=5)
            gone = Memory(text="of mine, forgotten there", source=("den@2", 9), created=5)
            tx.add_memories([back, gone], board=-1)
        for store in (mine, other):
            maintenance.rebuild(store, "all")
        check_exchange(mine)
        for expected in (1, 0):  # what the round had not brought yet, and then nothing
            assert imported(other, exported(mine))["imported"]["memory"] == expected
            assert imported(mine, exported(other))["imported"]["memory"] == expected


def test_what_is_here_is_never_replaced() -> None:
    with empty() as store:
        store.remember(Memory(text="old", key="k", extra={"value": 1}))
        data = exported(store)
        store.remember(Memory(text="new", key="k", extra={"value": 2}))
        assert imported(store, data)["known"]["memory"] == 1
        assert [memory.text for memory in store.export(0, 9)] == ["new"]


HEADER = '{"kind":"export","format":2}\n'


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "line 1"),
        ('{"text": "x"}\n', "line 1"),
        ('{"kind":"export","format":3}\n', "line 1: its format is 3"),
        (HEADER + "x\n", "line 2"),
        (HEADER + '{"id": 1, "text": "x"}\n{"id": 1, "text": "y"}\n', "line 3"),
        (HEADER + '{"text": "x"}\n', "line 2"),
        (HEADER + '{"id": 1, "text": "x", "more": 1}\n', "line 2"),
        (HEADER + '{"id": 1, "text": "x", "source": {"name": "g", "id": 1}}\n', "line 2"),
        (HEADER + '{"kind": "thing", "row": {}}\n', "line 2: there is no kind"),
        (HEADER + '{"kind": "relation"}\n', "lines 2 to 2"),
        (HEADER + '{"kind": "relation", "row": {"origin": 1}}\n', "lines 2 to 2"),
        (HEADER + '{"kind": "goal", "row": {"memory": 1, "by": 2}}\n', "memory 1 does not stand"),
        (HEADER + '{"kind": "goal", "row": {"memory": "x", "by": []}}\n', "lines 2 to 2"),
        (HEADER + '{"kind": "source", "row": {"name": [], "fingerprint": {}}}\n', "lines 2 to 2"),
    ],
)
def test_a_line_that_is_none_is_named(text: str, where: str) -> None:
    with empty() as store:
        with pytest.raises(BadRecord, match=where):
            imported(store, text.encode())
        store.remember(Memory(text="it goes on"))


def test_only_an_empty_file_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with empty() as store, (tmp_path / "x").open("ab") as file, pytest.raises(UsageError):
        ask(store, "export.all", file.fileno())
