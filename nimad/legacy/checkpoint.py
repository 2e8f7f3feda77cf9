"""Reads a checkpoint that torch.save wrote, without torch.

    {"state": {"metadata": [...], "timestamp", "vsa_dimension", ...},
     "tensors": {"vectors": [N, D], "fillers": {text: [D]}, "roles": {role: [D]}}}     nested
    {"vectors": [N, D], "metadata": [...]}                                             flat

`vectors` may be missing: the meaning of an episode comes from its text in any case.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from nimad.errors import SourceCorrupt, SourceUnsupported
from nimad.legacy import zipped
from nimad.legacy.budget import Budget
from nimad.legacy.parsed import Parsed, Vectors, check_dimension, metadata_of, uneven
from nimad.legacy.pickle_allowlist import (
    BUILDERS,
    ITEM_BYTES,
    Array,
    Storage,
    Tensor,
    persistent,
)
from nimad.legacy.pickle_vm import Span, TextSink, load
from nimad.legacy.tensors import TensorRows

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
    parsed = Parsed(name, _saved(state, written), episodes)
    tensors = value.get("tensors", value)
    if isinstance(tensors, dict):
        _VectorReader(view, content, parsed, entries).take(tensors)
    return parsed


def check(view: memoryview, name: str, seen: Callable[[], None]) -> None:
    """Compare every entry with its CRC.  Raises SourceCorrupt.  Cost: the whole file is read."""
    for entry in zipped.entries(view, name).values():
        zipped.check(view, name, entry, seen)


def _saved(state: dict[str, Any], written: float) -> float:
    """When it was saved, as it says itself, else as the disk says [epoch seconds]."""
    try:
        return datetime.fromisoformat(state["timestamp"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return written


class _VectorReader:
    """Finds the vectors of a checkpoint, each within its entry of the zip."""

    def __init__(
        self,
        view: memoryview,
        pickle: memoryview,
        parsed: Parsed,
        entries: dict[str, zipped.Entry],
    ) -> None:
        self._view, self._pickle, self._parsed, self._entries = view, pickle, parsed, entries
        self._name = parsed.name

    def take(self, tensors: dict[Any, Any]) -> None:
        """Enter the vectors, fillers and roles of a checkpoint's `tensors`."""
        parsed = self._parsed
        parsed.vectors = self._table(tensors.get("vectors"))
        if parsed.vectors is not None and parsed.vectors.count != len(parsed.episodes):
            parsed.notes.append(uneven(self._name, parsed.vectors.count, len(parsed.episodes)))
        for kind in ("filler", "role"):
            if isinstance(group := tensors.get(kind + "s"), dict):
                self._take_items(kind, group)

    def _table(self, found: Any) -> Vectors | None:
        """The vectors of the episodes: a table, or a list of tensors of one length."""
        if isinstance(found, Tensor):
            if len(found.size) != 2:
                return self._note("its vectors are no table")
            return self._rows([found], found.size[1]) if found.size[0] else None
        if found is None or (isinstance(found, list) and not found):
            return None
        arrays = found if isinstance(found, list) else [found]
        if all(isinstance(array, Array) and array.data is not None for array in arrays):
            return self._copied(arrays)
        if not isinstance(found, list) or not all(isinstance(t, Tensor) for t in found):
            return self._note("its vectors are of a form that is not known")
        size = found[0].size
        if len(size) != 1 or any(tensor.size != size for tensor in found):
            return self._note("its vectors are not all of one length")
        return self._rows(found, size[0])

    def _copied(self, arrays: list[Array]) -> Vectors | None:
        """The same of numpy's arrays, whose numbers are in the pickle: a table, or many rows."""
        shape = arrays[0].shape
        rows = len(shape) == 1 and all(array.shape == shape for array in arrays)
        if not rows and (len(shape) != 2 or len(arrays) > 1):
            return self._note("its vectors are not all of one length")
        data, tensors, places = bytearray(), [], []
        for array in arrays:
            places.append(len(data))
            if isinstance(array.data, Span):
                data += self._pickle[array.data.offset : array.data.offset + array.data.length]
            else:
                data += array.data or b""
            storage = Storage(array.dtype, "", math.prod(shape))
            tensors.append(Tensor(storage, 0, shape, (*shape[1:], 1)))
        if not shape[0]:
            return None
        check_dimension(shape[-1], self._name)
        view = memoryview(data)
        return TensorRows(view, self._name, tensors, places, shape[-1], in_place=False)

    def _take_items(self, kind: str, group: dict[Any, Any]) -> None:
        named = [(n, t) for n, t in group.items() if isinstance(n, str) and isinstance(t, Tensor)]
        fit = [(n, t) for n, t in named if len(t.size) == 1 and t.size == named[0][1].size]
        if len(fit) < len(group):
            self._note(f"{len(group) - len(fit)} {kind}s are no vectors")
        if fit:
            rows = self._rows([tensor for _, tensor in fit], fit[0][1].size[0])
            self._parsed.items += [(kind, name, rows, at) for at, (name, _) in enumerate(fit)]

    def _note(self, what: str) -> Vectors | None:
        """Say in the report why there are no vectors."""
        self._parsed.notes.append(f"{self._name}: {what}")
        return None

    def _rows(self, tensors: list[Tensor], dimension: int) -> TensorRows:
        check_dimension(dimension, self._name)
        places = [self._place(tensor.storage) for tensor in tensors]
        return TensorRows(self._view, self._name, tensors, places, dimension)

    def _place(self, storage: Storage) -> int:
        """Where a storage begins in the file."""
        entry = self._entries.get(f"data/{storage.key}")
        if entry is None:
            raise SourceCorrupt(path=self._name, detail=f"its data/{storage.key} is missing")
        if entry.size < storage.items * ITEM_BYTES[storage.dtype]:
            raise SourceCorrupt(path=self._name, detail=f"its data/{storage.key} is too short")
        return entry.offset
