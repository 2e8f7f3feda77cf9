"""BlockIndex: the vectors of all memories, sealed in segments and hot in memory, searched as one.

    write_segment / merge_segments   a new file, durable, that nothing reads yet
    (the records commit its name)    the commit point of the whole store
    publish                          readers see it; files that were dropped are removed

Crash prose: before the records' commit a new segment file is garbage, which `unlisted` finds.
After it the next start opens the new list.  A crash between the commit and the removal of dropped
files leaves them on the disk, unlisted: garbage again.

Nothing here says which rows exist: the records do.  Tombstones live in memory only; after a start
the records say again what was removed.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.disk.durable import crash_point, fsync_dir, own_files
from nimad.disk.mapped import remove_file, remove_waiting
from nimad.errors import NimadError, NotFound
from nimad.index.kernels.contract import MOST_DIMS, Kernels
from nimad.index.kernels.loader import load_kernels
from nimad.index.located import Located
from nimad.index.merge import MergedRows, kept_book
from nimad.index.params import BlockParams, Damage, SegmentInfo
from nimad.index.quantise import Ids, Query, Scores, Vectors, quantise_rows
from nimad.index.rowsets import distinct
from nimad.index.segment import SUFFIX, Sealed, Segment
from nimad.index.view import BegunSearch, FilterCache, Found, Search, View
from nimad.index.writer import MemoryRows, write_segment

__all__ = ["BlockIndex", "BlockParams", "Damage", "SegmentInfo"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class BlockIndex:
    """The index over one directory of segments.

    All methods may be called from any thread.  Readers (`search`, `scores`, `ids`, `stats`,
    `verify`) never wait; writers of the view take turns; writing a segment blocks neither.
    """

    def __init__(
        self,
        directory: Path,
        dims: int,
        params: BlockParams = BlockParams(),  # noqa: B008
    ) -> None:
        """An empty index; `open` loads what is on the disk.  Raises ValueError when `dims` is not
        in 1..1024."""
        if not 0 < dims <= MOST_DIMS:
            raise ValueError(f"dims must be 1..{MOST_DIMS}, got {dims}")
        self.directory = directory
        self.dims = dims
        self.params = params
        self._view = View()
        self._filters = FilterCache()
        self._writing = threading.Lock()
        self._known: set[str] = set()  # listed but damaged, or written and not yet published

    @cached_property
    def _kernels(self) -> Kernels:
        return load_kernels()  # what no start waits for: it checks whether they are right

    @property
    def kernels(self) -> str:
        """Which form of the kernels runs: "numpy", "numba", or the name of an object."""
        return self._kernels.name

    def path(self, name: str) -> Path:
        """Where segment `name` is.  Raises ValueError when it is not a name of letters, digits,
        dot, dash and underscore."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a segment name: {name!r}")
        return self.directory / (name + SUFFIX)

    def open(self, names: Sequence[str]) -> list[Damage]:
        """Map these segments in place of the present ones; hot rows and tombstones stay.

        A damaged or missing segment is reported, not loaded.  Reads the files once, in order,
        except for the vectors of a large segment (over 32 MiB), which `verify` reads.
        """
        sealed, damaged = [], []
        for name in names:
            try:
                sealed.append(Sealed(Segment.open(self.path(name), self.dims)))
            except NimadError as error:
                damaged.append(Damage(name, error))
        with self._writing:
            self._known.update(damage.name for damage in damaged)
            view = replace(self._view, sealed=())
            self._view = view.joined_by(sealed)
        return damaged

    def write_segment(
        self,
        name: str,
        ids: Ids,
        vectors: Vectors,
        give_way: Callable[[], object] = lambda: None,
    ) -> SegmentInfo:
        """Seal `vectors: float32[n, dims]` of `ids: int64[n]`, or the int8 of `hot_rows`, in a
        file, durable, not yet visible.  `give_way` is called now and then.
        Raises ValueError when an id comes twice, or a vector is not finite or of other dimensions;
        DiskFull when there is no room; what `give_way` raises; nothing is left behind.
        """
        source = MemoryRows(*self._rows(ids, vectors), give_way)
        with self._pending(name) as path:
            return write_segment(path, source, self.params, self._kernels, give_way=give_way)

    def merge_segments(
        self, names: Sequence[str], into: str, going_on: Callable[[], object] = lambda: None
    ) -> SegmentInfo:
        """Seal the live rows of these open segments in one new file, durable, not yet visible.

        Rows are copied as they are, so they keep their scores.  Codebooks are kept while they fit
        (see `nimad.index.merge`), else learned anew.  What is removed while this runs is removed
        from the new segment, too, when it is published.  Raises NotFound when one of `names` is not
        open; DiskFull when there is no room; what `going_on` raises, which is called now and then;
        nothing is left behind.
        """
        present = {sealed.segment.name: sealed for sealed in self._view.sealed}
        missing = [name for name in names if name not in present]
        if missing:
            raise NotFound(kind="segment", id=missing[0])
        live = [(present[name].segment, present[name].every()) for name in names]
        with self._pending(into) as path:
            source = MergedRows(live, self.dims, going_on)
            book = kept_book(source, self.params)
            return write_segment(path, source, self.params, self._kernels, book)

    def publish(self, add: Sequence[str], drop: Sequence[str] = ()) -> None:
        """Show readers the segments `add` in place of `drop`, at once; then remove the dropped
        files.  To be called after the records' commit.

        An id that an older segment holds too is taken from the new one.  A name in `drop` that is
        not open (a damaged one) is only removed from the disk.  Raises FormatCorrupt, FormatTooOld,
        FormatTooNew when a segment cannot be opened; nothing has changed then.
        """
        opened = [
            Sealed(Segment.open(self.path(name), self.dims, check=name not in self._known))
            for name in add
        ]
        with self._writing:
            gone = set(drop) | set(add)
            kept = tuple(s for s in self._view.sealed if s.segment.name not in gone)
            self._view = replace(self._view, sealed=kept).joined_by(opened)
            self._known.difference_update(gone)
        self._filters.clear()
        crash_point("index.before_drop")
        for name in set(drop) - set(add):
            remove_file(self.path(name))
        remove_waiting(self.directory)
        if drop:
            fsync_dir(self.directory)

    def append(self, ids: Ids, vectors: Vectors) -> None:
        """Add hot rows, searched at once; a row takes the place of an older one of its id.

        Ids that were removed stay removed.  Of an id that a segment under way holds already, that
        older row comes back when the segment is published: replace rows when nothing is merged.
        Raises ValueError as `write_segment`; nothing has changed then.
        """
        ids, rows = self._rows(ids, vectors)
        replaced = np.sort(ids) if len(ids) > 1 else ids
        if len(ids) > 1 and (replaced[1:] == replaced[:-1]).any():
            raise ValueError("ids must be unique")
        with self._writing:
            view = self._view
            if len(view.removed):
                wanted = ~np.isin(ids, view.removed)
                ids, rows = ids[wanted], rows[wanted]
            sealed = tuple(s.without(replaced) for s in view.sealed)
            hot = view.hot.minus(replaced).plus(ids, rows)
            self._view = View(sealed, hot, view.removed)

    def hot_rows(self) -> tuple[Ids, NDArray[np.int8]]:
        """The ids of the hot rows, in no order, and the rows as they are scored: a copy."""
        parts = [(part.chunk, part.live()) for part in self._view.hot]
        ids = [np.zeros(0, np.int64), *(chunk.ids[slots] for chunk, slots in parts)]
        rows = [np.zeros((0, self.dims), np.int8), *(chunk.rows[slots] for chunk, slots in parts)]
        return np.concatenate(ids), np.concatenate(rows)

    def trim(self, ids: Ids) -> None:
        """Forget the hot rows of `ids`: a published segment holds them now."""
        gone = distinct(np.asarray(ids, np.int64))
        with self._writing:
            self._view = replace(self._view, hot=self._view.hot.minus(gone))

    def remove(self, ids: Ids) -> None:
        """Never return these again, wherever they are or will be; they need not exist."""
        gone = distinct(np.asarray(ids, np.int64))
        with self._writing:
            view = self._view
            sealed = tuple(s.without(gone) for s in view.sealed)
            removed = distinct(np.concatenate([view.removed, gone]))
            self._view = View(sealed, view.hot.minus(gone), removed)
        self._filters.clear()

    def search(
        self, query: Scores | Query, k: int, allowed: Ids | None = None, *, effort: float = 1.0
    ) -> Found:
        """The k memories nearest to `query: float32[dims]`: ids int64[n <= k], cosines float32[n].

        Best first, equal ones by id.  Cosines are those of the 8-bit rows, within about 0.005 of
        the exact ones; the nearest ten are found with a recall of about .99.  A query of zeros, and
        a row of zeros, find nothing.

        Args:
            allowed: int64[m], ascending and unique: only these may be returned.  Few are scored
                exactly, many filter the scan; neither loses recall.
            effort: in (0, 1], the share of the usual scan, where nothing filters it.

        Raises ValueError when `query` has other dimensions or is not finite.
        """
        asked = query if isinstance(query, Query) else Query.of(query, self.dims)
        if asked is None or k <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        begun = self.begin_search(asked, k, allowed, effort)
        return begun.result(begun.work())

    def begin_search(
        self, query: Query, k: int, allowed: Ids | None = None, effort: float = 1.0
    ) -> BegunSearch:
        """The same search, prepared, for a `k` of 1 at least."""
        search = Search(self._kernels, self.params, query, k, allowed, self._filters, effort)
        return search.begin(self._view)

    def scores(self, query: Scores | Query, ids: Ids) -> Scores:
        """The cosine of each of `ids: int64[m]` with `query: float32[dims]`: float32[m].

        nan where an id has no row; 0 where its row, or the query, is all zeros.  The same numbers
        as `search` gives.
        """
        asked = query if isinstance(query, Query) else Query.of(query, self.dims)
        return self._view.scores(self._kernels, asked, np.asarray(ids, np.int64), self.dims)

    def holds(self, ids: Ids) -> NDArray[np.bool_]:
        """bool[m]: which of `ids: int64[m]` have a vector, hot or sealed, one of zeros too."""
        unique, back = np.unique(np.asarray(ids, np.int64), return_inverse=True)
        return self.locate(unique).present(back)

    def vector(self, number: int) -> Scores | None:
        """The direction of a live id as the index knows it, 8 bits a coordinate: float32[dims],
        not of unit length.  None where there is no row, or one of zeros."""
        row = self.locate(np.array([number])).rows(np.array([0]))[0]
        return row if row.any() else None

    def locate(self, ids: Ids, known: Located | None = None) -> Located:
        """Where the vectors of `ids: int64[m]` (ascending, unique) are now.  `known`, from an
        earlier call, is given back while it holds, and helps when it nearly does."""
        view = self._view
        if known is not None and known.view is view and known.ids is ids:
            return known
        return Located(view, self._kernels, ids, self.dims, known)

    def has_segments_of(self, located: Located) -> bool:
        """Whether each segment that it was looked up in is still in the index."""
        mine = {id(sealed.segment) for sealed in self._view.sealed}
        return mine.issuperset(id(sealed.segment) for sealed in located.view.sealed)

    def ids(self) -> Ids:
        """The live ids, hot and sealed, ascending: int64[n]."""
        return self._view.ids()

    def sizes(self) -> dict[str, int]:
        """The open segments, and how many rows each holds, removed ones too."""
        return {s.segment.name: s.segment.meta.rows for s in self._view.sealed}

    def segment_ids(self, names: Sequence[str]) -> Ids:
        """Every id in these open segments, removed ones too, ascending: int64[n]."""
        wanted = set(names)
        pieces = [s.segment.ids() for s in self._view.sealed if s.segment.name in wanted]
        return distinct(np.concatenate([np.zeros(0, np.int64), *pieces]))

    def unlisted(self, listed: Iterable[str] = ()) -> list[Path]:
        """Segment files that are neither open nor `listed`: garbage of a crash or of an error, or
        new ones that wait to be published."""
        known = {*listed, *(sealed.segment.name for sealed in self._view.sealed)}
        files = own_files(self.directory, f".+{re.escape(SUFFIX)}")
        return [file for file in files if file.name.removesuffix(SUFFIX) not in known]

    def verify(self) -> list[Damage]:
        """Re-read every byte of the open segments and compare checksums; takes as long as reading.
        Damaged ones stay open: what to do with them is for the caller to decide."""
        return [damage for damage in self.verify_steps() if damage is not None]

    def verify_steps(self) -> Iterator[Damage | None]:
        """The same in steps of a few MB; None where nothing was found."""
        for sealed in self._view.sealed:
            try:
                yield from sealed.segment.container.verify_steps()
            except NimadError as error:
                # one that was merged meanwhile has no file any more
                if any(each.segment is sealed.segment for each in self._view.sealed):
                    yield Damage(sealed.segment.name, error)

    def rest(self) -> None:
        """Give back what was read of the segments."""
        for sealed in self._view.sealed:
            sealed.segment.container.give_back()

    def stats(self) -> dict[str, int]:
        """Counts: live `rows` (all) and `hot` ones, `tombstones` (sealed rows that are not live),
        `segments`, `disk_bytes`, and `resident_bytes`: memory of hot rows, bitmaps and codes."""
        return self._view.stats()

    @contextlib.contextmanager
    def _pending(self, name: str) -> Iterator[Path]:
        """The path of a segment being written; afterwards it waits to be published."""
        path = self.path(name)
        with self._writing:
            self._known.add(name)
        try:
            yield path
        except BaseException:
            with self._writing:
                self._known.discard(name)
            raise

    def _rows(self, ids: Ids, vectors: Vectors) -> tuple[Ids, NDArray[np.int8]]:
        ids = np.asarray(ids, np.int64)
        if ids.ndim != 1 or vectors.shape != (len(ids), self.dims):
            raise ValueError(f"{ids.shape} ids need vectors [n, {self.dims}], got {vectors.shape}")
        return ids, quantise_rows(vectors)
