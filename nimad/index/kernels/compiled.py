"""The kernels as machine code behind plain C functions, wherever those come from.

A call through ctypes releases the interpreter's lock, so searches of several threads run side by
side; BRIEF ones do not.  Lengths are checked here: the functions themselves trust them.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.embed.vocabulary import CRCS, Vocabulary, are_sums
from nimad.index.kernels.addresses import address as _at
from nimad.index.kernels.compiled_words import CompiledWords
from nimad.index.kernels.contract import (
    BINS,
    BITS,
    FARTHEST_CODE,
    LANES,
    MOST_DIMS,
    PLANES,
    STEPS,
    TEXT_DIMS,
    TEXT_WORD,
    WORDS,
    Bounds,
    Codes,
    Counts,
    Marks,
    Numbers,
    Parted,
    Picks,
    Postings,
    Rows,
    Space,
    groups,
    rotation_signs,
)
from nimad.index.kernels.tokens import TokenTable
from nimad.index.rowsets import highest_rows

_TYPES: dict[str, Any] = {"A": ctypes.c_void_p, "N": ctypes.c_int64, "": None}

PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    name: (_TYPES[result], tuple(_TYPES[kind] for kind in arguments))
    for name, result, arguments in (
        ("encode", "", "ANNAAAA"),
        ("planes", "", "ANAAAA"),
        ("distances", "", "ANAAA"),
        ("scan", "N", "AANAANNAAA"),
        ("find", "N", "ANAAANAAAANANAAANNAAAAAA"),
        ("dots", "", "ANANAAA"),
        ("ranked", "", "AAANNANA"),
        ("cosines", "", "ANNANAA"),
        ("postings", "N", "ANANNNNAA"),
        ("weigh", "N", "AANAAANANAAAA"),
        ("shares", "N", "AANAANAANAA"),
        ("leaders", "N", "AANAANAANAANNNAAAA"),
        ("cover", "", "ANAAANAANA"),
        ("seek", "", "ANANANNA"),
        ("text_sums", "", "AANAAAAANANNAAANAAAAAA"),
        ("cut", "", "AANAANAANANAAAA"),
        ("grams", "N", "ANNNAAA"),
        ("parts", "N", "ANNNNANAAA"),
    )
}
"""Result and arguments of each function, in the order of kernels/source.py: A is an address, N a
number."""

BRIEF = ("grams", "parts")
"""Functions that are called for each odd word, some us each.  Two threads that hand each other the
interpreter's lock at each of them take twice as long, and so does whoever asks beside them."""

_SIGNS = rotation_signs()
_HALF_GROUP = 16
_NO_MARKS = np.zeros(0, np.uint8)
MARKED_ROWS = 256
"""Rows of a store for each one that is looked for, up to which `cover` marks them: with 100,000 and
600 that takes less than half of the time that a search for each takes [rows]."""


class _Room:
    """Room that calls work in, one at a time, and its address: asking for an address takes 1 us."""

    def __init__(self) -> None:
        self._floats = np.empty(BITS * _HALF_GROUP, np.float32)
        self._words = np.empty(LANES + PLANES * WORDS, np.uint64)
        self._numbers = np.empty(8, np.float32)
        self._numbers_at = _at(self._numbers)
        self._tallies = np.zeros(STEPS, np.int64)
        self.tallies = _at(self._tallies)
        self._distances = np.empty(FARTHEST_CODE + 1, np.int32)
        self.distances = _at(self._distances)
        self._bounds = (ctypes.c_int64 * 5)()
        self.bounds_at = ctypes.addressof(self._bounds)
        self.floats = _at(self._floats)
        self.words = _at(self._words)
        self.fit(256, 8192)

    def numbers(self, values: Sequence[float]) -> int:
        """The address of up to eight numbers as float32, until the next call."""
        self._numbers[: len(values)] = values
        return self._numbers_at

    def bounds(self, wanted: int, bounds: Bounds) -> int:
        """The address of what a search is bounded by, until the next call."""
        self._bounds[:] = [wanted, *bounds]
        return self.bounds_at

    def fit(self, k: int, room: int) -> None:
        """Room for k results and `room` whole numbers; grows only."""
        self.k, self.size = k, room
        self.rows, self.scores = np.empty(2 * k, np.int64), np.empty(k, np.float32)
        self._room = np.empty(room, np.int64)
        self.rows_at, self.scores_at = _at(self.rows), _at(self.scores)
        self.room = _at(self._room)


