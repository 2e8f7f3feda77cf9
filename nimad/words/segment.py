"""A segment of the words index: an immutable file of the terms of some memories and their postings.

It is a container (see `nimad.disk.container`) of format "words".  Version 1, little-endian; d
documents (memories, in the order of ids), t terms in the order of their UTF-8 bytes:

    region      type                 content
    ----------  -------------------  ---------------------------------------------------------------
    gaps        bytes                documents of each term, term after term, as LEB128: twice the
                                     distance from the one before, less 1 (the first: from -1), plus
                                     1 where the term stands there more than once
    more        bytes                for each of those: how often, less 2, as LEB128
    state       int64[4]             d, first id, last id, number of postings
    ids         uint32 or uint64[d]  id of each document, less the first; empty: without gaps
    lengths     uint8, 16 or 32[d]   how many words BM25 counts in each
    heads       uint64[t]            the first eight bytes of each term as a number, highest first
    terms       bytes                the terms, one after the other
    term_ends   uint32[t]            where each ends
    holders     uint32[t]            how many documents hold it
    gap_ends    uint32 or uint64[t]  where its numbers end in `gaps`
    more_ends   uint32 or uint64[t]  where its numbers end in `more`

A number's width is what its region's length tells.  In talk a memory takes about 25 bytes.

Why there are no blocks with bounds to skip by: a row's score takes shares of its neighbours', and
how rare a word is depends on what a filter lets through.  So bounds would be 2.5 times too high,
and a filtered question must unpack everything all the same.  A posting costs 1.6 ns to unpack and
1.6 to weigh (docs/internals/words.md has the measurements).

The tail of the index holds segments of the same form in memory, which no file has.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nimad.disk.container import Container
from nimad.disk.durable import Buffer
from nimad.errors import FormatCorrupt
from nimad.index.kernels.contract import Counts, Numbers
from nimad.index.kernels.loader import load_kernels

FORMAT, VERSION, SUFFIX = "words", 1, ".nsw"
HEAD = 8
"""Length of the part of a term that is searched as a number [bytes]."""
CHECKED = 32 << 20
"""Size up to which a file is read whole when it is opened; of a larger one, `verify` reads what is
not needed to find terms [bytes]."""

Ids = NDArray[np.int64]


class Ascending(Protocol):
    """Ids in their order: int64[n], or what is read like that and needs no array."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, place: Any, /) -> Any:
        """Those at some places."""

    def take(self, places: Any, /, *, mode: Any) -> Any:
        """The same; with "clip", places beyond are the last one."""

    def searchsorted(self, ids: Any, /) -> Any:
        """Where they stand, or would."""


