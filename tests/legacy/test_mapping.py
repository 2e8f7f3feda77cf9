"""A row becomes a memory and comes back as the same row, whatever stands in it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.legacy.mapping import NodeMapper, UnreadableRowError
from nimad.legacy.values import BrokenText, Value, all_identical, canonical, identical
from nimad.limits import MAX_RECORD
from nimad.model import MAX_KEPT, MAX_TEXT, MAX_TIME, MIN_TIME, Memory

COLUMNS = (
    "id",
    "timestamp",
    "layer",
    "text",
    "summary",
    "who",
    "affect_json",
    "session_key",
    "conversation_id",
    "turn_id",
    "fe_score",
    "created_at",
    "embedding",
    "strength",
    "last_accessed",
    "is_ghost",
    "mood",
)
MAPPER = NodeMapper(COLUMNS, "graph", embedding_bytes=1536)


def stored(memory: Memory) -> Memory:
    """What the records give back: `extra` goes through JSON."""
    extra = json.loads(json.dumps(memory.extra, allow_nan=False)) if memory.extra else None
    memory.extra = extra
    return memory


def row(**values: Any) -> tuple[Value, ...]:
    usual = {
        "id": 7,
        "timestamp": 1_700_000_000_000,
        "layer": "input",
        "text": "Maya planted basil",
        "summary": "basil",
        "who": "Maya",
        "affect_json": '{"CARE": 0.5}',
        "session_key": "agent:main",
        "conversation_id": "c1",
        "turn_id": "t1",
        "fe_score": 0.25,
        "created_at": "2026-03-01 10:00:00",
    }
    return tuple({**usual, **values}.get(column) for column in COLUMNS)


def test_a_usual_row() -> None:
    mapped = MAPPER.memory(row())
    assert mapped.notes == []
    assert mapped.memory == Memory(
        text="Maya planted basil",
        who="Maya",
        timestamp=1_700_000_000_000,
        layer="input",
        importance=0.25,
        conversation="c1",
        session="agent:main",
        turn="t1",
        affect='{"CARE": 0.5}',
        summary="basil",
        created=1_772_359_200_000,
        source=("graph", 7),
    )


def test_null_and_empty_are_told_apart() -> None:
    nothing = MAPPER.memory(row(who=None, affect_json=None, summary=None, fe_score=None)).memory
    empty = MAPPER.memory(row(who="", affect_json="", summary="", text="")).memory
    assert (nothing.who, nothing.affect, nothing.summary) == (None, None, None)
    assert nothing.importance is None
    assert (empty.who, empty.affect, empty.summary, empty.text) == ("", "", "", "")


def test_what_a_field_cannot_hold_is_kept_beside_it() -> None:
    memory = MAPPER.memory(row(layer="dream", fe_score=7.5, created_at="yesterday")).memory
    assert (memory.layer, memory.importance, memory.created) == ("note", None, None)
    assert memory.extra == {"layer": "dream", "fe_score": 7.5, "created_at": "yesterday"}


def test_columns_of_schema_3_are_kept() -> None:
    blob = bytes(1536)
    memory = MAPPER.memory(
        row(embedding=blob, strength=0.5, last_accessed=1_700_000_000_123, is_ghost=1, mood="calm")
    ).memory
    assert memory.blobs == {"embedding": blob}
    assert memory.last_accessed == 1_700_000_000_123
    assert memory.extra == {
        "strength": 0.5,
        "last_accessed": 1_700_000_000_123,
        "is_ghost": 1,
        "mood": "calm",
    }


def test_never_accessed() -> None:
    assert MAPPER.memory(row(last_accessed=0)).memory.last_accessed is None


def test_the_field_may_move_on_after_the_migration() -> None:
    before = row(last_accessed=1_700_000_000_123)
    memory = MAPPER.memory(before).memory
    memory.last_accessed, memory.access_count = 1_800_000_000_000, 9
    assert MAPPER.row(memory) == before


@pytest.mark.parametrize("length", [0, 4, 1535, 1540])
def test_a_torn_embedding_is_kept_and_noted(length: int) -> None:
    mapped = MAPPER.memory(row(embedding=b"\x01" * length))
    assert mapped.memory.blobs["embedding"] == b"\x01" * length
    assert [column for column, _ in mapped.notes] == ["embedding"]
    assert "1536" in mapped.notes[0][1]


def test_a_text_that_is_too_long_is_kept_whole() -> None:
    text = "é" * (MAX_TEXT + 5)
    mapped = MAPPER.memory(row(text=text))
    assert len(mapped.memory.text) == MAX_TEXT
    assert mapped.notes[0][0] == "text"
    assert MAPPER.row(mapped.memory) == row(text=text)


@pytest.mark.parametrize("column", ["who", "affect_json", "mood", "layer", "created_at"])
def test_a_long_text_elsewhere_does_not_burst_an_answer(column: str) -> None:
    long = row(**{column: "é" * (MAX_KEPT + 1)})
    mapped = MAPPER.memory(long)
    assert [name for name, _ in mapped.notes] == [column]
    assert not mapped.memory.extra and len(mapped.memory.blobs) == 1
    assert MAPPER.row(mapped.memory) == long


def test_many_long_texts_do_not_burst_an_import() -> None:
    """Their JSON may be six times as long as what they say."""
    wide = NodeMapper((*COLUMNS, *(f"c{n}" for n in range(100))), "graph", embedding_bytes=1536)
    long = (*row(), *("\x01" * (MAX_KEPT - n) for n in range(100)))
    mapped = wide.memory(long)
    assert len(json.dumps(mapped.memory.extra)) < MAX_RECORD * 3 // 4
    assert len(mapped.memory.blobs) > 40
    assert wide.row(mapped.memory) == long


@pytest.mark.parametrize("text", [BrokenText(b"\xff"), b"blob", 5, 5.5])
def test_a_text_that_cannot_be_read(text: Value) -> None:
    with pytest.raises(UnreadableRowError):
        MAPPER.memory(row(text=text))


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (None, 1_772_359_200_000),
        (b"x", 1_772_359_200_000),
        ("soon", 1_772_359_200_000),
        (1.5e12, 1_500_000_000_000),
        ("2026-03-01T11:00:00+01:00", 1_772_359_200_000),
        (0, None),
        (-5, -5),
        (1_772_359_200, 1_772_359_200_000),
        (1_772_359_200_250_000, 1_772_359_200_250),
        ("1772359200", 1_772_359_200_000),
    ],
)
def test_a_time_that_is_no_whole_number(timestamp: Value, expected: int | None) -> None:
    memory = MAPPER.memory(row(timestamp=timestamp)).memory
    assert memory.timestamp == expected
    assert MAPPER.row(stored(memory)) == row(timestamp=timestamp)


def test_column_names_of_another_case() -> None:
    mapper = NodeMapper(("ID", "Timestamp", "LAYER", "Text", "Fe_Score"), "graph")
    values = (3, 5, "output", "hello", 2.0)
    memory = mapper.memory(values).memory
    assert (memory.text, memory.layer, memory.extra) == ("hello", "output", {"Fe_Score": 2.0})
    assert mapper.row(memory) == values


VALUES = st.one_of(
    st.none(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
    st.floats(0, 1),
    st.text(max_size=20),
    st.sampled_from(["input", "note", "2026-03-01 10:00:00", "1970-01-01 00:00:00", "{}"]),
    st.binary(max_size=20),
    st.sampled_from([BrokenText(b"\xff\xfe"), BrokenText(b"\xed\xa0\x80")]),
)
TEXTS = st.one_of(st.none(), st.text(max_size=50))
KEYS = st.integers(-(1 << 63), (1 << 63) - 1)


@settings(max_examples=400)
@given(KEYS, TEXTS, st.lists(VALUES, min_size=len(COLUMNS) - 2, max_size=len(COLUMNS) - 2))
def test_every_row_comes_back(key: int, text: str | None, rest: list[Value]) -> None:
    values = (key, rest[0], rest[1], text, *rest[2:])
    memory = stored(MAPPER.memory(values).memory)
    assert canonical(MAPPER.row(memory)) == canonical(values)
    assert memory.timestamp is None or MIN_TIME <= memory.timestamp < MAX_TIME
    assert memory.importance is None or 0 <= memory.importance <= 1


@settings(max_examples=300)
@given(st.lists(VALUES, max_size=4), st.lists(VALUES, max_size=4))
def test_canonical_tells_rows_apart(one: list[Value], two: list[Value]) -> None:
    same = len(one) == len(two) and all(
        type(a) is type(b) and a == b and _sign(a) == _sign(b)
        for a, b in zip(one, two, strict=True)
    )
    assert (canonical(one) == canonical(two)) is same


def _sign(value: Value) -> float:
    return math.copysign(1, value) if isinstance(value, float) else 0


def test_canonical_sees_types() -> None:
    values: list[Value] = [None, 0, 0.0, -0.0, "", b"", "0", b"0", 1, 1.0, "1"]
    assert len({canonical([value]) for value in values}) == len(values)
    assert canonical(["a", "bc"]) != canonical(["ab", "c"])


ALIKE = st.sampled_from([0, 0.0, -0.0, 1, 1.0, math.nan, "", "1", b"1", BrokenText(b"1"), None])
"""Values that are equal and not identical, or look the same."""
ROWS = st.lists(st.tuples(ALIKE, ALIKE), max_size=3)


@given(ROWS, ROWS)
def test_rows_are_identical_as_their_bytes_are(mine: list[Any], theirs: list[Any]) -> None:
    same = [*map(canonical, mine)] == [*map(canonical, theirs)]
    pairs = zip(mine, theirs, strict=False)
    assert same == (len(mine) == len(theirs) and all(identical(*pair) for pair in pairs))
    if all_identical(mine, theirs):
        assert same
    whole = [row for row in mine if math.nan not in row]
    assert all_identical(whole, [tuple(row) for row in whole])


@pytest.mark.parametrize("clock", ["24:00:00", "23:60:00", "23:59:60", "99:99:99"])
def test_a_time_of_day_that_is_none_is_kept_as_it_is(clock: str) -> None:
    made = row(created_at=f"2026-03-01 {clock}")
    memory = MAPPER.memory(made).memory
    assert memory.created is None and MAPPER.row(memory) == made
