"""A damaged words index: queries go on by meaning, tell it, and are whole once it is rebuilt."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.errors import RecordsDamaged, WordsDamaged
from nimad.model import Filter, Memory
from nimad.recall.ranking import Recall
from nimad.store import words
from tests.benchmarks.talk import make_talk

TALK = make_talk(300, 8, seed=7)
CONFIG = Config().replace(graph__engine="none", embedder="hash")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as made:
        made.remember_many([Memory(**record) for record in TALK.memories])
        yield made


def recall(store: MemoryStore, told: list[RecordsDamaged]) -> Recall:
    """One that knows nothing yet and is told of damage."""
    parts = (store.blocks, store.embedder)
    return Recall(store.records, lambda: parts, on_words_damaged=told.append)


def damage(store: MemoryStore, statement: str) -> None:
    with closing(sqlite3.connect(store.records.path)) as outside:
        outside.execute(statement)
        outside.commit()


def ask(asked: Recall, mode: str) -> list[list[tuple[int, float]]]:
    return [
        [(hit.memory.id, hit.score) for hit in asked.query(question, 5, mode, Filter())]
        for question in [*TALK.questions, "What does Zebulon say?"]
    ]


@pytest.mark.parametrize("mode", ["hybrid", "words", "meaning"])
def test_a_query_goes_on_by_meaning_and_tells_the_damage(store: MemoryStore, mode: str) -> None:
    before = ask(recall(store, []), mode)
    plain = ask(recall(store, []), "meaning")
    damage(store, "DELETE FROM words_data WHERE id > 10")
    told: list[RecordsDamaged] = []
    asked = recall(store, told)
    found = ask(asked, mode)
    assert found[:-1] == plain[:-1]
    assert told and all(isinstance(error, WordsDamaged) for error in told)
    words.rebuild(store.records)
    asked.words_changed(True)
    told.clear()
    assert ask(asked, mode) == before
    assert told == []


def test_lost_lengths_are_told_and_come_back(store: MemoryStore) -> None:
    before = ask(recall(store, []), "hybrid")
    damage(store, "PRAGMA writable_schema = ON")
    root = store.records.value("SELECT rootpage FROM sqlite_schema WHERE name = 'words_docsize'")
    size = store.records.value("PRAGMA page_size")
    store.records.checkpoint()
    with store.records.path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 64)
    told: list[RecordsDamaged] = []
    asked = recall(store, told)
    assert any(ask(asked, "hybrid"))
    assert told and all(isinstance(error, WordsDamaged) for error in told)
    with store.records.path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\x0d" + b"\0" * 7)  # an empty page: a rebuild deletes and fills it
    words.rebuild(store.records)
    asked.words_changed(True)
    assert ask(asked, "hybrid") == before


def test_without_a_listener_damage_is_an_error(store: MemoryStore) -> None:
    damage(store, "DELETE FROM words_data WHERE id > 10")
    parts = (store.blocks, store.embedder)
    with pytest.raises(WordsDamaged):
        Recall(store.records, lambda: parts).query(TALK.questions[0], 5, "hybrid", Filter())
