"""Reads a checkpoint that torch.save wrote, without torch.

    {"state": {"metadata": [...], "timestamp", "vsa_dimension", ...},
     "tensors": {"vectors": [N, D], "fillers": {text: [D]}, "roles": {role: [D]}}}     nested
    {"vectors": [N, D], "metadata": [...]}                                             flat

`vectors` may be missing: the meaning of an episode comes from its text in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from nimad.errors import SourceCorrupt, SourceUnsupported
from nimad.legacy import zipped
from nimad.legacy.parsed import Parsed, Vectors, check_dimension, metadata_of, uneven
from nimad.legacy.pickle_allowlist import BUILDERS, ITEM_BYTES, Storage, Tensor, persistent
from nimad.legacy.pickle_vm import TextSink, load
from nimad.legacy.tensors import TensorRows

MAX_PICKLE = 256 << 20
"""Largest `data.pkl` that is read [bytes]: a million episodes."""


def read(
    view: memoryview, name: str, path: Path | str, written: float, texts: TextSink | None = None
) -> Parsed:
    """What a checkpoint holds.  `path` names it in errors, `written` is its age by the disk.

    Raises SourceCorrupt, SourceUnsafe, SourceNotRecognised, SourceUnsupported.  Cost: the pickle
    is read; the numbers are not.
    """
    entries = zipped.entries(view, path)
    pickle = _pickle(view, path, entries)
    start = pickle.offset
    value = load(view[start : start + pickle.size], path, BUILDERS, persistent, texts)
    state = value.get("state", value) if isinstance(value, dict) else value
    episodes = metadata_of(state, path)
    parsed = Parsed(name, _saved(state, written), episodes)
    tensors = value.get("tensors", value)
    if isinstance(tensors, dict):
        _take_vectors(parsed, _Reader(view, path, entries), tensors)
    return parsed


def check(view: memoryview, path: Path | str, seen: Callable[[], None]) -> None:
    """Compare every entry with its CRC.  Raises SourceCorrupt.  Cost: the whole file is read."""
    for entry in zipped.entries(view, path).values():
        zipped.check(view, path, entry, seen)


def _pickle(view: memoryview, path: Path | str, entries: dict[str, zipped.Entry]) -> zipped.Entry:
    """The entry `data.pkl`, found to be whole."""
    order = entries.get("byteorder")
    if order is not None and bytes(view[order.offset : order.offset + order.size]) != b"little":
        raise SourceUnsupported(path=path, what="a checkpoint of a big-endian machine")
    found = entries.get("data.pkl")
    if found is None:
        raise SourceUnsupported(path=path, what="a zip without data.pkl, so no checkpoint")
    if found.size > MAX_PICKLE:
        detail = f"its data.pkl has {found.size >> 20} MiB, more than {MAX_PICKLE >> 20}"
        raise SourceCorrupt(path=path, detail=detail)
    zipped.check(view, path, found)
    return found


def _saved(state: dict[str, Any], written: float) -> float:
    """When it was saved, as it says itself, else as the disk says [epoch seconds]."""
    try:
        return datetime.fromisoformat(state["timestamp"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return written


class _Reader:
    """Makes vectors of tensors, each found to lie within its entry."""

    def __init__(
        self, view: memoryview, path: Path | str, entries: dict[str, zipped.Entry]
    ) -> None:
        self.view, self.path, self.entries = view, path, entries

    def rows(self, tensors: list[Tensor], dimension: int) -> TensorRows:
        places = [self._place(tensor.storage) for tensor in tensors]
        return TensorRows(self.view, self.path, tensors, places, dimension)

    def _place(self, storage: Storage) -> int:
        """Where a storage begins in the file."""
        entry = self.entries.get(f"data/{storage.key}")
        if entry is None:
            raise SourceCorrupt(path=self.path, detail=f"its data/{storage.key} is missing")
        if entry.size < storage.items * ITEM_BYTES[storage.dtype]:
            raise SourceCorrupt(path=self.path, detail=f"its data/{storage.key} is too short")
        return entry.offset


def _take_vectors(parsed: Parsed, reader: _Reader, tensors: dict[Any, Any]) -> None:
    found = tensors.get("vectors")
    if isinstance(found, Tensor):
        parsed.vectors = _matrix(parsed, reader, found)
    elif isinstance(found, list) and found and all(isinstance(t, Tensor) for t in found):
        parsed.vectors = _list(parsed, reader, found)
    elif found is not None and found != []:
        parsed.notes.append(f"{parsed.name}: its vectors are of a form that is not known")
    if parsed.vectors is not None and parsed.vectors.count != len(parsed.episodes):
        parsed.notes.append(uneven(parsed.name, parsed.vectors.count, len(parsed.episodes)))
    for kind, group in (("filler", "fillers"), ("role", "roles")):
        _take_items(parsed, reader, kind, tensors.get(group))


def _matrix(parsed: Parsed, reader: _Reader, tensor: Tensor) -> Vectors | None:
    if len(tensor.size) != 2:
        parsed.notes.append(f"{parsed.name}: its vectors are no table")
        return None
    if not tensor.size[0]:
        return None
    check_dimension(tensor.size[1], reader.path)
    return reader.rows([tensor], tensor.size[1])


def _list(parsed: Parsed, reader: _Reader, tensors: list[Tensor]) -> Vectors | None:
    size = tensors[0].size
    if len(size) != 1 or any(tensor.size != size for tensor in tensors):
        parsed.notes.append(f"{parsed.name}: its vectors are not all of one length")
        return None
    check_dimension(size[0], reader.path)
    return reader.rows(tensors, size[0])


def _take_items(parsed: Parsed, reader: _Reader, kind: str, group: Any) -> None:
    if not isinstance(group, dict):
        return
    named = [(n, t) for n, t in group.items() if isinstance(n, str) and isinstance(t, Tensor)]
    fit = [(n, t) for n, t in named if len(t.size) == 1 and t.size == named[0][1].size]
    if len(fit) < len(group):
        parsed.notes.append(f"{parsed.name}: {len(group) - len(fit)} {kind}s are no vectors")
    if fit:
        check_dimension(fit[0][1].size[0], reader.path)
        rows = reader.rows([tensor for _, tensor in fit], fit[0][1].size[0])
        parsed.items += [(kind, name, rows, at) for at, (name, _) in enumerate(fit)]
