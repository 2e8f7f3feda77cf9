"""Any episode becomes a memory and the same row again; its key is what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nimad.legacy.episodes import COLUMNS, FIELDS, EpisodeMapper, identity, key_of, row_of
from nimad.legacy.mapping import MAX_KEPT, UnreadableRowError
from nimad.legacy.pickle_allowlist import Array
from nimad.legacy.values import BrokenText, canonical
from nimad.model import MAX_TEXT
from tests.legacy.checkpoints import episode

ANY_TEXT = st.text(max_size=30)  # half surrogates included, which JSON can spell
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=9)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(ANY_TEXT | st.integers(), inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$real", "$text", "$kept"]), inner, max_size=1)
        | st.tuples(inner)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from([*FIELDS, "factors", "more", "absent", "mood", "id", "$text"]) | ANY_TEXT
EPISODES = st.dictionaries(NAMES | st.integers(0, 3), VALUES, max_size=8)


@given(EPISODES)
@example({"raw_text": "", "what": "w"})
@example({"what": "w", "absent": ["raw_text"]})
@example({"raw_text": "t", "timestamp": "2023-05-08T13:56:00+00:00", "importance": -0.0})
@example({"raw_text": "t", "timestamp": "2023-05-08T13:56:00.250+02:00", "importance": 1})
@example({"raw_text": "t", "x": "l" * (MAX_KEPT + 1), "who": "w" * (MAX_KEPT + 1)})
@example({"raw_text": "t" * (MAX_TEXT + 1), "emotions": ["e" * MAX_KEPT]})
@example({"raw_text": "t", "who": BrokenText(b"\xff"), "array": Array()})
def test_an_episode_comes_back_as_it_was(given_: dict[Any, Any]) -> None:
    mapper = EpisodeMapper("s")
    key = key_of(given_, identity(given_), 0)
    assert 0 <= key < 1 << 63
    try:
        memory = mapper.memory(key, given_).memory
    except UnreadableRowError:
        return
    memory.extra = json.loads(json.dumps(memory.extra, allow_nan=False))  # as the records keep it
    memory.text.encode()
    assert len(row_of(key, given_)) == len(COLUMNS)
    assert canonical(mapper.row(memory)) == canonical(row_of(key, given_))


def test_where_each_field_goes() -> None:
    memory = EpisodeMapper("s").memory(5, episode(3, mood="calm")).memory
    assert memory.text == episode(3)["raw_text"] and memory.source == ("s", 5)
    assert (memory.who, memory.where, memory.layer) == ("Ben", "chat", "legacy_vsa")
    assert (memory.importance, memory.timestamp) == (0.03, 1683504003000)
    assert memory.extra == {
        "what": episode(3)["what"],
        "when": "2023-05-08",
        "context": "session 0",
        "emotions": ["joy"],
        "themes": ["family"],
        "mood": "calm",
    }


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        ({"raw_text": "", "what": "w", "context": "c"}, "w"),
        ({"what": "", "context": "c"}, "c"),
        ({"raw_text": None, "what": 5}, ""),
    ],
)
def test_the_text_without_a_raw_text(given_: dict[str, Any], text: str) -> None:
    assert EpisodeMapper("s").memory(1, given_).memory.text == text


@pytest.mark.parametrize(
    ("timestamp", "due"),
    [
        ("2023-05-08T13:56:00+00:00", 1683554160000),
        ("2023-05-08T13:56:00", 1683554160000),
        (1683554160.0, 1683554160000),
        (1683554160000, 1683554160000),
        ("yesterday", 1683504000000),
    ],
)
def test_times_as_people_write_them(timestamp: Any, due: int) -> None:
    given_ = {"raw_text": "t", "when": "2023-05-08", "timestamp": timestamp}
    assert EpisodeMapper("s").memory(1, given_).memory.timestamp == due


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=2, unique=True))
def test_what_differs_has_another_key(numbers: list[int]) -> None:
    one, two = (episode(number) for number in numbers)
    assert identity(one) != identity(two)
    assert identity(one) == identity({**one, "importance": 0.5, "emotions": ["fear"], "new": 1})
    assert key_of(one, identity(one), 0) != key_of(one, identity(one), 1)
