"""Makes segments of the words index: of texts, or of other segments; a part of the terms at a time.

Only what a few hundred thousand postings take is in memory at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from hashlib import blake2b
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.disk.container import Summary, write_container
from nimad.disk.durable import Buffer
from nimad.index.varints import lengths_of, pack, unpack
from nimad.words.segment import FORMAT, HEAD, VERSION, Ids, Segment

MERGED = 10_000
"""Postings that a merge has in memory at once, some 1 MB; those of one term are not cut."""
READ = 50
"""Portions after which a merge lets go of what it has read of the files, some 1 MB [portions]."""

Numbers = NDArray[np.int64]
_ENDS = ("term_ends", "gap_ends", "more_ends")


@dataclass(frozen=True)
class Portion:
    """The postings of some neighbouring terms.

    Attributes:
        terms: ascending.
        owner: int64[p], ascending: the place in `terms` of each posting's term.
        documents, counts: int64[p]; documents ascend within a term.
    """

    terms: list[bytes]
    owner: Numbers
    documents: Numbers
    counts: Numbers


@dataclass
class Terms:
    """What a segment holds of its terms besides `gaps`, as it grows with each portion."""

    heads: list[NDArray[Any]] = field(default_factory=list)
    terms: list[bytes] = field(default_factory=list)
    more: list[bytes] = field(default_factory=list)
    ends: dict[str, list[Numbers]] = field(
        default_factory=lambda: {"term_ends": [], "holders": [], "gap_ends": [], "more_ends": []}
    )
    at: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_ENDS, 0))
    postings: int = 0

    def add(self, portion: Portion) -> bytes:
        """Take in a portion; what it adds to `gaps`.  Terms without postings are left out."""
        holders = np.bincount(portion.owner, minlength=len(portion.terms))
        kept = np.flatnonzero(holders)
        terms = [portion.terms[number] for number in kept.tolist()]
        holders = holders[kept]
        if not len(kept):
            return b""
        starts = np.cumsum(holders) - holders
        before = np.append(-1, portion.documents[:-1])
        before[starts] = -1
        often = portion.counts > 1
        numbers = 2 * (portion.documents - before - 1) + often
        more = portion.counts[often] - 2
        lasts = starts + holders - 1
        sizes_of, sizes_more = lengths_of(numbers), lengths_of(more)
        raw, extra = pack(numbers, sizes_of).tobytes(), pack(more, sizes_more).tobytes()
        sizes = {
            "term_ends": np.fromiter(map(len, terms), np.int64, len(terms)),
            "gap_ends": _sizes(sizes_of, lasts),
            "more_ends": _sizes(sizes_more, np.cumsum(often)[lasts] - 1),
        }
        for name, mine in sizes.items():
            self.ends[name].append(self.at[name] + np.cumsum(mine))
            self.at[name] += int(mine.sum())
        self.ends["holders"].append(holders)
        self.heads.append(np.array(terms, f"S{HEAD}").view(f">u{HEAD}"))
        self.terms.append(b"".join(terms))
        self.more.append(extra)
        self.postings += len(numbers)
        return raw

    def numbers(self, name: str) -> bytes:
        """One of the regions of `ends`."""
        return _narrow(np.concatenate([np.zeros(0, np.int64), *self.ends[name]]), 4)


def _sizes(lengths: Numbers, lasts: Numbers) -> Numbers:
    """How many bytes each term's part of packed numbers takes, whose lengths are these.

    `lasts`: which of the numbers is the last one up to the end of each term, -1 for none yet.
    """
    ends = np.append(0, np.cumsum(lengths))[lasts + 1]
    sizes: Numbers = np.diff(ends, prepend=0)
    return sizes


def _narrow(numbers: NDArray[Any], least: int = 1) -> bytes:
    """Numbers in the fewest bytes each, 1, 2, 4 or 8, but not less than `least`."""
    top = int(numbers.max(initial=0))
    width = next(w for w in (1, 2, 4, 8) if w >= least and top < 1 << (8 * w))
    return numbers.astype(f"<u{width}").tobytes()


def _regions(
    portions: Iterator[Portion], ids: Ids, lengths: NDArray[Any]
) -> list[tuple[str, Iterator[Buffer]]]:
    """The regions in their order; each is made when it is asked for, `gaps` first."""
    made = Terms()

    def gaps() -> Iterator[Buffer]:
        for portion in portions:
            yield made.add(portion)

    def state() -> Iterator[Buffer]:
        ends = (int(ids[0]), int(ids[-1])) if len(ids) else (0, 0)
        yield np.array([len(ids), *ends, made.postings], "<i8").tobytes()

    def offsets() -> Iterator[Buffer]:
        if len(ids) and ids[-1] - ids[0] != len(ids) - 1:
            yield _narrow(ids - ids[0], 4)

    return [
        ("gaps", gaps()),
        ("more", (part for part in made.more)),
        ("state", state()),
        ("ids", offsets()),
        ("lengths", (_narrow(array) for array in (lengths,))),
        ("heads", (array.astype("<u8").tobytes() for array in made.heads)),
        ("terms", (part for part in made.terms)),
        *((name, map(made.numbers, [name])) for name in made.ends),
    ]


# --- of texts -----------------------------------------------------------------------------------


def of_texts(
    ids: Sequence[int], terms: Sequence[Sequence[str]], lengths: Sequence[int]
) -> list[tuple[str, Iterator[Buffer]]]:
    """The regions of some memories: ids ascending, the terms of each as they stand in its text."""
    found = [*chain.from_iterable(terms)]
    numbers = dict(zip(dict.fromkeys(found), count(), strict=False))
    each = np.fromiter(map(numbers.__getitem__, found), np.int32, len(found))
    spelled = [term.encode("utf-8", "surrogatepass") for term in numbers]
    return of_numbers(ids, spelled, each, [*map(len, terms)], lengths)


def of_numbers(
    ids: Sequence[int],
    terms: Sequence[bytes],
    found: NDArray[np.int32],
    held: Sequence[int],
    lengths: Sequence[int],
) -> list[tuple[str, Iterator[Buffer]]]:
    """The same of numbers of `terms`, which are all different, and some of which may stand in no
    text; of those in `found` each memory holds as many as `held` says."""
    used = np.flatnonzero(np.bincount(found, minlength=len(terms))).tolist()
    used.sort(key=terms.__getitem__)
    ranks = np.zeros(len(terms), np.min_scalar_type(len(used)))
    ranks[used] = np.arange(len(used))
    owner = ranks[found]
    order = np.argsort(owner, kind="stable")  # by digits, where they are two bytes
    owner = owner[order].astype(np.int64)
    documents = np.repeat(np.arange(len(ids)), held)[order]
    first = np.flatnonzero(
        (np.diff(owner, prepend=-1) != 0) | (np.diff(documents, prepend=-1) != 0)
    )
    counts = np.diff(first, append=len(owner))
    portion = Portion([terms[n] for n in used], owner[first], documents[first], counts)
    return _regions(iter([portion]), np.array(ids, np.int64), np.array(lengths, np.int64))


# --- of segments --------------------------------------------------------------------------------


def of_segments(
    segments: Sequence[Segment], alive: Ids, give_way: Callable[[], object] = lambda: None
) -> list[tuple[str, Iterator[Buffer]]]:
    """The regions of several segments together, in the order of ids, without what is forgotten.

    `alive`: int64[m], ascending, the ids that exist.  `give_way` is called a few times a portion,
    which takes some milliseconds.
    """
    return _regions(*_living(segments, alive, give_way))


def content(segments: Sequence[Segment], alive: Ids) -> tuple[int, int]:
    """How many postings of living memories segments have, and a sum over all of them, so that equal
    content is equal however it is cut into segments."""
    portions, ids, lengths = _living(segments, alive, lambda: None)
    total = int((_mixed(ids, 3) * lengths.astype(np.uint64)).sum(dtype=np.uint64))
    count = 0
    for portion in portions:
        digests = [
            int.from_bytes(blake2b(t, digest_size=8).digest(), "little") for t in portion.terms
        ]
        of_term = np.array(digests, np.uint64)[portion.owner]
        mixed = (of_term ^ _mixed(ids[portion.documents], 1)) * _mixed(portion.counts, 2)
        total += int(mixed.sum(dtype=np.uint64))
        count += len(mixed)
    return count, total % (1 << 64)


def _mixed(numbers: Numbers, salt: int) -> NDArray[np.uint64]:
    """Numbers scattered over 64 bits, odd ones."""
    wide = (numbers.astype(np.uint64) << np.uint64(2)) + np.uint64(salt)
    return (wide * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


def _living(
    segments: Sequence[Segment], alive: Ids, give_way: Callable[[], object]
) -> tuple[Iterator[Portion], Ids, NDArray[np.int64]]:
    """The portions of several segments together, and their documents' ids and lengths."""
    ids, lengths, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], []
    base = 0
    for segment in segments:
        kept = np.isin(segment.ids, alive, assume_unique=True)
        place = np.where(kept, base + np.cumsum(kept) - 1, -1).astype(np.int32)
        places.append(place)
        ids.append(segment.ids[kept])
        lengths.append(segment.lengths[kept].astype(np.int64))
        base += len(ids[-1])
    return _merged(segments, places, give_way), np.concatenate(ids), np.concatenate(lengths)


