"""Reads a sparse block memory: `sparse_memory.pkl`, or its JSON form.

    {"config": {"block_dim": 500, "num_blocks": 100, ...}, "metadata": [...], "factors": [...],
     "vectors": [{"active_blocks": [...], "blocks": {"7": 500 float64}}, ...], ...}

A block's numbers are bytes in the pickle, {"data": base64, "dtype", "shape"} in JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.errors import SourceCorrupt, SourceNotRecognised
from nimad.legacy.budget import Budget
from nimad.legacy.json_index import index_parts, parse
from nimad.legacy.parsed import Parsed, check_dimension, metadata_of, uneven
from nimad.legacy.pickle_allowlist import BUILDERS, ITEM_BYTES, Array
from nimad.legacy.pickle_vm import Span, TextSink, load
from nimad.legacy.tensors import BFLOAT16, as_float32

MAX_VECTOR = 16 << 20
"""Largest vector in JSON that is read [bytes]."""


def read_pickle(
    view: memoryview, name: str, written: float, budget: Budget, texts: TextSink | None = None
) -> Parsed:
    """What a pickle holds.  Raises SourceCorrupt, SourceUnsafe, SourceNotRecognised."""
    value = load(view, name, BUILDERS, None, texts, budget)
    return _parsed(value, name, written, budget, _PickledRows, view)


def read_json(view: memoryview, name: str, written: float, budget: Budget) -> Parsed:
    """What a JSON document holds.  Raises SourceCorrupt, SourceNotRecognised.

    The vectors stay in the file, and are parsed one by one when they are asked for.
    """
    parts = index_parts(view, name, budget)
    value: dict[str, Any] = {
        key: part.elements if key == "vectors" else parse(view, part.start, part.end, name)
        for key, part in parts.items()
        if key in ("config", "metadata", "factors", "vectors")
    }
    return _parsed(value, name, written, budget, _JsonRows, view)


def _parsed(
    value: Any, name: str, written: float, budget: Budget, rows: type[_Rows], view: memoryview
) -> Parsed:
    episodes, factors = metadata_of(value, name), value.get("factors")
    budget.check_episodes(episodes, name)
    if isinstance(factors, list):
        budget.check_episodes(factors, name)
        _add_factors(episodes, factors)
    parsed = Parsed(name, written, episodes)
    vectors, config = value.get("vectors"), value.get("config")
    if not isinstance(vectors, list) or not vectors:
        return parsed
    blocks, block = _shape(config, name)
    parsed.vectors = rows(view, name, vectors, blocks, block)
    if len(vectors) != len(episodes):
        parsed.notes.append(uneven(name, len(vectors), len(episodes)))
    return parsed


def _shape(config: Any, name: str) -> tuple[int, int]:
    """(number of blocks, numbers in each)."""
    if not isinstance(config, dict):
        raise SourceNotRecognised(path=name, detail="it has vectors, but does not say of what form")
    blocks, block = config.get("num_blocks"), config.get("block_dim")
    if type(blocks) is not int or type(block) is not int or blocks < 1 or block < 1:
        raise SourceCorrupt(path=name, detail="its num_blocks and block_dim are no counts")
    check_dimension(blocks * block, name)
    return blocks, block


def _add_factors(episodes: list[Any], factors: list[Any]) -> None:
    """Give each episode its factors where they say more than its own fields do."""
    for episode, said in zip(episodes, factors, strict=False):
        if isinstance(episode, dict) and isinstance(said, dict) and not _repeats(said, episode):
            episode.setdefault("factors", said)


def _repeats(factors: dict[Any, Any], episode: dict[Any, Any]) -> bool:
    return all(
        isinstance(role, str) and isinstance(value, str) and episode.get(role.lower()) == value
        for role, value in factors.items()
    )


class _Rows:
    """Sparse vectors as dense ones with zeros: `Vectors` of a sparse memory."""

    def __init__(
        self, view: memoryview, name: str, vectors: list[Any], blocks: int, block: int
    ) -> None:
        self._view, self._name, self._vectors, self._blocks = view, name, vectors, blocks
        self.block_size: int | None = block
        self._block = block
        self.count, self.dimension = len(vectors), blocks * block

    def rows(self, at: Sequence[int]) -> NDArray[np.float32]:
        """As `Vectors.rows`."""
        made = np.zeros((len(at), self._blocks, self._block), np.float32)
        for row, place in enumerate(at):
            vector = self._vector(place)
            blocks = vector.get("blocks") if isinstance(vector, dict) else None
            if not isinstance(blocks, dict):
                made[row] = np.nan  # not a vector: it does not count as one
                continue
            for number, packed in blocks.items():
                made[row, self._number(number)] = self._numbers(packed)
        return made.reshape(len(at), self.dimension)

    def spots(self, row: int) -> list[tuple[int, int]]:
        """As `Vectors.spots`."""
        raise NotImplementedError

    def _vector(self, place: int) -> Any:
        raise NotImplementedError

    def _number(self, written: Any) -> int:
        number = int(written) if isinstance(written, (int, str)) and str(written).isdigit() else -1
        if not 0 <= number < self._blocks:
            raise SourceCorrupt(path=self._name, detail=f"it has no block {str(written)[:20]}")
        return number

    def _numbers(self, packed: Any) -> NDArray[np.float32]:
        """The numbers of one block; NaN when they cannot be read."""
        raw, dtype = self._bytes(packed)
        if len(raw) != self._block * ITEM_BYTES.get(dtype, 0):
            return np.full(self._block, np.nan, np.float32)
        kind = "<u2" if dtype == BFLOAT16 else dtype
        return as_float32(np.frombuffer(raw, np.dtype(kind).newbyteorder("<")), dtype)

    def _bytes(self, packed: Any) -> tuple[bytes | memoryview, str]:
        raise NotImplementedError


class _PickledRows(_Rows):
    def spots(self, row: int) -> list[tuple[int, int]]:
        vector = self._vectors[row]
        blocks = vector.get("blocks") if isinstance(vector, dict) else None
        found: list[tuple[int, int]] = []
        for packed in blocks.values() if isinstance(blocks, dict) else ():
            where = packed.data if isinstance(packed, Array) else packed
            if not isinstance(where, Span):
                raise ValueError("a block is too short to be overwritten in place")
            found.append((where.offset, where.length))
        return found

    def _vector(self, place: int) -> Any:
        return self._vectors[place]

    def _bytes(self, packed: Any) -> tuple[bytes | memoryview, str]:
        dtype = ""
        if isinstance(packed, Array):
            packed, dtype = packed.data, packed.dtype
        if isinstance(packed, Span):
            packed = self._view[packed.offset : packed.offset + packed.length]
        if not isinstance(packed, (bytes, memoryview)):
            return b"", "float64"
        return packed, dtype or ("float32" if len(packed) == 4 * self._block else "float64")


class _JsonRows(_Rows):
    def spots(self, row: int) -> list[tuple[int, int]]:
        start, end = self._vectors[row]
        return [(start, end - start)]

    def _vector(self, place: int) -> Any:
        start, end = self._vectors[place]
        if end - start > MAX_VECTOR:
            raise SourceCorrupt(path=self._name, detail=f"its vector {place} is too long")
        return parse(self._view, start, end, self._name)

    def _bytes(self, packed: Any) -> tuple[bytes | memoryview, str]:
        if isinstance(packed, dict) and isinstance(packed.get("data"), str):
            try:
                return base64.b64decode(packed["data"], validate=True), str(packed.get("dtype"))
            except ValueError:
                return b"", "float64"
        if isinstance(packed, list):
            try:
                return np.asarray(packed, np.float64).tobytes(), "float64"
            except (TypeError, ValueError):
                return b"", "float64"
        return b"", "float64"
