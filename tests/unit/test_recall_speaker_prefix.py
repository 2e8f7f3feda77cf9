"""Speakers in the text: what is a head, when it counts, and that titles do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Hit, Memory
from nimad.recall import speaker_prefix
from nimad.recall.subjects import NO_SUBJECT
from tests.unit.test_recall import CHAT

CONFIG = Config().replace(graph__engine="none")
DAY = 86_400_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as made:
        yield made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna: I am back", ["anna"]),
        ("  ANNA: I am back", ["anna"]),
        ("user: hello", ["user"]),
        ("Anna Lena Schmidt: hello", ["anna", "lena", "schmidt"]),
        ("Jean-Luc Neill: hello", ["jean", "luc", "neill"]),
        ("田中：こんにちは", ["田中"]),
    ],
)
def test_what_a_head_is(text: str, words: list[str]) -> None:
    assert speaker_prefix.code_of_text(text) == speaker_prefix.code_of_words(words) < NO_SUBJECT


@pytest.mark.parametrize(
    "text",
    [
        "I am back",
        "",
        ": nothing before it",
        "https://example.org",
        "at 12:30 we met",
        "remember this: buy milk",
        "One Two Three Four: too long",
        "Anna said it was late. Ben: no",
    ],
)
def test_what_none_is(text: str) -> None:
    assert speaker_prefix.code_of_text(text) == NO_SUBJECT


def test_only_those_that_recur_count() -> None:
    often, seldom = speaker_prefix.code_of_words(["anna"]), speaker_prefix.code_of_words(["ben"])
    who = (
        [often] * speaker_prefix.RECURRING
        + [seldom] * (speaker_prefix.RECURRING - 1)
        + [NO_SUBJECT, 0, 1]
    )
    assert speaker_prefix.recurring(np.array(who, np.int32)) == {often}


def written(store: MemoryStore, times: int) -> None:
    """The chat with its speakers in the text, a day between the turns."""
    said = enumerate(CHAT * times)
    store.remember_many([Memory(f"{who}: {text}", timestamp=DAY * n) for n, (who, text) in said])


def subject(hits: list[Hit]) -> dict[str, float]:
    """What the subject added to each hit, by the name in its text."""
    return {hit.memory.text.split(":")[0]: hit.parts["subject"] for hit in hits}


def test_a_named_speaker_counts_like_a_subject(store: MemoryStore) -> None:
    written(store, 2)
    hits = store.query("What about the bicycle or the kitten of Ben?", 16).hits
    assert subject(hits) == {"Anna": 0.0, "Ben": pytest.approx(0.3)}
    assert {hit.memory.text[:4] for hit in store.query("Ben", 8).hits} == {"Ben:"}


def test_but_not_one_who_spoke_a_few_times(store: MemoryStore) -> None:
    written(store, 1)
    hits = store.query("What about the bicycle or the kitten of Ben?", 16).hits
    assert set(subject(hits).values()) == {0.0}


def test_a_word_that_fills_sentences_needs_its_capital_letter(store: MemoryStore) -> None:
    things = ["radio", "lamp", "door", "fence", "kettle", "clock", "gate", "chair"]
    store.remember_many([Memory(f"Will: the {thing} is broken") for thing in things])
    assert subject(store.query("When will the radio be mended?").hits)["Will"] == 0.0
    assert subject(store.query("When did Will see the radio?").hits)["Will"] > 0.0


def test_the_same_after_a_start_from_the_file(store: MemoryStore, tmp_path: Path) -> None:
    written(store, 150)
    asked = "What about the bicycle of Ben?"
    before = [(hit.memory.id, hit.score) for hit in store.query(asked, 20).hits]
    assert store.recall.keep()
    store.close()
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as again:
        assert [(hit.memory.id, hit.score) for hit in again.query(asked, 20).hits] == before
