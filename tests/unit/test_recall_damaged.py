"""A damaged words index: queries go on by meaning, tell it, and are whole once it is rebuilt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.errors import RecordsDamaged, WordsDamaged
from nimad.model import Filter, Memory
from nimad.recall.ranking import Recall
from nimad.words.index import TermIndex
from nimad.words.segment import Segment
from tests.benchmarks.talk import make_talk

TALK = make_talk(300, 8, seed=7)
CONFIG = Config().replace(graph__engine="none", embedder="hash")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as made:
        made.remember_many([Memory(**record) for record in TALK.memories])
        yield made


def recall(store: MemoryStore, told: list[RecordsDamaged]) -> Recall:
    """One that knows nothing yet and is told of damage; its words are in one file."""
    parts = (store.blocks, store.embedder)
    terms = TermIndex(store.records, told.append)
    terms.restart([Segment.open(path(store))], complete=True)
    return Recall(store.records, lambda: parts, terms=terms)


def path(store: MemoryStore) -> Path:
    return max((store.state / "words").iterdir())  # earlier ones are still mapped


def damage(store: MemoryStore) -> None:
    """Set every bit of the postings, in place, so that a map shows it."""
    container = Segment.open(path(store)).container
    assert container is not None
    place = container.regions["gaps"]
    with path(store).open("r+b") as file:
        file.seek(place.offset)
        file.write(b"\xff" * place.length)


def ask(asked: Recall, mode: str) -> list[list[tuple[int, float]]]:
    return [
        [(hit.memory.id, hit.score) for hit in asked.query(question, 5, mode, Filter())]
        for question in [*TALK.questions, "What does Zebulon say?"]
    ]


@pytest.mark.parametrize("mode", ["hybrid", "words", "meaning"])
def test_a_query_goes_on_by_meaning_and_tells_the_damage(store: MemoryStore, mode: str) -> None:
    store.words.rebuild()
    before = ask(recall(store, []), mode)
    plain = ask(recall(store, []), "meaning")
    told: list[RecordsDamaged] = []
    asked = recall(store, told)
    damage(store)
    found = ask(asked, mode)
    assert found[:-1] == plain[:-1]
    assert told or mode == "meaning"  # which looks at the words only where it is in doubt
    assert all(isinstance(error, WordsDamaged) for error in told)
    store.words.rebuild()
    asked.words_changed([Segment.open(path(store))], True)
    told.clear()
    assert ask(asked, mode) == before
    assert told == []


def test_without_a_listener_damage_is_an_error(store: MemoryStore) -> None:
    store.words.rebuild()
    parts = (store.blocks, store.embedder)
    terms = TermIndex(store.records)
    terms.restart([Segment.open(path(store))], complete=True)
    damage(store)
    with pytest.raises(WordsDamaged):
        asked = Recall(store.records, lambda: parts, terms=terms)
        asked.query(TALK.questions[0], 5, "hybrid", Filter())