class _Scratch(_Room, threading.local):
    """That of a thread's calls."""


def _plain(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The array itself when it is contiguous and of that type, or a copy that is."""
    return np.ascontiguousarray(array, dtype)


_SIGNS_AT = _at(_SIGNS)
_scratch = _Scratch()
_ROOMS: list[_Room] = []
"""Rooms of searches that have ended, for the next ones; _ROOMS_KEPT at most."""
_ROOMS_KEPT = 4


class Compiled(CompiledWords):
    """Kernels over C functions; see `nimad.index.kernels.contract.Kernels` for their meaning."""

    def __init__(
        self,
        name: str,
        functions: Mapping[str, Callable[..., Any]],
        brief: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        """`functions`: what PROTOTYPES names, with result and argument types set; `brief`: those of
        BRIEF that keep the interpreter's lock."""
        brief = brief or functions
        self.name = name
        self._encode = functions["encode"]
        self._planes = functions["planes"]
        self._distances = functions["distances"]
        self._scan = functions["scan"]
        self._dots = functions["dots"]
        self._find = functions["find"]
        self._postings = functions["postings"]
        self._weigh = functions["weigh"]
        self._shares = functions["shares"]
        self._leaders = functions["leaders"]
        self._ranked, self._cosines = functions["ranked"], functions["cosines"]
        self._cover, self._seek = functions["cover"], functions["seek"]
        self._text_sums, self._cut = functions["text_sums"], functions["cut"]
        self._grams, self._parts = ((brief[name], functions[name]) for name in BRIEF)

    def encode(self, rows: Rows, mean: NDArray[np.float32]) -> Codes:
        n, dims = rows.shape
        _require(0 < dims <= MOST_DIMS and mean.shape == (dims,), "encode")
        rows, mean = _plain(rows, np.int8), _plain(mean, np.float32)
        codes = np.empty((groups(n), WORDS, LANES), np.uint64)
        room = _scratch.floats
        self._encode(_at(rows), n, dims, _at(mean), _SIGNS_AT, _at(codes), room)
        return codes

    def planes(self, query: NDArray[np.int16], mean: NDArray[np.float32]) -> NDArray[np.uint64]:
        dims = len(query)
        _require(0 < dims <= MOST_DIMS and mean.shape == (dims,), "planes")
        query, mean = _plain(query, np.int16), _plain(mean, np.float32)
        out = np.empty((PLANES, WORDS), np.uint64)
        self._planes(_at(query), dims, _at(mean), _SIGNS_AT, _at(out), _scratch.floats)
        return out

    def distances(self, codes: Codes, n: int, planes: NDArray[np.uint64]) -> NDArray[np.int32]:
        _require(_are_codes(codes, n) and planes.shape == (PLANES, WORDS), "distances")
        codes, planes = _plain(codes, np.uint64), _plain(planes, np.uint64)
        out = np.empty(n, np.int32)
        self._distances(_at(codes), n, _at(planes), _at(out), _scratch.words)
        return out

    def scan(
        self,
        codes: Codes,
        spans: NDArray[np.int64],
        planes: NDArray[np.uint64],
        marks: NDArray[np.uint8] | None,
        k: int,
    ) -> Picks:
        end = int(spans[-1, 1]) if len(spans) else 0
        _require(_are_codes(codes, end) and planes.shape == (PLANES, WORDS) and k > 0, "scan")
        _require(marks is None or len(marks) * 8 >= end, "scan")
        codes, planes = _plain(codes, np.uint64), _plain(planes, np.uint64)
        spans = _plain(spans, np.int64)
        bits = _NO_MARKS if marks is None else _plain(marks, np.uint8)
        k = min(k, end + 1)
        kept = np.empty(2 * k, np.int64)
        filtered = marks is not None
        at = (_at(codes), _at(spans), len(spans), _at(planes), _at(bits))
        size = self._scan(*at, filtered, k, _at(kept), _scratch.distances, _scratch.words)
        return kept[:size].copy()

    def dots(
        self, rows: Rows, picks: Picks, query: NDArray[np.int16]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        n, dims = rows.shape
        _require(0 < dims <= MOST_DIMS and len(query) == dims, "dots")
        _require(not len(picks) or (picks.min() >= 0 and picks.max() < n), "dots")
        rows, query = _plain(rows, np.int8), _plain(query, np.int16)
        picks = _plain(picks, np.int64)
        out, norms = np.empty(len(picks), np.int32), np.empty(len(picks), np.int32)
        self._dots(_at(rows), dims, _at(picks), len(picks), _at(query), _at(out), _at(norms))
        return out, norms

    def ranked(
        self,
        words: NDArray[np.uint64],
        before: NDArray[np.uint32],
        order: NDArray[np.uint32] | None,
        numbers: Picks,
    ) -> Picks:
        _require(len(words) == len(before) and numbers.dtype == np.int64, "ranked")
        words, before = _plain(words, np.uint64), _plain(before, np.uint32)
        numbers, out = _plain(numbers, np.int64), np.empty(len(numbers), np.int64)
        ordered = order is not None
        at = _at(words), _at(before), 0 if order is None else _at(_plain(order, np.uint32))
        self._ranked(*at, ordered, 64 * len(words), _at(numbers), len(numbers), _at(out))
        return out

    def cosines(self, vectors: Rows, rows: Picks, query: NDArray[np.int16]) -> NDArray[np.float32]:
        n, dims = vectors.shape
        _require(0 < dims <= MOST_DIMS and len(query) == dims, "cosines")
        vectors, query = _plain(vectors, np.int8), _plain(query, np.int16)
        rows, out = _plain(rows, np.int64), np.empty(len(rows), np.float32)
        self._cosines(_at(vectors), n, dims, _at(rows), len(rows), _at(query), _at(out))
        return out

    def find(self, *asked: Any) -> tuple[Picks, NDArray[np.float32]]:
        work, found = self.begin_find(*asked)
        return found(work())

    def begin_find(
        self,
        space: Space,
        query: NDArray[np.int16],
        marks: Marks | None,
        probes: int,
        wanted: int,
        k: int,
        bounds: Bounds = Bounds(),  # noqa: B008
    ) -> tuple[Callable[[], Any], Callable[[Any], tuple[Picks, NDArray[np.float32]]]]:
        dims = space.vectors.shape[1]
        _require(len(query) == dims and min(probes, wanted, k, bounds.few) > 0, "find")
        _require(marks is None or marks.fits(space), "find")
        query = _plain(query, np.int16)
        try:
            own = _ROOMS.pop()
        except IndexError:  # another thread may have taken the last one
            own = _Room()
        size = probes + BINS + 3 * len(space.cell_start) + 2
        if k > own.k or size > own.size:
            own.fit(max(k, own.k), max(size, own.size))
        places = _places(space)
        bits, weights = 0, places[7]  # unfiltered: a cell counts for its rows
        if marks is not None:
            bits, weights = _at(marks.bits), _at(marks.weights)
        room = (own.rows_at, own.scores_at, own.distances, own.floats, own.words, own.room)
        filtered = marks is not None
        rest = probes, own.bounds(wanted, bounds), bits, weights, filtered, k, *room
        kept = space, query, marks  # which nothing else may hold until then

        def found(size: int) -> tuple[Picks, NDArray[np.float32]]:
            picks = own.rows[:size].copy(), own.scores[:size].copy()
            if kept and len(_ROOMS) < _ROOMS_KEPT:
                _ROOMS.append(own)
            return picks

        return partial(self._find, _at(query), *places, *rest), found

    def postings(
        self,
        gaps: NDArray[np.uint8],
        more: NDArray[np.uint8],
        count: int,
        first: int,
        limit: int,
    ) -> tuple[Numbers, Counts]:
        _require(first >= 0 and first + limit <= 1 << 32, "postings")
        ids, counts = np.empty(count, np.uint32), np.empty(count, np.uint16)
        packed = (_at(gaps), len(gaps), _at(more), len(more))
        sound = self._postings(*packed, count, first, limit, _at(ids), _at(counts))
        return ids[:sound], counts[:sound]

    def weigh(
        self,
        own: NDArray[np.float32],
        terms: Sequence[tuple[Numbers, Counts]],
        words: Parted,
        rarities: Sequence[float],
        weights: Sequence[float],
    ) -> Numbers:
        sound = len(own) <= len(words) and len(terms) == len(rarities)
        sound = sound and own.dtype == np.float32 and own.flags.c_contiguous
        places: list[int] = []
        most = 0
        for term in terms:
            *held, last = _held_by(term)
            sound = sound and last < len(own)
            places += held
            most += held[-1]
        _require(sound, "weigh")
        fresh = np.empty(most + 1, np.uint32)
        first, edge, more = _parts(words)
        at, rarity = np.array([*places, 0], np.int64), np.array([*rarities, 0], np.float32)
        column = first, edge, more, words.first.itemsize, _at(rarity), _scratch.numbers(weights)
        rest = *column, _scratch.floats, _at(fresh)
        found = self._weigh(_at(own), _at(at), len(terms), 0, 0, *rest)
        return fresh[:found]

    def cover(
        self, holders: Sequence[Numbers], values: Sequence[float], rows: Picks
    ) -> NDArray[np.float32]:
        _require(len(holders) == len(values) and rows.dtype == np.int64, "cover")
        _require(all(h.dtype == np.uint32 and h.flags.c_contiguous for h in holders), "cover")
        out = np.empty(len(rows), np.float32)
        at = np.array([*(n for held in holders for n in (_at(held), len(held))), 0], np.int64)
        worth, rows = np.array([*values, 0], np.float32), _plain(rows, np.int64)
        last = max([int(held[-1]) for held in holders if len(held)] + rows[-1:].tolist(), default=0)
        width = last // 64 + 1 if last < MARKED_ROWS * len(rows) else 0
        marks, before = np.zeros(width + 1, np.uint64), np.empty(width + 1, np.uint32)
        asked = _at(worth), _at(rows), len(rows), _at(marks), _at(before), width
        self._cover(_at(at), len(holders), 0, *asked, _at(out))
        return out

    def seek(
        self, values: NDArray[np.int64], order: NDArray[np.uint32], wanted: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        _require(values.dtype == np.int64 and values.flags.c_contiguous, "seek")
        _require(order.dtype == np.uint32 and order.flags.c_contiguous, "seek")
        _require(len(values) or not len(order), "seek")
        wanted, spans = _plain(wanted, np.int64), np.empty((len(wanted), 2), np.int64)
        # four standard deviations of where one should stand
        reach, asked = 2 * isqrt(len(order)) + 2, (_at(wanted), len(wanted))
        self._seek(_at(values), len(values) - 1, _at(order), len(order), *asked, reach, _at(spans))
        return spans

    def text_sums(
        self, texts: Sequence[bytes], vocabulary: Vocabulary, sums: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        _require(are_sums(texts, sums), "text_sums")
        read, added = np.zeros(len(texts) + 1, np.bool_), np.empty(TEXT_DIMS, np.int32)
        word, room = np.empty(TEXT_WORD, np.uint8), np.empty(2 * TEXT_WORD, np.int64)
        ends = np.array([0, *accumulate(map(len, texts))])[1:]
        joined = np.frombuffer(b"".join([*texts, b" "]), np.uint8)
        asked = _at(joined), _at(ends), len(texts), *_tables(vocabulary)
        self._text_sums(*asked, *map(_at, (CRCS, word, room, added, sums, read)))
        return read[:-1]

    def cut(
        self, texts: bytes, ends: NDArray[np.int64], table: TokenTable
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        ends, count = _plain(ends, np.int64), len(ends)
        sizes = np.diff(ends, prepend=0, append=len(texts))
        _require(not len(sizes) or sizes.min() >= 0, "cut")
        place, held = np.zeros(3, np.int64), np.zeros(count + 1, np.int64)
        found = np.empty((len(texts) + count) // 2 + 1, np.int32)
        asked = _at(np.frombuffer(texts or b" ", np.uint8)), _at(ends), count, _at(table.letters)
        out = _at(table.state), _at(place), _at(found), _at(held)
        while True:
            tokens = _at(table.data), len(table.data), _at(table.ends), _at(table.hashes)
            slots = len(table.hashes), _at(table.slots), len(table.slots) - 1
            self._cut(*asked, *tokens, *slots, *out)
            if place[0] == count:
                return found[: place[2]].copy(), held[:-1]
            table.grow()

    def shares(
        self,
        own: NDArray[np.float32],
        rows: Picks,
        before: Parted,
        after: Parted,
        weights: Sequence[float],
    ) -> NDArray[np.float32]:
        out = np.empty(len(rows), np.float32)
        at = _linked("shares", own, rows, before, after)
        _require(self._shares(*at, _scratch.numbers(weights), _at(out)) == len(rows), "shares")
        return out

    def leaders(
        self,
        own: NDArray[np.float32],
        rows: Numbers,
        before: Parted,
        after: Parted,
        weights: Sequence[float],
        mask: NDArray[np.bool_] | None,
        wide: int,
        k: int,
    ) -> tuple[Picks, NDArray[np.float32]]:
        at = _linked("leaders", own, rows, before, after, np.uint32)
        _require(min(wide, k) > 0 and (mask is None or mask.shape == own.shape), "leaders")
        bits = _NO_MARKS if mask is None else _plain(mask, np.bool_)
        room = max(len(rows), min(5 * len(rows), len(own))) + 1
        marks = np.zeros(len(own) // 64 + 1, np.uint64)
        found, shared = np.empty(room, np.int64), np.empty(room, np.float32)
        rest = _scratch.tallies, _at(marks), _at(found), _at(shared)
        filtered = mask is not None
        size = self._leaders(*at, _scratch.numbers(weights), _at(bits), filtered, wide, k, *rest)
        _require(size >= 0, "leaders")
        return highest_rows(found[:size], shared[:size], k)


def _held_by(term: tuple[Numbers, Counts]) -> tuple[int, int, int, int]:
    """Where rows and counts of a term are, how many, and the last row; kept with Postings."""
    made: tuple[int, int, int, int] | None = getattr(term, "places", None)
    if made is None:
        rows, counts = term
        sound = rows.dtype == np.uint32 and counts.dtype == np.uint16 and len(rows) == len(counts)
        sound = sound and rows.flags.c_contiguous and counts.flags.c_contiguous
        _require(sound and (not len(rows) or rows[0] <= rows[-1]), "weigh")
        made = _at(rows), _at(counts), len(rows), int(rows[-1]) if len(rows) else -1
        if isinstance(term, Postings):
            term.places = made
    return made


def _linked(
    kernel: str,
    own: NDArray[np.float32],
    rows: NDArray[Any],
    before: Parted,
    after: Parted,
    kind: Any = np.int64,
) -> tuple[int, ...]:
    """The arguments that tell what some rows and their neighbours have; the kernel checks rows."""
    edge = len(before.first)
    sides = len(before) == len(after) == len(own) and len(after.first) == edge
    plain = own.dtype == np.float32 and own.flags.c_contiguous and rows.flags.c_contiguous
    _require(sides and plain and rows.dtype == kind, kernel)
    (first, _, more), (second, _, rest) = _parts(before), _parts(after)
    return _at(own), _at(rows), len(rows), first, second, edge, more, rest, len(own)


def _parts(column: Parted) -> tuple[int, int, int]:
    """The arguments that stay the same for a column; made once."""
    made: tuple[int, int, int] | None = column.__dict__.get("_parts")
    if made is None:
        made = _at(column.first), len(column.first), _at(column.more)
        column.__dict__["_parts"] = made
    return made


def _tables(vocabulary: Vocabulary) -> tuple[int, ...]:
    """The arguments of `text_sums` that stay the same for a vocabulary; made once."""
    made: tuple[int, ...] | None = vocabulary.__dict__.get("_tables")
    if made is None:
        v = vocabulary
        spelt = _at(v.letters), _at(v.data), _at(v.starts), _at(v.ends)
        slots = _at(v.heads), len(v.heads) - 1, _at(v.tails), len(v.tails) - 1
        made = *spelt, *slots, v.longest, _at(v.votes), _at(v.rows), _at(v.weights), v.scale
        v.__dict__["_tables"] = made
    return made


def _places(space: Space) -> tuple[int, ...]:
    """The arguments of `find` that stay the same for a space; made once."""
    made: tuple[int, ...] | None = space.__dict__.get("_places")
    if made is None:
        rows, dims = space.vectors.shape
        book = (_at(space.mean), _SIGNS_AT, _at(space.blocks), len(space.blocks))
        cells = (_at(space.block_start), _at(space.cell_codes), _at(space.cell_start))
        made = (dims, *book, *cells, _at(space.codes), rows, _at(space.vectors))
        space.__dict__["_places"] = made
    return made


def _are_codes(codes: Codes, rows: int) -> bool:
    return codes.shape[1:] == (WORDS, LANES) and len(codes) * LANES >= rows


def _require(sound: Any, kernel: str) -> None:
    """A wrong length would make a kernel read foreign memory."""
    if not sound:
        raise ValueError(f"shapes do not fit each other in kernel {kernel}")
