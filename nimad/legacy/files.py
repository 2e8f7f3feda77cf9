"""A bundle of checkpoints, pickles and JSON, open for reading by way of its catalog (catalog.py).

A process with limits reads the bundle (reader.py), which episode is which is told in
bundle_index.py; here are only the catalog and the numbers of vectors, which stay in the bundle.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.closing import Closing
from nimad.errors import NimadError, SourceCorrupt
from nimad.legacy.bundle import MappedFile
from nimad.legacy.catalog import (
    ARRAYS,
    BASE64,
    DTYPES,
    HERE,
    MAGIC,
    NEGATIVE,
    NO_VECTOR,
    TAIL,
    UNREADABLE,
)
from nimad.legacy.episodes import EpisodeMapper, node_of
from nimad.legacy.reader_process import error_of, run
from nimad.legacy.recent_catalog import RECENT
from nimad.legacy.source import DenseRows, LegacyNode, Totals, Unreadable
from nimad.legacy.values import unspell

PAGE_BYTES = 1 << 20
"""Length of spelled episodes at which a page ends early [bytes]."""
SCAN_BYTES = 8 << 20
"""Vectors looked at before pages are let go of [bytes]."""
BFLOAT16 = "bfloat16"
PIECE = np.dtype([("offset", "<i8"), ("step", "<i8"), ("block", "<u4"), ("kind", "<u4")])
FORMS: tuple[Any, ...] = ("<i8", "<i8", PIECE, "<i8", "u1")
"""Types of the arrays of a catalog."""


class LegacyFiles(Closing):
    """A bundle, open for reading.  Used by one thread at a time."""

    schema = 0
    zone: tzinfo = UTC
    keys: NDArray[np.int64]
    ends: NDArray[np.int64]
    upto: NDArray[np.int64]
    pieces: NDArray[Any]
    state: NDArray[np.uint8]

    def __init__(self, path: Path, check: bool = False, **budget: int) -> None:
        """See `open`."""
        self._path, self._budget = path, budget
        with path.open("rb") as bundle:
            self._read(bundle.fileno(), check)
            self._bundle = MappedFile(bundle.fileno())

    @classmethod
    def open(cls, path: Path, check: bool = False, **budget: int) -> LegacyFiles:
        """Open a bundle.  Files of it that cannot be read are left out, and are in `refused`.

        `check`: what `survey` needs, in the same go.  `budget` is for tests.  Raises
        SourceNotRecognised and SourceCorrupt; when no file is left, what is wrong with it
        (SourceUnsafe, SourceUnsupported, SourceTooLarge, ...).  Cost: a process reads it once.
        """
        return cls(path, check, **budget)

    def _read(self, bundle: int, check: bool) -> None:
        made = RECENT.find(bundle, check)
        try:
            if made is None or self._budget:
                made = os.memfd_create("nimad-catalog", os.MFD_CLOEXEC)
                run("read", self._path, bundle, made, check=check, budget=dict(self._budget))
                if not self._budget:
                    RECENT.keep(bundle, check, made)
            self._catalog = MappedFile(made)
        finally:
            if made is not None:
                os.close(made)
        view = self._catalog.view
        try:
            at, length, magic = TAIL.unpack(view[-TAIL.size :])
            if magic != MAGIC:
                raise ValueError
            self._head: dict[str, Any] = json.loads(bytes(view[at : at + length]))
            arrays = self._head["arrays"]
            self.keys, self.ends, self.pieces, self.upto, self.state = (
                np.frombuffer(view[start : start + size], np.dtype(form))
                for form, (start, size) in zip(FORMS, map(arrays.get, ARRAYS), strict=True)
            )
        except (ValueError, KeyError, TypeError) as error:
            raise SourceCorrupt(path=self._path, detail=f"its catalog: {error}") from None

    def close(self) -> None:
        """Unmap the bundle and its catalog."""
        self.keys, self.ends, self.pieces, self.upto, self.state = (
            np.empty(0, form) for form in FORMS
        )
        self._catalog.close()
        self._bundle.close()

    # --- what it holds --------------------------------------------------------------------------

    @property
    def refused(self) -> list[tuple[str, NimadError]]:
        """Files that are left out, and why."""
        found = ((name, error_of(told)) for name, told in self._head["refused"])
        return [(name, error) for name, error in found if isinstance(error, NimadError)]

    def mapper(self, name: str) -> EpisodeMapper:
        """What turns episodes into memories of the source `name`, and back."""
        made = EpisodeMapper(name)
        made.zone = self.zone
        return made

    def nodes(
        self, mapper: EpisodeMapper, after: int | None, limit: int
    ) -> list[LegacyNode | Unreadable]:
        """Up to `limit` memories after the key `after` (None: the first), by key."""
        first = 0 if after is None else int(np.searchsorted(self.keys, after, "right"))
        if first >= len(self.keys):
            return []
        last = min(first + limit, len(self.keys))
        full = int(np.searchsorted(self.ends, self.ends[first] + PAGE_BYTES, "right"))
        last = min(last, max(first + 1, full - 1))
        keys = self.keys[first:last].tolist()
        return [node_of(mapper, key, unspell(self.text(first + n))) for n, key in enumerate(keys)]

    def text(self, number: int) -> Any:
        """An episode, spelled, or ["filler" or "role", name] of an item."""
        start, end = self.ends[number : number + 2].tolist()
        return json.loads(bytes(self._catalog.view[start:end]).decode("utf-8", "surrogatepass"))

    @property
    def form(self) -> tuple[int, int | None]:
        """Dimension and block size of the hypervectors."""
        dimension, block = self._head["form"]
        return dimension, block

    def numbers(
        self, dtype: str, flags: int, offset: int, step: int, count: int
    ) -> NDArray[np.float32]:
        """The numbers of a piece (catalog.py).  Raises SourceCorrupt."""
        view = self._catalog.view if flags & HERE else self._bundle.view
        kind = np.dtype("<u2" if dtype == BFLOAT16 else dtype).newbyteorder("<")
        try:
            if flags & BASE64:
                end = offset + -(-count * kind.itemsize // 3) * 4
                view, offset = memoryview(b64decode(bytes(view[offset:end]))), 0
            found = np.frombuffer(view, kind, (count - 1) * step + 1, offset)
        except ValueError as error:
            raise SourceCorrupt(path=self._path, detail=f"a vector: {error}") from None
        numbers = as_float32(found[::step] if step else found.repeat(count), dtype)
        return -numbers if flags & NEGATIVE else numbers

    def drop(self) -> None:
        """Let go of the pages that were looked at."""
        self._bundle.drop()
        self._catalog.drop()

    def edges(self, after: int | None, limit: int) -> list[Any]:
        """There are none."""
        return []

    def turns(self, after: int | None, limit: int) -> list[Any]:
        """There are none."""
        return []

    def dense(self) -> DenseRows | None:
        """The hypervectors, of the dimension that the newest file has."""
        if not self.state[: len(self.keys)].any():
            return None
        return FileRows(self)

    def survey(self) -> Totals:
        """What it holds, once everything was read: checksums, CRCs, every episode.

        A file that is not what its checksum says is left out from here on.  Raises what is wrong
        with the only file, or SourceNotRecognised when none of several is left.
        """
        if self._head["totals"] is None:
            with self._path.open("rb") as bundle:
                self._read(bundle.fileno(), True)
        told = dict(self._head["totals"])
        refusals = [Unreadable(**each) for each in told.pop("refusals")]
        del told["refused"]
        times: Counter[str] = Counter(told.pop("times"))
        totals = Totals(**told, refusals=refusals, times=times, refused=self.refused)
        checked, found = self._head["notes"]
        left_out = [f"{name} is left out: {error.message}" for name, error in self.refused]
        totals.notes = [*checked, *found, *left_out, *totals.notes]
        return totals


class FileRows:
    """`DenseRows` of a bundle."""

    def __init__(self, files: LegacyFiles) -> None:
        self._files = files
        self.dimension, self.block_size = files.form
        self._good: NDArray[np.int64] | None = None

    def keys(self) -> NDArray[np.int64]:
        """As `DenseRows.keys`."""
        if self._good is None:
            files = self._files
            some = np.flatnonzero(files.state[: len(files.keys)] != NO_VECTOR)
            step = max(1, SCAN_BYTES // (4 * self.dimension))
            parts = (some[start : start + step] for start in range(0, len(some), step))
            good = [part[np.isfinite(self._read(part)).all(axis=1)] for part in parts]
            self._good = files.keys[np.concatenate(good)]
        return self._good

    def rows(self, keys: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """As `DenseRows.rows`."""
        known, asked = self._files.keys, np.asarray(keys, np.int64)
        at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        if (known[at] != asked).any() or (self._files.state[at] == NO_VECTOR).any():
            raise KeyError(asked[known[at] != asked].tolist())
        return self._read(at)

    def items(self) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
        """As `DenseRows.items`."""
        for number in range(len(self._files.keys), len(self._files.state)):
            vector = self._read(np.array([number]))[0]
            if np.isfinite(vector).all():
                kind, name = self._files.text(number)
                yield kind, name, vector

    def _read(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        files, size = self._files, self.block_size or self.dimension
        made = np.zeros((len(numbers), self.dimension), np.float32)
        for row, number in zip(made, numbers.tolist(), strict=True):
            if files.state[number] == UNREADABLE:
                row[:] = np.nan
            first, last = files.upto[number : number + 2].tolist()
            for offset, step, block, kind in files.pieces[first:last].tolist():
                dtype, flags = DTYPES[kind & 0xFF], kind >> 8
                found = files.numbers(dtype, flags, offset, step, size)
                row[block * size : (block + 1) * size] = found
        files.drop()
        return made


def as_float32(raw: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Numbers of a file as float32, copied; bfloat16 is given as uint16, its upper half."""
    if dtype == BFLOAT16:
        return (raw.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes inf: not finite
        return raw.astype(np.float32)