def _merged(
    segments: Sequence[Segment],
    places: Sequence[NDArray[np.int32]],
    give_way: Callable[[], object],
) -> Iterator[Portion]:
    """All terms in order, in portions; `places`: the new document of each old one, -1 for none."""
    done = [0] * len(segments)
    totals = [np.append(0, np.cumsum(s.holders, dtype=np.int64)) for s in segments]
    portions = 0
    while any(at < len(segment) for at, segment in zip(done, segments, strict=True)):
        give_way()
        portions += 1
        if portions % READ == 0:
            for segment in segments:
                segment.give_back()
        last = None
        share = MERGED // len(segments)
        for at, segment, total in zip(done, segments, totals, strict=True):
            if at < len(segment):
                end = max(bisect_right(total, total[at] + share) - 1, at + 1)
                mine = segment.term(end - 1)
                if end < len(segment) and (last is None or mine < last):
                    last = mine
        ends = [
            len(segment) if last is None else max(segment.place(last + b"\0"), at)
            for at, segment in zip(done, segments, strict=True)
        ]
        parts = [
            _part(segment, at, end, place, give_way)
            for segment, at, end, place in zip(segments, done, ends, places, strict=True)
            if end > at
        ]
        done = ends
        give_way()
        if parts:
            joined = _joined(parts)
            give_way()
            yield joined


