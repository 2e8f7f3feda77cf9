"""Reads a checkpoint that torch.save wrote, without torch.

    {"state": {"metadata": [...], "timestamp", "vsa_dimension", ...},
     "tensors": {"vectors": [N, D], "fillers": {text: [D]}, "roles": {role: [D]}}}     nested
    {"vectors": [N, D], "metadata": [...]}                                             flat

`vectors` may be missing: the meaning of an episode comes from its text in any case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from nimad.errors import SourceCorrupt, SourceUnsupported
from nimad.legacy import zipped
from nimad.legacy.budget import Budget
from nimad.legacy.parsed import Parsed, Piece, Vectors, check_dimension, metadata_of, uneven
from nimad.legacy.pickle_allowlist import (
    BUILDERS,
    ITEM_BYTES,
    Array,
    Storage,
    Tensor,
    persistent,
)
from nimad.legacy.pickle_vm import Span, TextSink, load

MAX_PICKLE = 256 << 20
"""Size of the largest `data.pkl` that is read: half a million episodes [bytes]."""


def read(
    view: memoryview, name: str, written: float, budget: Budget, texts: TextSink | None = None
) -> Parsed:
    """What the checkpoint `name` holds; `written` is its age by the disk.

    Raises SourceCorrupt, SourceUnsafe, SourceNotRecognised, SourceUnsupported.  Cost: the pickle
    is read; the numbers are not.
    """
    entries = zipped.entries(view, name)
    order = entries.get("byteorder")
    if order is not None and bytes(view[order.offset : order.offset + order.size]) != b"little":
        raise SourceUnsupported(path=name, what="a checkpoint of a big-endian machine")
    pickle = entries.get("data.pkl")
    if pickle is None:
        raise SourceUnsupported(path=name, what="a zip without data.pkl, so no checkpoint")
    if pickle.size > MAX_PICKLE:
        detail = f"its data.pkl has {pickle.size >> 20} MiB, more than {MAX_PICKLE >> 20}"
        raise SourceCorrupt(path=name, detail=detail)
    zipped.check(view, name, pickle)
    content = view[pickle.offset : pickle.offset + pickle.size]
    value = load(content, name, BUILDERS, persistent, texts, budget)
    state = value.get("state", value) if isinstance(value, dict) else value
    episodes = metadata_of(state, name)
    budget.check_episodes(episodes, name)
    with suppress(KeyError, TypeError, ValueError, OverflowError):  # as it says itself
        written = datetime.fromisoformat(state["timestamp"]).timestamp()
    parsed = Parsed(name, written, episodes)
    tensors = value.get("tensors", value)
    if isinstance(tensors, dict):
        _VectorReader(pickle, parsed, entries).take(tensors)
    return parsed


def check(view: memoryview, name: str, seen: Callable[[], None]) -> None:
    """Compare every entry with its CRC.  Raises SourceCorrupt.  Cost: the whole file is read."""
    for entry in zipped.entries(view, name).values():
        zipped.check(view, name, entry, seen)


class TensorRows:
    """The rows of one table, or of many vectors of the same length: `Vectors` of a checkpoint.

    `places` are where each tensor's storage begins in the file, or its bytes, where the pickle
    has them in another coding.  Tensors may overlap, skip items (a slice), or run across (a
    transposed table): strides are followed as they are.
    """

    block_size: int | None = None

    def __init__(
        self, tensors: Sequence[Tensor], places: Sequence[int | bytes], dimension: int
    ) -> None:
        self.dimension, self._tensors, self._places = dimension, tensors, places
        self._table = len(tensors[0].size) == 2
        self.count = tensors[0].size[0] if self._table else len(tensors)
        self.overlap = False
        if self._table:
            (inner, length), (outer, rows) = sorted(
                zip(tensors[0].stride, tensors[0].size, strict=True)
            )
            self.overlap = rows > 1 and length > 1 and (inner < 1 or outer < inner * length)

    def pieces(self, row: int) -> list[Piece]:
        """As `Vectors.pieces`."""
        at = 0 if self._table else row
        tensor, place = self._tensors[at], self._places[at]
        item = ITEM_BYTES[tensor.storage.dtype]
        begin = (tensor.offset + (row * tensor.stride[0] if self._table else 0)) * item
        data = None
        if isinstance(place, bytes):
            data, place = place[begin : begin + self.dimension * item], -begin
        found = Piece(tensor.storage.dtype, place + begin, tensor.stride[-1])
        return [found._replace(negative=tensor.negative, data=data)]


class _VectorReader:
    """Finds the vectors of a checkpoint, each within its entry of the zip."""

    def __init__(
        self,
        pickle: zipped.Entry,
        parsed: Parsed,
        entries: dict[str, zipped.Entry],
    ) -> None:
        self._begin, self._entries = pickle.offset, entries
        self._parsed, self._name = parsed, parsed.name

    def take(self, tensors: dict[Any, Any]) -> None:
        """Enter the vectors, fillers and roles of a checkpoint's `tensors`."""
        parsed = self._parsed
        parsed.vectors = self._table(tensors.get("vectors"))
        if parsed.vectors is not None and parsed.vectors.count != len(parsed.episodes):
            parsed.notes.append(uneven(self._name, parsed.vectors.count, len(parsed.episodes)))
        for kind in ("filler", "role"):
            group = tensors.get(kind + "s")
            given = group.items() if isinstance(group, dict) else ()
            named = [(n, t) for n, t in given if isinstance(n, str) and isinstance(t, Tensor)]
            fit = [(n, t) for n, t in named if len(t.size) == 1 and t.size == named[0][1].size]
            if len(fit) < len(given):
                self._note(f"{len(given) - len(fit)} {kind}s are no vectors")
            if fit:
                rows = self._rows([tensor for _, tensor in fit], fit[0][1].size[0])
                parsed.items += [(kind, name, rows, at) for at, (name, _) in enumerate(fit)]

    def _table(self, found: Any) -> Vectors | None:
        """The vectors of the episodes: a table, or a list of vectors of one length."""
        if found is None or (isinstance(found, list) and not found):
            return None
        rows = found if isinstance(found, list) else [found]
        arrays = [row for row in rows if isinstance(row, Array) and row.data is not None]
        if len(arrays) == len(rows):
            tensors, places = zip(*map(self._of_array, arrays), strict=True)
        elif all(isinstance(row, Tensor) for row in rows):
            tensors, places = tuple(rows), None
        else:
            return self._note("its vectors are of a form that is not known")
        size = tensors[0].size
        if isinstance(found, list) and (len(size) != 1 or any(t.size != size for t in tensors)):
            return self._note("its vectors are not all of one length")
        if not isinstance(found, list) and len(size) != 2:
            return self._note("its vectors are no table")
        return self._rows(tensors, size[-1], places) if size[0] else None

    def _of_array(self, array: Array) -> tuple[Tensor, int | bytes]:
        """An array of numpy's as a tensor, and where its numbers are: in the pickle."""
        storage = Storage(array.dtype, "", math.prod(array.shape))
        strides = tuple(math.prod(array.shape[n + 1 :]) for n in range(len(array.shape)))
        if isinstance(array.data, Span):
            return Tensor(storage, 0, array.shape, strides), self._begin + array.data.offset
        return Tensor(storage, 0, array.shape, strides), array.data or b""

    def _note(self, what: str) -> Vectors | None:
        """Say in the report why there are no vectors."""
        self._parsed.notes.append(f"{self._name}: {what}")
        return None

    def _rows(
        self,
        tensors: Sequence[Tensor],
        dimension: int,
        places: Sequence[int | bytes] | None = None,
    ) -> TensorRows:
        check_dimension(dimension, self._name)
        found = list(places or ())
        for storage in [] if places else [tensor.storage for tensor in tensors]:
            entry = self._entries.get(f"data/{storage.key}")
            if entry is None:
                raise SourceCorrupt(path=self._name, detail=f"its data/{storage.key} is missing")
            if entry.size < storage.items * ITEM_BYTES[storage.dtype]:
                raise SourceCorrupt(path=self._name, detail=f"its data/{storage.key} is too short")
            found.append(entry.offset)
        return TensorRows(tensors, found, dimension)
