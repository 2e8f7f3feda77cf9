"""A dream suggests pairs, names both ids, and does nothing before somebody accepts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nimad.background.dream_job import DreamJob
from nimad.background.worker import Worker
from nimad.check import check
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.errors import NotFound
from nimad.model import Memory, Relation
from nimad.reflection import goals
from nimad.reflection.dream import Dreamer, accept, dream, reject
from nimad.store import suggestions
from nimad.store.relations import neighbours
from tests import forked
from tests.cognition import talk
from tests.cognition.talk import opened

TWICE = "The night train to the sea has a dining car with red lamps!"
AGAIN = "Red lamps hang in the dining car of the night train to the sea, it has one."
NEAR = "A dining car with lamps is on the night train to the mountains."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    made = opened(tmp_path / "state", talk.talk())
    made.remember(Memory(TWICE, who="Tom", session="s7"))
    made.remember(Memory(AGAIN, who="Tom", session="s8"))
    made.remember(Memory(NEAR, who="Wren", session="s9"))
    yield made
    made.close()


def found(store: MemoryStore) -> dict[str, set[tuple[int, int]]]:
    kinds: dict[str, set[tuple[int, int]]] = {}
    for each in suggestions.waiting(store.records, 100):
        kinds.setdefault(each.kind, set()).add((each.first, each.second))
    return kinds


def number_of(store: MemoryStore, first: int, second: int) -> int:
    waiting = suggestions.waiting(store.records, 100)
    return next(each.id for each in waiting if (each.first, each.second) == (first, second))


def test_pairs_are_suggested_by_their_ids_and_nothing_changes(store: MemoryStore) -> None:
    before = store.records.counts()
    dreamer, left = dream(store, 60)
    assert (dreamer.looked, left) == (before["memories"], 0)
    kinds = found(store)
    assert (10, 13) in kinds["duplicate"] and (3, 8) in kinds["duplicate"] | kinds["repeat"]
    assert (10, 14) in kinds["repeat"]
    assert any(15 in pair for pair in kinds["link"])
    assert store.records.counts() == before
    assert dream(store, 60)[0].looked == 0, "each memory is looked at once"
    assert check(store) == []


def test_a_dry_run_writes_nothing(store: MemoryStore) -> None:
    dreamer, _ = dream(store, 60, keep=False)
    assert {each.kind for each in dreamer.found} == {"duplicate", "repeat", "link"}
    assert found(store) == {} and suggestions.dreamt_to(store.records) == 0


def test_an_accepted_duplicate_is_forgotten_and_its_relations_stay(store: MemoryStore) -> None:
    with store.records.write() as tx:
        tx.add_relations([(Relation(13, 1, "led_to", 0.5), None, None)])
        tx.add_relations([(Relation(2, 13, "led_to", 0.5), None, None)])
        tx.add_relations([(Relation(10, 1, "led_to", 0.5), None, None)])
    dream(store, 60)
    accept(store, number_of(store, 10, 13))
    assert 13 not in store.records.get([10, 13]) and 10 in store.records.get([10])
    edges = {(n.id, n.relation, n.direction) for n in neighbours(store.records, 10, 1, 50)}
    assert {(1, "led_to", "out"), (2, "led_to", "in")} <= edges
    assert store.records.value("SELECT count(*) FROM relations WHERE target = 1") == 1
    assert all(13 not in pair for pairs in found(store).values() for pair in pairs)
    assert check(store) == []


def test_an_accepted_repeat_is_an_edge_and_is_not_suggested_again(store: MemoryStore) -> None:
    dream(store, 60)
    number = number_of(store, 10, 14)
    accept(store, number)
    assert (10, "same_as") in {(n.id, n.relation) for n in neighbours(store.records, 14, 1, 50)}
    with pytest.raises(NotFound):
        accept(store, number)
    again = Dreamer(store, 0)
    while again.more():
        again.step()
    assert (10, 14) not in found(store).get("repeat", set())
    assert check(store) == []


def test_what_was_rejected_leaves_no_trace_but_is_not_suggested_again(store: MemoryStore) -> None:
    before = store.records.counts()
    dream(store, 60)
    for each in suggestions.waiting(store.records, 100):
        reject(store, each.id)
    assert found(store) == {} and store.records.counts() == before
    again = Dreamer(store, 0)
    while again.more():
        again.step()
    assert found(store) == {}
    store.forget([10, 14], purge=True)
    sql = "SELECT count(*) FROM suggestions WHERE first IN (10, 14) OR second IN (10, 14)"
    assert store.records.value(sql) == 0


def test_goals_and_other_namespaces_are_no_pairs(store: MemoryStore) -> None:
    goals.add(store, Memory("ride the night train to the sea in the dining car with red lamps"))
    store.remember(Memory(TWICE, who="Tom", namespace="elsewhere"))
    dream(store, 60)
    named = {number for pairs in found(store).values() for pair in pairs for number in pair}
    assert named.isdisjoint({16, 17})


def test_real_dialogues_give_some_pairs_that_exist(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "state", talk.dialogues())) as store:
        dreamer, left = dream(store, 120)
        assert left == 0
        waiting = suggestions.waiting(store.records, 1000)
        assert 3 <= len(waiting) == dreamer.new <= dreamer.looked / 5
        ids = {number for each in waiting for number in (each.first, each.second)}
        assert len(store.records.get(sorted(ids))) == len(ids)


# --- in idle moments ------------------------------------------------------------------------------


def test_it_dreams_by_itself_only_where_it_is_asked_to(store: MemoryStore) -> None:
    calm = dict.fromkeys(("migration__max_pressure", "migration__max_load"), 0.0)
    calm |= {"migration__max_temperature": 0.0, "migration__idle_seconds": 0.0}
    worker = Worker(lambda: store.config)
    job = DreamJob(store, worker)
    assert job.next_step() is None, "off, unless the configuration says otherwise"
    store.config = store.config.replace(dream__idle=True, **calm)
    steps = 0
    while (step := job.next_step()) is not None:
        assert step.yielding
        step.run()
        steps += 1
    assert steps >= 2 and found(store)
    assert not Config()["dream.idle"]


# --- kill -9 --------------------------------------------------------------------------------------

DREAMING = """
import signal
import sys
from pathlib import Path
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.reflection import dream
from nimad.store import suggestions
dream.KEEP_AFTER = 10
store = MemoryStore.open(Path(sys.argv[1]), Config().replace(graph__engine="none"))
print("begin", flush=True)
dreamer = dream.Dreamer(store, 0)
while dreamer.more():
    dreamer.step()
for each in suggestions.waiting(store.records, 100):
    try:
        dream.accept(store, each.id)
    except Exception as error:
        print(error)
signal.pause()  # a store that is left open ends by the kill only
"""


@pytest.mark.disk
def test_a_kill_in_the_middle_leaves_nothing_for_the_doctor(tmp_path: Path) -> None:
    state = tmp_path / "state"
    memories = [*talk.talk(), *(Memory(f"{TWICE} {n}", who="Tom") for n in range(40))]
    opened(state, memories).close()
    pauses = random.Random(7)
    for _ in range(6):
        with forked.Popen(
            [sys.executable, "-c", DREAMING, str(state)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "begin\n"
            time.sleep(pauses.uniform(0, 0.06))  # all of it takes as long
            os.kill(process.pid, signal.SIGKILL)
        with closing(opened(state)) as store:
            assert check(store) == []
            for each in suggestions.waiting(store.records, 100):
                assert len(store.records.get([each.first, each.second])) == 2
