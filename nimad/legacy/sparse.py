"""Reads a sparse block memory: `sparse_memory.pkl`, or its JSON form.

    {"config": {"block_dim": 500, "num_blocks": 100, ...}, "metadata": [...], "factors": [...],
     "vectors": [{"active_blocks": [...], "blocks": {"7": 500 float64}}, ...], ...}

A block's numbers are bytes in the pickle, {"data": base64, "dtype", "shape"} in JSON.
"""

from __future__ import annotations

import base64
from array import array
from typing import Any

from nimad.errors import SourceCorrupt, SourceNotRecognised
from nimad.legacy.budget import Budget
from nimad.legacy.json_index import index_parts, parse
from nimad.legacy.parsed import Parsed, Piece, check_dimension, metadata_of, uneven
from nimad.legacy.pickle_allowlist import BUILDERS, ITEM_BYTES, Array
from nimad.legacy.pickle_vm import Span, TextSink, load

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
        for episode, said in zip(episodes, factors, strict=False):
            if isinstance(episode, dict) and isinstance(said, dict):
                repeats = (
                    isinstance(role, str)
                    and isinstance(value, str)
                    and episode.get(role.lower()) == value
                    for role, value in said.items()
                )
                if not all(repeats):  # they say more than the episode's own fields do
                    episode.setdefault("factors", said)
    parsed = Parsed(name, written, episodes)
    vectors, config = value.get("vectors"), value.get("config")
    if not isinstance(vectors, list) or not vectors:
        return parsed
    if not isinstance(config, dict):
        raise SourceNotRecognised(path=name, detail="it has vectors, but does not say of what form")
    blocks, block = config.get("num_blocks"), config.get("block_dim")  # how many, of what length
    if type(blocks) is not int or type(block) is not int or blocks < 1 or block < 1:
        raise SourceCorrupt(path=name, detail="its num_blocks and block_dim are no counts")
    check_dimension(blocks * block, name)
    parsed.vectors = rows(view, name, vectors, blocks, block)
    if len(vectors) != len(episodes):
        parsed.notes.append(uneven(name, len(vectors), len(episodes)))
    return parsed


class _Rows:
    """Sparse vectors: `Vectors` of a sparse memory."""

    overlap = False

    def __init__(
        self, view: memoryview, name: str, vectors: list[Any], blocks: int, block: int
    ) -> None:
        self._view, self._name, self._vectors, self._blocks = view, name, vectors, blocks
        self.block_size: int | None = block
        self._block = block
        self.count, self.dimension = len(vectors), blocks * block

    def pieces(self, row: int) -> list[Piece] | None:
        """As `Vectors.pieces`."""
        vector = self.vector(row)
        blocks = vector.get("blocks") if isinstance(vector, dict) else None
        if not isinstance(blocks, dict):
            return None
        found: list[Piece] = []
        for written, packed in blocks.items():
            plain = isinstance(written, (int, str)) and str(written).isdecimal()
            number = int(written) if plain and len(str(written)) < 10 else -1
            piece = self.piece(packed)
            if not 0 <= number < self._blocks or piece is None:
                return None
            found.append(piece._replace(block=number))
        return found

    def vector(self, row: int) -> Any:
        """A vector as its file has it."""
        return self._vectors[row]

    def piece(self, packed: Any) -> Piece | None:
        """The numbers of one block; None when they cannot be read."""
        raise NotImplementedError


class _PickledRows(_Rows):
    def piece(self, packed: Any) -> Piece | None:
        dtype = ""
        if isinstance(packed, Array):
            packed, dtype = packed.data, packed.dtype
        if not isinstance(packed, (bytes, Span)):
            return None
        length = packed.length if isinstance(packed, Span) else len(packed)
        dtype = dtype or ("float32" if length == 4 * self._block else "float64")
        if length != self._block * ITEM_BYTES.get(dtype, 0):
            return None
        if isinstance(packed, Span):
            return Piece(dtype, packed.offset)
        return Piece(dtype, 0, data=packed)


class _JsonRows(_Rows):
    _raw, _start, _seen = b"", 0, 0

    def vector(self, row: int) -> Any:
        self._start, end = self._vectors[row]
        if end - self._start > MAX_VECTOR:
            return None
        self._raw, self._seen = bytes(self._view[self._start : end]), 0
        return parse(self._view, self._start, end, self._name)

    def piece(self, packed: Any) -> Piece | None:
        if isinstance(packed, list):
            try:
                data = array("d", packed).tobytes()
            except (TypeError, OverflowError):
                return None
            return Piece("float64", 0, data=data) if len(packed) == self._block else None
        coded = packed.get("data") if isinstance(packed, dict) else None
        if not isinstance(coded, str):
            return None
        dtype = str(packed.get("dtype"))
        try:
            data = base64.b64decode(coded, validate=True)
        except ValueError:
            return None
        if len(data) != self._block * ITEM_BYTES.get(dtype, 0):
            return None
        # the vector's texts are in the order of its blocks; one spelled with escapes is copied
        place = self._raw.find(f'"{coded}"'.encode(), self._seen)
        if place < 0:
            return Piece(dtype, 0, data=data)
        self._seen = place
        return Piece(dtype, self._start + place + 1, base64=True)
