"""Passages around hits, and what of them fits in a prompt."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad import prompt
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.embed.hash import HashEmbedder
from nimad.embed.tokens import TokenCounter
from nimad.model import Filter, Hit, Memory
from nimad.recall import packing
from nimad.recall.context import Passage

CONFIG = Config().replace(graph__engine="none")
COUNT = TokenCounter(HashEmbedder()).count
TURN = [
    ("input", "Maya", "How is the greenhouse?"),
    ("contemplation", "nima", "She means the broken pane."),
    ("output", "nima", "A pane of the greenhouse is broken."),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    made = MemoryStore.open(tmp_path / "state", CONFIG)
    yield made
    made.close()


def session(name: str, turns: int = 3, start: int = 1000, **more: object) -> list[Memory]:
    """Turns of three memories, one after the other."""
    return [
        Memory(
            text=f"{text} ({name}{number})",
            who=who,
            layer=layer,
            turn=f"t{number}",
            session=name,
            timestamp=start + 10 * number + place,
            **more,  # type: ignore[arg-type]
        )
        for number in range(turns)
        for place, (layer, who, text) in enumerate(TURN)
    ]


def hits_of(store: MemoryStore, *ids: int) -> list[Hit]:
    found = store.records.get(ids)
    return [Hit(found[number], 1.0 - n / 10) for n, number in enumerate(ids)]


def shape(passage: Passage) -> tuple[dict[str, int], list[int], list[int]]:
    return (
        passage.turn,
        [hit.memory.id for hit in passage.hits],
        [memory.id for memory in passage.memories],
    )


def test_a_hit_comes_with_its_turn_and_a_neighbour_on_each_side(store: MemoryStore) -> None:
    ids = store.remember_many(session("s"))
    (passage,) = store.recall.passages(hits_of(store, ids[4]), 10)
    turn = {"input": ids[3], "contemplation": ids[4], "output": ids[5]}
    assert shape(passage) == (turn, [ids[4]], ids[2:7])


def test_hits_of_one_turn_are_one_passage(store: MemoryStore) -> None:
    ids = store.remember_many(session("s", 6))
    passages = store.recall.passages(hits_of(store, ids[1], ids[16], ids[0], ids[2]), 10)
    assert [shape(p)[1] for p in passages] == [[ids[1], ids[0], ids[2]], [ids[16]]]
    shown = [memory.id for p in passages for memory in p.memories]
    assert len(shown) == len(set(shown))


def test_the_number_counts_passages(store: MemoryStore) -> None:
    ids = store.remember_many(session("s", 6))
    passages = store.recall.passages(hits_of(store, ids[1], ids[16], ids[0], ids[8]), 1)
    assert [shape(p)[1] for p in passages] == [[ids[1], ids[0]]]


def test_turns_of_the_same_name_are_told_apart(store: MemoryStore) -> None:
    """Files number the turns of each session from 1; only the first is in the turn's row."""
    store.remember_many(session("a"))
    ids = store.remember_many(session("b"))
    apart = store.remember_many(session("a", namespace="other"))
    for first in (ids[0], apart[0]):
        (passage,) = store.recall.passages(hits_of(store, first + 1), 10)
        assert passage.turn == {"input": first, "contemplation": first + 1, "output": first + 2}
        assert [m.id for m in passage.memories] == list(range(first, first + 4))


def test_what_two_sources_both_have_is_shown_once(store: MemoryStore) -> None:
    ids = store.remember_many([*session("a"), *session("a", conversation="copy")])
    first, again = ids[3], ids[12]
    assert store.get(first).text == store.get(again).text
    found = store.recall.passages(hits_of(store, first, again, ids[13]), 5)
    shown = [memory for passage in found for memory in passage.memories]
    assert len(found) == 1 and first in {memory.id for memory in shown}
    said = [(memory.text, memory.timestamp) for memory in shown]
    assert len(said) == len(set(said))


def test_nothing_without_a_session_or_turn_stands_around(store: MemoryStore) -> None:
    ids = store.remember_many([Memory(text=f"note {n}") for n in range(4)])
    (passage,) = store.recall.passages(hits_of(store, ids[1]), 10)
    assert shape(passage) == ({}, [ids[1]], [ids[1]])


def test_a_turn_without_a_session_is_whole(store: MemoryStore) -> None:
    ids = store.remember_many([Memory(text=t, layer=layer, turn="x") for layer, _, t in TURN])
    (passage,) = store.recall.passages(hits_of(store, ids[2]), 10)
    assert [m.id for m in passage.memories] == ids


