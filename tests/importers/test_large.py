"""A large export is streamed: nimactl never holds more than an element of it."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nimad.importers.files import MAX_LINE, Unfit
from nimad.importers.json_stream import ArrayReader
from nimad.importers.registry import IMPORTERS

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


class Dribble(io.BytesIO):
    """Gives a few bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(7, size or 7))


@given(st.lists(VALUES, max_size=6), st.booleans(), st.sampled_from([None, 1]))
def test_elements_are_those_of_json(values: list[object], within: bool, indent: int | None) -> None:
    whole = {"a": {"b": [[1]]}, "items": values, "z": [{}]} if within else values
    stream = Dribble(json.dumps(whole, indent=indent, ensure_ascii=within).encode())
    reader = ArrayReader(stream, "items")
    found = list(reader.values())
    assert found == [value for value in values if isinstance(value, (dict, list))]
    assert reader.whole


def test_a_broken_element_is_refused_alone() -> None:
    parts = [
        b'{"a": 1}',
        b'{"a": nothing}',
        b'{"b": "' + b"x" * MAX_LINE + b'"}',
        b"[" * 300 + b"]" * 300,
    ]
    reader = ArrayReader(io.BytesIO(b"[" + b",".join([*parts, b'{"a": 2}']) + b"]"))
    found = list(reader.values())
    assert [value for value in found if not isinstance(value, Unfit)] == [{"a": 1}, {"a": 2}]
    assert len(found) == 5 and reader.whole
    cut = ArrayReader(io.BytesIO(b'[{"a": 1}, {"a": '))
    assert list(cut.values()) == [{"a": 1}] and not cut.whole


def test_memory_does_not_grow_with_the_export(tmp_path: Path) -> None:
    message = {"sender": "human", "text": "x" * 20_000, "uuid": "m"}
    with (tmp_path / "conversations.json").open("w") as file:
        for number in range(1500):  # 30 MB
            told = {"uuid": f"c{number}", "chat_messages": [message]}
            file.write(f"{',' if number else '['}{json.dumps(told)}")
        file.write("]")
    tracemalloc.start()
    try:
        events = sum(1 for _ in IMPORTERS["claude-ai"].read(tmp_path))
        assert events == 3000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
