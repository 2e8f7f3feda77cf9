"""What every form of the kernels offers, and the constants of the code they work on.

Notation: d dimensions of a vector (1..1024); n rows; g = ceil(n / 32) groups.

The sign code of a row is 512 bits, one per coordinate of the rotated, centred row; 32 rows form a
group in which word w of all rows lies together, so that a scan reads memory in order and a
vectoriser finds 32 equal lanes: `codes: uint64[g, 8, 32]`, unused lanes zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nimad.embed.vocabulary import TextKernels
from nimad.index.kernels.tokens import TokenTable

BITS = 512  # length of a sign code
MOST_DIMS = 2 * BITS  # dimensions of a vector: it is folded into the code once
WORDS = BITS // 64  # 64-bit words of a code
LANES = 32  # rows of a group
PLANES = 3  # bits of a query's level
ROUNDS = 3  # rounds of signs and butterflies in the rotation
ROW_MAX = 127  # largest value of a row: 8 bits
QUERY_MAX = 16383  # largest value of a query: products with a row sum up within 32 bits
ROTATION = 1  # number of the rotation, kept in each segment
TOP_LEVEL = (1 << PLANES) - 1  # highest level of a query's coordinate
FARTHEST_CODE = TOP_LEVEL * BITS  # largest distance of a code from a query
BINS = FARTHEST_CODE // 4 + 1  # values of distance // 4 that sort posting lists
FARTHEST = 1 << 20  # above any <x, q> / |x|
STEPS = 4096  # bins that sort what rows share
SAMPLED = 16  # rows for one of a sample
TABLED = 256  # lengths of texts, of one byte, whose part of BM25 is computed once
MOST_COUNTED = (1 << 16) - 1  # times that a term stands in a memory, as far as it is told
TEXT_DIMS = 256  # dimensions of the sums of texts, see `nimad.embed.vocabulary`
TEXT_WORD = 100  # letters of the longest word that is cut into tokens
MARKED = 2  # weight of a marked row beside that of a row of its cell, see `Marks`

Codes = NDArray[np.uint64]
Rows = NDArray[np.int8]
Picks = NDArray[np.int64]
Numbers = NDArray[np.uint32]
Counts = NDArray[np.uint16]


def rotation_signs() -> NDArray[np.float32]:
    """The random signs of rotation 1: float32[3, 512], each +1 or -1.

    Part of the segment format: taken from SHAKE-256, so they are the same everywhere and for ever.
    """
    raw = hashlib.shake_256(b"nimad rotation 1").digest(ROUNDS * BITS // 8)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
    return (1.0 - 2.0 * bits.astype(np.float32)).reshape(ROUNDS, BITS)


def groups(rows: int) -> int:
    """Number of groups of 32 that hold `rows` rows."""
    return -(-rows // LANES)


@dataclass(frozen=True, eq=False)
class Space:
    """What `Kernels.find` searches: the arrays of one segment, contiguous, checked once.

    Attributes:
        mean: float32[d].  codes: uint64[g, 8, 32].  vectors: int8[m, d].
        blocks: int8[b, d].  block_start: uint32[b + 1], ascending from 0 to the count of cells.
        cell_codes: uint64[g, 8, 32].  cell_start: uint32[cells + 1], ascending from 0 to m.
            All four are empty where there are no blocks.
    """

    mean: NDArray[np.float32]
    blocks: Rows
    block_start: NDArray[np.uint32]
    cell_codes: Codes
    cell_start: NDArray[np.uint32]
    codes: Codes
    vectors: Rows

    def __post_init__(self) -> None:
        m, dims = self.vectors.shape
        cells = max(len(self.cell_start) - 1, 0)
        sound = 0 < dims <= MOST_DIMS and self.mean.shape == (dims,)
        sound = sound and len(self.codes) == groups(m) and len(self.cell_codes) >= groups(cells)
        if len(self.blocks):
            sound = sound and self.blocks.shape[1] == dims
            sound = sound and len(self.block_start) == len(self.blocks) + 1
            sound = sound and ascends(self.block_start, cells)
            sound = sound and ascends(self.cell_start, m)
        for name, kind in _KINDS.items():
            array = getattr(self, name)
            sound = sound and array.dtype == kind and array.flags.c_contiguous
        if not sound:
            raise ValueError("the arrays of a space do not fit each other")


@dataclass(frozen=True, eq=False)
class Marks:
    """Which rows of a space count.

    Attributes:
        bits: bitmap, bit (row % 8) of byte row // 8.
        weights: uint32[cells + 1], what the cells before each count for in `Kernels.find`, a cell
            without marked rows for nothing; empty without blocks.
    """

    bits: NDArray[np.uint8]
    weights: NDArray[np.uint32]

    @classmethod
    def of(cls, space: Space, marked: NDArray[np.bool_]) -> Marks:
        """The marks for `marked: bool[>= m]`; takes a quarter of a nanosecond a row.

        A cell with marked rows counts for twice these and once all its rows: see `weight`.
        """
        bits = np.packbits(marked, bitorder="little")
        edges = space.cell_start
        if not len(edges):
            return cls(bits, np.zeros(0, np.uint32))
        before = np.zeros(len(bits) + 1, np.int64)
        np.cumsum(np.bitwise_count(bits), out=before[1:])
        byte, bit = edges >> 3, (edges & 7).astype(np.uint8)
        lower = np.append(bits, np.uint8(0))[byte] & ((np.uint8(1) << bit) - np.uint8(1))
        mine = np.diff(before[byte] + np.bitwise_count(lower))
        cells = np.where(mine > 0, MARKED * mine + np.diff(edges.astype(np.int64)), 0)
        weights = np.zeros(len(edges), np.uint32)
        np.cumsum(cells, out=weights[1:])
        return cls(bits, weights)

    @staticmethod
    def weight(rows: int, marked: int, wanted: int) -> int:
        """What `wanted` marked rows count for, when `marked` of `rows` are, evenly spread.

        Marked rows that crowd where the query looks stand for fewer others than evenly spread ones
        do; so by rows alone a search would end too early there, and by cells alone too late
        elsewhere.
        """
        return int(wanted * (MARKED + rows / max(marked, 1)))

    def fits(self, space: Space) -> bool:
        """Whether these can be marks of that space."""
        return (
            len(self.bits) * 8 >= len(space.vectors)
            and self.weights.shape == space.cell_start.shape
            and self.bits.dtype == np.uint8
            and self.weights.dtype == np.uint32
        )


class Bounds(NamedTuple):
    """Where `Kernels.find` may end sooner than at what is wanted; by default nowhere.

    Attributes:
        least: of what cells count for, that is scanned in any case.
        reach: how far behind the nearest cell that counts others are still scanned then, in steps
            of distance // 4.
        few, margin: of the k nearest by code, rows further than `margin` behind the `few`-th of
            them are not rescored.
    """

    least: int = 1 << 62
    reach: int = 0
    few: int = 1
    margin: int = FARTHEST_CODE + 1


_KINDS = {
    "mean": np.float32,
    "blocks": np.int8,
    "block_start": np.uint32,
    "cell_codes": np.uint64,
    "cell_start": np.uint32,
    "codes": np.uint64,
    "vectors": np.int8,
}


def ascends(edges: NDArray[np.uint32], end: int) -> bool:
    """Whether `edges` ascend from 0 to `end`; a range beyond it would read foreign memory."""
    return bool(
        len(edges) and edges[0] == 0 and edges[-1] == end and (edges[1:] >= edges[:-1]).all()
    )


@dataclass(frozen=True, eq=False)
class Parted:
    """A column of memories in two parts of one type: row r is first[r], or more[r - len(first)]."""

    first: NDArray[Any]
    more: NDArray[Any]

    def __len__(self) -> int:
        return len(self.first) + len(self.more)

    def at(self, rows: Picks) -> NDArray[Any]:
        """The values of some rows."""
        if not len(self.more):
            return self.first[rows]
        if not len(self.first):
            return self.more[rows]
        return np.where(
            rows < len(self.first),
            self.first[np.minimum(rows, len(self.first) - 1)],
            self.more[np.maximum(rows - len(self.first), 0)],
        )


class Postings(tuple[Numbers, Counts]):
    """Rows and counts of a term that are asked for often: what a form finds out about them it keeps
    in `places`."""

    places: Any


class Kernels(TextKernels, Protocol):
    """The inner loops.  All results are exact: the same bits on every machine and in every form.

    Every method may be called from several threads at once.
    """

    name: str

    def encode(self, rows: Rows, mean: NDArray[np.float32]) -> Codes:
        """The sign codes of `rows: int8[n, d]`, centred on `mean: float32[d]`; codes[g, 8, 32].

        Bit i of a row's code says whether coordinate i of R(x - |x| mean) is above zero; R is three
        rounds of random signs and a Hadamard transform of the row, zero-padded to 512.  Of a longer
        row, coordinate 512 + i times sign i of the third round is first added to coordinate i.
        """

    def planes(self, query: NDArray[np.int16], mean: NDArray[np.float32]) -> NDArray[np.uint64]:
        """The query as three bit planes: uint64[3, 8].

        With v = R(q - |q| mean) and s = max|v| / 7, coordinate i becomes the level
        clip(rint((v_i / s + 7) / 2), 0, 7); plane j holds bit j of each level.
        """

    def distances(self, codes: Codes, n: int, planes: NDArray[np.uint64]) -> NDArray[np.int32]:
        """int32[n]: the sum over planes j of 2^j popcount(code XOR plane_j), 0..3584.

        The smaller, the nearer: it is affine in <2 code - 1, levels>.
        """

    def scan(
        self,
        codes: Codes,
        spans: NDArray[np.int64],
        planes: NDArray[np.uint64],
        marks: NDArray[np.uint8] | None,
        k: int,
    ) -> Picks:
        """The k nearest rows by `distances`, equal ones by row number; int64[<= k], rows ascending.

        Args:
            spans: int64[r, 2], disjoint ranges of rows [first, end) to look at, ascending.
            marks: bitmap, bit (row % 8) of byte row // 8; only marked rows count.  None: all do.
        """

    def dots(
        self, rows: Rows, picks: Picks, query: NDArray[np.int16]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """int32[m] each: <x, q> and <x, x> of the picked rows of `rows: int8[n, d]`."""

    def ranked(
        self,
        words: NDArray[np.uint64],
        before: NDArray[np.uint32],
        order: NDArray[np.uint32] | None,
        numbers: Picks,
    ) -> Picks:
        """How many numbers of a set lie below each of some numbers, or what `order` has at that
        place: int64[m]; -1 for what is not in the set.

        Args:
            words, before: the set, see `nimad.index.rowsets.Ranks`.
            order: of as many values as the set has numbers.
            numbers: int64[m], any.
        """

    def cosines(self, vectors: Rows, rows: Picks, query: NDArray[np.int16]) -> NDArray[np.float32]:
        """The cosines of `query: int16[d]` with rows of `vectors: int8[n, d]`, as `find` has them:
        float32[m]; nan for a row below 0, 0 for one from n on.  rows: int64[m]."""

    def find(
        self,
        space: Space,
        query: NDArray[np.int16],
        marks: Marks | None,
        probes: int,
        wanted: int,
        k: int,
        bounds: Bounds = Bounds(),  # noqa: B008
    ) -> tuple[Picks, NDArray[np.float32]]:
        """The k rows nearest by code, ascending, and their cosines: int64[<= k], float32[<= k].

        Without blocks, or when `wanted` is not less than what all cells count for, all rows are
        scanned; otherwise posting lists are, chosen like this:

        1. the `probes` blocks of the largest trunc(<x, q> / |x|) are active, equal ones by number;
        2. their cells are ordered by (distance of the cell's code // 4, number);
        3. the first of them that count for `wanted` together are scanned: a cell counts for its
           rows, or under a filter for what `Marks` says;
        4. but none that lies beyond the reach of the nearest that counts, once those that are
           nearer in distance // 4 count for `bounds.least`.

        Of the k rows those beyond the margin of `bounds` are left out.

        A cosine is <x, q> / (|x| |q|) in float64, rounded once to float32.

        Args:
            marks: only these rows count.  None: all do.
            probes, wanted, k, bounds.few: at least 1.
        """

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
        """`find` in two steps: work that any thread may do, which compiled forms do without the
        interpreter's lock, and what makes the answer of what the work gave.  Both once."""

    def postings(
        self,
        gaps: NDArray[np.uint8],
        more: NDArray[np.uint8],
        count: int,
        first: int,
        limit: int,
    ) -> tuple[Numbers, Counts]:
        """The postings of a term: `first` + document of each, ascending, and how often it stands
        there, at most MOST_COUNTED.  Fewer than `count` where the bytes are damaged.

        Both are LEB128 (`nimad.index.varints`).  A number in `gaps` is 2 * (document - the one
        before - 1) + whether the term stands there more than once; then the next number in `more`
        is how often, less 2.  Documents are below `limit`, and `first` + `limit` is at most 2^32.
        """

    def weigh(
        self,
        own: NDArray[np.float32],
        terms: Sequence[tuple[Numbers, Counts]],
        words: Parted,
        rarities: Sequence[float],
        weights: Sequence[float],
    ) -> Numbers:
        """Add BM25 of some terms to `own: float32[n]`; the rows that had 0 before, in order.

        own[r] += rarity * count * above / (count + k1 * (fixed + share * words[r] / average)), from
        left to right in float32, term after term.

        Args:
            terms: the rows that hold each, ascending, in 0..n-1, and how often.
            words: of n rows; unsigned numbers of 1, 2 or 4 bytes.
            rarities: of each term.  weights: above, k1, fixed, share, average.
        """

    def cover(
        self, holders: Sequence[Numbers], values: Sequence[float], rows: Picks
    ) -> NDArray[np.float32]:
        """What the terms are worth that each of some rows holds, added up in float32 in their
        order: float32[m].

        Args:
            holders: the rows that hold each term, ascending.  values: of each term.
            rows: int64[m], ascending, each once.
        """

    def seek(
        self, values: NDArray[np.int64], order: NDArray[np.uint32], wanted: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Where some values stand in an order: int64[m, 2], the first place and the end; the same
        twice where one is missing.

        Args:
            order: uint32[k], places in `values`, all of them sound, from the lowest value on.
            wanted: int64[m].
        """

    def cut(
        self, texts: bytes, ends: NDArray[np.int64], table: TokenTable
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The numbers of the tokens of texts, text by text, int32[f], and how many each has:
        int64[n].  A token is a run of bytes that are no TOKEN_END in `table.letters`, written in
        these; one that is not in the table gets the next number there.

        Args:
            ends: int64[n], ascending: where each text ends in `texts`, behind the one before.
        """

    def shares(
        self,
        own: NDArray[np.float32],
        rows: Picks,
        before: Parted,
        after: Parted,
        weights: Sequence[float],
    ) -> NDArray[np.float32]:
        """What some rows have with the shares of their neighbours: float32[m].

        To `own: float32[n]` of a row are added, in this order: that of the row before it times
        weights[0], of the one before that times weights[1], of the one after times weights[2], of
        the one after that times weights[1].  `before` and `after` are int32 of n rows; what is not
        in 0..n-1 is none.

        Args:
            rows: int64[m], in 0..n-1.
        """

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
        """The k rows that share most, as `shares` has it, of about `wide` that have most themselves
        and those up to two turns away: int64[<= k], ascending, and what they share: float32[<= k].

        Of rows that share the same those of the lowest numbers; none that shares nothing.  Of more
        than `wide` rows those are taken whose step, trunc(own * (STEPS - 1) / top) where top is the
        highest of every SAMPLED-th row, is among the highest that wide // SAMPLED + 1 of these
        reach.

        Args:
            rows: where `own` is not 0, which is never negative; in any order.
            mask: bool[n], where a row must be that is found.  None: anywhere.
        """