def _part(
    segment: Segment,
    first: int,
    end: int,
    place: NDArray[np.int32],
    give_way: Callable[[], object],
) -> Portion:
    """Some terms of a segment, with new documents; what is forgotten is left out."""
    give_way()
    gaps, more = segment.packed(first, end)
    numbers, holders = unpack(gaps), segment.holders[first:end].astype(np.int64)
    owner = np.repeat(np.arange(end - first), holders)
    if len(numbers) != len(owner):
        raise segment.corrupt("its postings are not what was written")
    steps = np.cumsum((numbers >> 1) + 1)
    before = np.append(0, steps)[np.cumsum(holders) - holders]
    documents = steps - before[owner] - 1
    counts = np.ones(len(numbers), np.int64)
    counts[numbers & 1 == 1] = unpack(more) + 2
    documents = place[documents].astype(np.int64)
    kept = documents >= 0
    return Portion(segment.terms(first, end), owner[kept], documents[kept], counts[kept])


def _joined(parts: Sequence[Portion]) -> Portion:
    """Portions of the same stretch of terms as one; the documents of each are above those of the
    ones before."""
    terms = sorted({term for part in parts for term in part.terms})
    rank = {term: number for number, term in enumerate(terms)}
    owner = np.concatenate(
        [
            np.fromiter(map(rank.__getitem__, part.terms), np.int64, len(part.terms))[part.owner]
            for part in parts
        ]
    )
    order = np.argsort(owner.astype(np.min_scalar_type(len(terms))), kind="stable")  # by digits
    documents = np.concatenate([part.documents for part in parts])[order]
    counts = np.concatenate([part.counts for part in parts])[order]
    return Portion(terms, owner[order], documents, counts)


# --- where they go ------------------------------------------------------------------------------


def in_memory(
    regions: list[tuple[str, Iterator[Buffer]]], give_way: Callable[[], object] = lambda: None
) -> Segment:
    """A segment that no file has; `give_way` is called before each region is made."""
    made: dict[str, bytes] = {}
    for name, chunks in regions:
        give_way()
        made[name] = b"".join(chunks)
    return Segment.in_memory(made)


def write_file(path: Path, regions: list[tuple[str, Iterator[Buffer]]]) -> Summary:
    """Write a segment durably.  Raises DiskFull, and FormatCorrupt of what it is made of."""
    return write_container(path, FORMAT, VERSION, regions, "words")
