"""Goals are memories that say what is wanted: kept, forgotten, never done by themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nimad.check import check
from nimad.core.store import MemoryStore
from nimad.errors import BadRecord, NotFound
from nimad.model import Memory
from nimad.reflection import goals
from nimad.serve.access import Peer
from nimad.serve.memory_verbs import MemoryVerbs
from nimad.serve.verbs import Call
from tests import forked
from tests.cognition import talk
from tests.cognition.talk import opened

WANTED = "find a school with a workshop"


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return opened(tmp_path / "state", talk.talk())


def test_a_goal_survives_a_restart_and_is_a_memory(store: MemoryStore, tmp_path: Path) -> None:
    number = goals.add(store, Memory(WANTED), 0.9, due=talk.START + talk.DAY)
    store.close()
    with closing(opened(tmp_path / "state")) as store:
        ((goal, memory),) = goals.listed(store)
        assert (goal.memory, goal.priority, goal.due) == (number, 0.9, talk.START + talk.DAY)
        assert memory.text == WANTED and memory.tags == ("goal",)
        assert [hit.memory.id for hit in store.query(WANTED, 1).hits] == [number]
        assert check(store) == []


def test_only_what_comes_later_and_is_no_goal_counts_as_progress(store: MemoryStore) -> None:
    with closing(store):
        number = goals.add(store, Memory(WANTED))
        goals.add(store, Memory(f"really {WANTED}"))
        assert goals.progress(store, *goals.find(store, number, None)) == []
        near = store.remember(Memory("We visited the school with the big workshop."))
        store.remember(Memory("The soup needs more salt."))
        hits = goals.progress(store, *goals.find(store, number, None))
        assert [hit.memory.id for hit in hits] == [near]
        assert goals.find(store, number, None)[0].state == "open", "never done by itself"


def test_done_names_what_tells_so_until_that_is_forgotten(store: MemoryStore) -> None:
    with closing(store):
        number = goals.add(store, Memory(WANTED))
        by = store.remember(Memory("Tom is enrolled at the school at the river."))
        closed = goals.done(store, number, by)
        assert (closed.state, closed.by) == ("done", by) and closed.closed
        assert goals.done(store, number).by == by, "what is done stays as it is"
        assert goals.listed(store) == [] and len(goals.listed(store, None)) == 1
        store.forget([by])
        assert goals.find(store, number, None)[0].by is None
        assert check(store) == []
        store.forget([number], purge=True)
        assert goals.listed(store, None) == []
        with pytest.raises(NotFound):
            goals.find(store, number, None)


def test_ids_are_never_used_again(store: MemoryStore) -> None:
    with closing(store):
        first, second = (goals.add(store, Memory(text)) for text in ("one goal", "another goal"))
        store.forget([second])
        third = goals.add(store, Memory("a third goal"))
        assert third > second > first


def test_a_memory_that_is_refused_leaves_no_goal(store: MemoryStore) -> None:
    with closing(store):
        before = store.records.counts()["memories"]
        with pytest.raises(Exception, match="text"):
            goals.add(store, Memory("x" * 300_000))
        assert goals.listed(store, None) == []
        assert store.records.counts()["memories"] == before


def test_an_export_carries_goals_to_another_store(store: MemoryStore, tmp_path: Path) -> None:
    number = goals.add(store, Memory(WANTED), 0.9, due=talk.START)
    goals.add(store, Memory("mend the kettle"))
    goals.done(store, number, by=1)
    lines = asked(store, "export")["memories"]
    store.close()
    with closing(opened(tmp_path / "other")) as other:
        asked(other, "import", memories=[{**line, "id": None} for line in lines])
        again = asked(other, "export")["memories"]
        assert [line.get("goal") for line in again] == [line.get("goal") for line in lines]
        found = {memory.text: goal for goal, memory in goals.listed(other, None)}
        assert (found[WANTED].state, found[WANTED].priority) == ("done", 0.9)
        assert found[WANTED].by is None, "ids of another store mean nothing here"
        with pytest.raises(BadRecord, match="priority"):
            asked(other, "import", memories=[{"text": "x", "goal": {"since": 5, "priority": 2}}])
        assert len(goals.listed(other, None)) == 2


def asked(store: MemoryStore, verb: str, **params: object) -> dict[str, Any]:
    found = {each.name: each for each in MemoryVerbs(store).all()}
    result: dict[str, Any] = found[verb].answer(Call(params, Peer(1, 0, 0)))
    return result


ADDING = """
import sys
from pathlib import Path
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.reflection import goals
store = MemoryStore.open(Path(sys.argv[1]), Config().replace(graph__engine="none"))
print("begin", flush=True)
while True:
    number = goals.add(store, Memory("mend the roof"))
    print(number, flush=True)
    goals.done(store, number)
    print("done", number, flush=True)
"""


def test_a_goal_is_there_whole_or_not_at_all_after_a_kill(tmp_path: Path) -> None:
    state = tmp_path / "state"
    told = ""
    for pause in (0.02, 0.1):
        with forked.Popen(
            [sys.executable, "-c", ADDING, str(state)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "begin\n"
            told += process.stdout.readline()
            time.sleep(pause)
            os.kill(process.pid, signal.SIGKILL)
            told += process.stdout.read()
    with closing(opened(state)) as store:
        assert check(store) == []
        kept = {goal.memory: goal.state for goal, _ in goals.listed(store, None)}
        for line in told.splitlines():
            if line.startswith("done "):
                assert kept[int(line.split()[1])] == "done"
            elif line.isdigit():
                assert int(line) in kept