def test_nothing_later_is_shown(store: MemoryStore) -> None:
    ids = store.remember_many(session("s"))
    (passage,) = store.recall.passages(hits_of(store, ids[4]), 10, upto=1011)
    assert [m.id for m in passage.memories] == ids[2:5]


def test_forgotten_members_are_left_out(store: MemoryStore) -> None:
    ids = store.remember_many(session("s"))
    hits = hits_of(store, ids[4], ids[1])
    store.forget([ids[3], ids[1]])
    (passage,) = store.recall.passages(hits, 10)
    assert shape(passage)[0] == {"contemplation": ids[4], "output": ids[5]}
    assert [m.id for m in passage.memories] == [ids[2], *ids[4:7]]


# --- a budget -------------------------------------------------------------------------------------

SENTENCES = "The kettle is on the shelf. It leaks a little. Nobody has mended it since May."


def line(memory: Memory) -> int:
    return COUNT(prompt.line(memory.text, memory.who, memory.layer, memory.timestamp))


def passage(*texts: str, first: int = 1) -> Passage:
    """The last text is the hit."""
    memories = [Memory(text=t, id=first + n, timestamp=n + 1) for n, t in enumerate(texts)]
    hit = Hit(memories[-1], 1.0)
    return Passage(hit, [hit], {}, memories)


def test_everything_that_fits_is_taken_best_first() -> None:
    made = [passage("one", "two"), passage("three", first=9)]
    whole = sum(line(m) for p in made for m in p.memories)
    packed = packing.pack(made, whole, COUNT)
    assert [p.memories for p in packed] == [p.memories for p in made]
    assert sum(p.tokens for p in packed) == whole


def test_neighbours_go_first() -> None:
    made = passage("a long story that nobody asked for and that nobody wants", "two")
    (packed,) = packing.pack([made], line(made.hit.memory) + 3, COUNT)
    assert packed.memories == [made.hit.memory]


def test_what_does_not_fit_is_left_out_whole() -> None:
    made = [passage("short"), passage(SENTENCES * 9, first=5), passage("also short", first=9)]
    room = line(made[0].hit.memory) + line(made[2].hit.memory)
    packed = packing.pack(made, room, COUNT)
    assert [p.passage for p in packed] == [made[0], made[2]]
    assert all(p.cut is None for p in packed)


def test_a_hit_larger_than_the_budget_is_cut_at_a_sentence() -> None:
    made = passage(SENTENCES)
    (packed,) = packing.pack([made], line(made.hit.memory) - 2, COUNT)
    assert packed.cut == "The kettle is on the shelf. It leaks a little." + packing.CUT
    assert packed.tokens <= line(made.hit.memory) - 2


def test_a_sentence_that_is_too_long_is_cut_at_a_word() -> None:
    made = passage("word " * 200)
    (packed,) = packing.pack([made], 60, COUNT)
    assert packed.cut is not None and packed.cut.startswith("word word") and packed.tokens <= 60
    assert packing.pack([made], 5, COUNT) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=4), max_size=6),
    st.integers(1, 120),
)
def test_a_budget_is_never_exceeded(texts: list[list[str]], budget: int) -> None:
    made = [passage(*some, first=10 * n + 1) for n, some in enumerate(texts)]
    packed = packing.pack(made, budget, COUNT)
    assert sum(p.tokens for p in packed) <= budget
    for one in packed:
        assert one.passage.hit.memory in one.memories
        if one.cut is None:
            assert one.tokens == sum(line(memory) for memory in one.memories)
    places = [made.index(one.passage) for one in packed]
    assert places == sorted(places)


def test_tokens_of_other_scripts_count() -> None:
    assert COUNT("The kettle is on the shelf.") == 7
    assert COUNT("") == 0
    assert COUNT("昨日、京都で古い寺を見ました。") >= 8
    assert COUNT("🫠") >= 1


def test_as_of_sees_the_store_as_it_was(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    day = 86_400_000
    store.remember_many([Memory(text="We met here.", timestamp=n * day + 1) for n in range(1, 20)])
    before = Filter(before=10 * day)
    (hit,) = store.query("Who met yesterday?", 1, where=before, now=10 * day - 1).hits
    assert hit.memory.timestamp == 8 * day + 1
