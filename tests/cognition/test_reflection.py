"""Persons, connections, attention and goals in a query: quoted, explained, the same every time."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.errors import NotFound
from nimad.model import Filter, Memory, Relation
from nimad.reflection import attention, goals
from nimad.reflection.affects import Affects
from nimad.reflection.connection import connect
from nimad.reflection.person import describe
from nimad.store import broadcasts
from tests.cognition import talk
from tests.cognition.talk import opened
from tests.cognition.test_narrative import QUOTED, ZONE


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return opened(tmp_path / "state", talk.talk())


# --- persons --------------------------------------------------------------------------------------


def test_a_person_is_what_they_said(store: MemoryStore) -> None:
    with closing(store):
        found = describe(store, "maya", Filter(), ZONE)
        mine = {n for n, memory in store.records.get(range(1, 13)).items() if memory.who == "Maya"}
        for line in found:
            texts = [memory.text for memory in store.records.get(line.ids).values()]
            assert texts and len(texts) == len(line.ids)
            if line.kind in (*QUOTED, "promise"):
                assert line.text in texts[0]
            assert line.kind == "mention" or set(line.ids) <= mine
        assert found[0].text.startswith("Maya: 6 memories, first heard 2026-")
        assert [line.ids for line in found if line.kind == "promise"] == [[5]]
        (tone,) = [line for line in found if line.kind == "tone"]
        assert tone.more["affect"] == {"SEEKING": 0.467, "RAGE": 0.133, "CARE": 0.067}
        assert 1 <= sum(line.kind == "quote" for line in found) <= 5


def test_others_who_name_somebody_are_told_by_their_ids(store: MemoryStore) -> None:
    with closing(store):
        found = describe(store, "Tom", Filter(), ZONE)
        (named,) = [line for line in found if line.kind == "mention"]
        assert set(named.ids) == {1, 11}
        unknown = describe(store, "Zoltan", Filter(), ZONE)
        assert [(line.kind, line.ids) for line in unknown] == [("nothing", [])]


# --- connections ----------------------------------------------------------------------------------


def test_the_shortest_way_is_told_edge_by_edge(store: MemoryStore) -> None:
    with closing(store), store.records.write() as tx:
        for origin, target in ((1, 6), (6, 9), (1, 2), (2, 3), (3, 9)):
            tx.add_relations([(Relation(origin, target, "led_to", 1.0), None, None)])
    store = opened(store.state)
    with closing(store):
        found, cosine = connect(store, 1, 9, ZONE)
        edges = [(line.ids, line.text) for line in found if line.kind == "edge"]
        assert edges == [([1, 6], "1 -> 6: led_to."), ([6, 9], "6 -> 9: led_to.")]
        assert cosine is not None and -1 <= cosine <= 1
        back = [line.ids for line in connect(store, 9, 1, ZONE)[0] if line.kind == "edge"]
        assert back == [[9, 6], [6, 1]]
        same = {
            line.more["field"] for line in connect(store, 1, 3, ZONE)[0] if line.kind == "shared"
        }
        assert same == {"who", "session", "day"}


def test_nothing_known_is_an_answer_and_a_missing_memory_is_not(store: MemoryStore) -> None:
    with closing(store):
        found, _ = connect(store, 2, 9, ZONE)
        assert [line.kind for line in found] == ["nothing"]
        with pytest.raises(NotFound):
            connect(store, 1, 999, ZONE)


# --- attention ------------------------------------------------------------------------------------


def test_ten_steps_win_ten_memories_and_survive_a_restart(store: MemoryStore) -> None:
    state = store.state
    with closing(store):
        first = [each.memory.id for each in attention.attend(store, 6)]
    with closing(opened(state)) as store:
        more = [each.memory.id for each in attention.attend(store, 4)]
        assert len({*first, *more}) == 10
        kept = [row.memory for row in broadcasts.latest(store.records, 100)]
        assert kept == first + more
        store.forget(first[:1])
        assert [row.memory for row in broadcasts.latest(store.records, 100)] == (first + more)[1:]
        assert check(store) == []
        assert len(attention.attend(store, 30)) == 30, "then they may win again"


def test_a_dry_run_keeps_nothing_and_steps_are_the_same_every_time(store: MemoryStore) -> None:
    with closing(store):
        runs = [attention.attend(store, 5, keep=False) for _ in range(2)]
        won, again = ([each.memory.id for each in run] for run in runs)
        assert won == again
        assert broadcasts.latest(store.records, 100) == []
        for winner in runs[0]:
            assert winner.score == pytest.approx(sum(winner.parts.values()))


def test_a_goal_draws_attention_and_is_never_its_own_winner(store: MemoryStore) -> None:
    with closing(store):
        number = goals.add(store, Memory("take the night train to the sea"))
        winners = attention.attend(store, 3)
        assert {each.memory.id for each in winners} <= {10, 11, 12}
        assert all(each.parts["goal"] > 0 for each in winners)
        every = attention.attend(store, 40)
        assert number not in {each.memory.id for each in every}


def test_affects_shift_the_weights_between_the_terms(tmp_path: Path) -> None:
    memories = [
        Memory("The soup needs salt.", timestamp=talk.START, importance=0.1),
        Memory("The kiln cracked and must be mended.", timestamp=talk.START, importance=1.0),
        Memory("The kiln cracked, it must be mended.", timestamp=talk.START, importance=0.1),
    ]
    with closing(opened(tmp_path / "state", memories)) as store:
        with store.records.write() as tx:
            broadcasts.add(tx, 3, 1, 0, 1.0)
        winner = {
            mask: attention.attend(store, 1, mask, keep=False)[0].memory.id
            for mask in (Affects.SEEKING, Affects.FEAR)
        }
    assert winner == {Affects.SEEKING: 1, Affects.FEAR: 2}


def test_an_empty_store_has_no_winner(tmp_path: Path) -> None:
    with closing(MemoryStore.open(tmp_path / "state", Config())) as store:
        assert attention.attend(store, 3) == []


# --- a query with a goal in mind ------------------------------------------------------------------


def test_a_goal_adds_a_term_and_changes_nothing_else(store: MemoryStore) -> None:
    with closing(store):
        number = goals.add(store, Memory("how much the tickets cost"))
        plain = {hit.memory.id: hit.score for hit in store.query("night train to the sea", 20).hits}
        ranked = store.query(
            "night train to the sea", 20, rank=goals.ranking(store, number, 20)
        ).hits
        assert {hit.memory.id for hit in ranked} == plain.keys()
        for hit in ranked:
            term = hit.parts["goal"]
            assert hit.score == pytest.approx(plain[hit.memory.id] + term)
            assert term == 0 or hit.memory.id != number
        assert max(ranked, key=lambda hit: hit.parts["goal"]).memory.id == 12
        scores = [hit.score for hit in ranked]
        assert scores == sorted(scores, reverse=True)
        with pytest.raises(NotFound):
            goals.ranking(store, 1, 20)