class Segment:
    """The arrays of one segment; immutable, shared by all readers.

    Attributes:
        name: of the file without its suffix; "" in memory.
        documents, first, last, postings: see the region `state`.
        lengths: uint[d].  holders: uint32[t].
        bytes: of all regions.
        container: the file; None in memory.
    """

    def __init__(
        self,
        region: Callable[[str], Buffer],
        name: str = "",
        container: Container | None = None,
    ) -> None:
        """Raises FormatCorrupt when the regions do not fit each other."""
        self.name, self.container = name, container
        state = np.frombuffer(region("state"), "<i8")
        if len(state) != 4 or state.min() < 0:
            raise self.corrupt("its description is impossible")
        self.documents, self.first, self.last, self.postings = map(int, state)
        self._gaps = np.frombuffer(region("gaps"), np.uint8)
        self._more = np.frombuffer(region("more"), np.uint8)
        self._terms = memoryview(region("terms"))
        self._heads = np.frombuffer(region("heads"), "<u8")
        terms = len(self._heads)
        self.holders = self._array(region, "holders", terms)
        self._term_ends = self._array(region, "term_ends", terms)
        self._gap_ends = self._array(region, "gap_ends", terms)
        self._more_ends = self._array(region, "more_ends", terms)
        self.lengths = self._array(region, "lengths", self.documents)
        self._ids = None
        if memoryview(region("ids")).nbytes:
            self._ids = self._array(region, "ids", self.documents)
        elif self.documents and self.last - self.first != self.documents - 1:
            raise self.corrupt("it has other ids than documents")
        for ends, held in (
            (self._term_ends, self._terms),
            (self._gap_ends, self._gaps),
            (self._more_ends, self._more),
        ):
            if (int(ends[-1]) if terms else 0) != len(held):
                raise self.corrupt("its terms do not fit their postings")
        arrays = [self._gaps, self._more, self._heads, self.holders, self.lengths, self._ids]
        arrays += [self._term_ends, self._gap_ends, self._more_ends]
        self.bytes = self._terms.nbytes + sum(a.nbytes for a in arrays if a is not None)

    @classmethod
    def open(cls, path: Path) -> Segment:
        """Map a file.  Raises FormatCorrupt, FormatTooOld, FormatTooNew."""
        container = Container.open(path, FORMAT, VERSION, VERSION)
        few = None if container.bytes <= CHECKED else ("state", "ids", "heads", "term_ends")
        container.verify(few)
        return cls(container.region, path.name.removesuffix(SUFFIX), container)

    @classmethod
    def in_memory(cls, regions: Mapping[str, Buffer]) -> Segment:
        """Of regions by name."""
        return cls(regions.__getitem__)

    def moved(self, first: int) -> Segment:
        """The same of memories whose ids begin at another one."""
        made = copy(self)
        made.first, made.last = first, self.last + first - self.first
        return made

    def _array(self, region: Callable[[str], Buffer], name: str, count: int) -> NDArray[Any]:
        raw = region(name)
        size = memoryview(raw).nbytes
        for width in (1, 2, 4, 8):
            if size == count * width:
                return np.frombuffer(raw, f"<u{width}")
        raise self.corrupt(f"region {name} has {size} bytes for {count} numbers")

    def give_back(self) -> None:
        """Let go of what was read of its file."""
        if self.container is not None:
            self.container.give_back()

    def corrupt(self, detail: str) -> FormatCorrupt:
        """What to raise where it is not what was written."""
        path = self.container.path if self.container else "a segment in memory"
        return FormatCorrupt(path=path, detail=detail)

    def __len__(self) -> int:
        """The number of terms."""
        return len(self._heads)

    def term(self, number: int) -> bytes:
        """The bytes of a term."""
        return bytes(self._terms[self._end(self._term_ends, number) : self._term_ends[number]])

    def terms(self, first: int, end: int) -> list[bytes]:
        """The bytes of some terms, in order."""
        at = self._end(self._term_ends, first)
        found, raw = [], bytes(self._terms[at : self._end(self._term_ends, end)])
        start = 0
        for stop in (self._term_ends[first:end].astype(np.int64) - at).tolist():
            found.append(raw[start:stop])
            start = stop
        return found

    def place(self, term: bytes) -> int:
        """How many terms are below one: its number, if it is here."""
        head = np.uint64(int.from_bytes(term[:HEAD].ljust(HEAD, b"\0"), "big"))
        low = int(self._heads.searchsorted(head))
        if low == len(self._heads) or self._heads[low] != head or self.term(low) >= term:
            return low
        high = int(self._heads.searchsorted(head, "right"))
        return low + bisect_left(range(low, high), term, key=self.term)

    def numbers(self, term: bytes, *, beginning: bool) -> range:
        """The numbers of a term, or of all that begin with it."""
        first = self.place(term)
        if beginning:
            return range(first, self.place(term + b"\xff"))
        return range(first, first + (first < len(self) and self.term(first) == term))

    def places_in(self, ids: Ascending) -> int | NDArray[np.int32]:
        """Where its documents stand in `ids`: the place of the first where all
        of them do, one after the other; else int32[d], the place of each, -1 for none."""
        place = int(ids.searchsorted(self.first))
        end = place + self.documents
        if self._ids is None and end <= len(ids) and ids[end - 1] == self.last:
            return place  # no id is there twice, so none between is missing
        mine = self.ids
        places = ids.searchsorted(mine)
        return np.where(ids.take(places, mode="clip") == mine, places, -1).astype(np.int32)

    def rows_of_term(self, number: int, places: int | NDArray[np.int32]) -> tuple[Numbers, Counts]:
        """Which of the caller's rows, ascending, hold a term, and how often, by what `places_in`
        gave.  Raises FormatCorrupt."""
        gaps, more = self.packed(number, number + 1)
        count = int(self.holders[number])
        first = places if isinstance(places, int) else 0
        found, counts = load_kernels().postings(gaps, more, count, first, self.documents)
        if len(found) != count:
            raise self.corrupt("the postings of a term are not what was written")
        if isinstance(places, int):
            return found, counts
        rows = places[found.astype(np.int64)]  # 5 times as fast as with uint32
        known = rows >= 0
        return rows[known].astype(np.uint32), counts[known]

    def packed(self, first: int, end: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The bytes in `gaps` and `more` of some terms."""
        gaps = self._gaps[self._end(self._gap_ends, first) : self._end(self._gap_ends, end)]
        more = self._more[self._end(self._more_ends, first) : self._end(self._more_ends, end)]
        return gaps, more

    def _end(self, ends: NDArray[Any], number: int) -> int:
        """Where the terms below a number end."""
        return int(ends[number - 1]) if number else 0

    @property
    def ids(self) -> Ids:
        """int64[d]: the id of each document, ascending; a copy."""
        if self._ids is None:
            return np.arange(self.first, self.first + self.documents)
        return self.first + self._ids.astype(np.int64)

    def lengths_of(self, ids: Ids) -> tuple[Ids, NDArray[Any]]:
        """Those of some ids (ascending) that are here, and how many words each has."""
        inside = ids[(ids >= self.first) & (ids <= self.last)]
        if self._ids is None:
            return inside, self.lengths[inside - self.first]
        wanted = (inside - self.first).astype(self._ids.dtype)
        places = np.minimum(self._ids.searchsorted(wanted), max(self.documents - 1, 0))
        here = self._ids[places] == wanted if self.documents else np.zeros(0, np.bool_)
        return inside[here], self.lengths[places[here]]
