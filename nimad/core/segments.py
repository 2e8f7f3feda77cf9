"""From text to the blocks: encoding, hot vectors, sealing and merging segments.

A vector passes through float16 once, before anything uses it: so a row scores the same while it is
hot, after a restart, and when a segment holds it.

Crash prose of `seal` (and of merging, which differs only in what is taken off the list):

1. the segment file is written, fsynced and renamed: a crash leaves a file that no row names; the
   next start removes it (`SemanticIndex.open`);
2. one transaction lists it, moves the caller's cursor and empties `hot` of its rows: a crash
   before COMMIT leaves step 1, after it everything;
3. the index publishes it: memory only, the next start does it from the list.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.disk.durable import crash_point
from nimad.disk.mapped import is_waiting
from nimad.embed.base import Embedder
from nimad.index.blocks import BlockIndex
from nimad.model import now_ms
from nimad.store import staged_segments
from nimad.store.records import Records
from nimad.store.transaction import Transaction


def encode(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """float32[n, dims]: the vectors of texts, rounded to float16."""
    return rounded(embedder.embed(texts))


def rounded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """What float16 keeps of numbers in [-1, 1], to even where two are as near: as a conversion to
    float16 and back, which takes more than twice the time."""
    bits = vectors.view(np.uint32)
    made = (bits >> np.uint32(13)) & np.uint32(1)
    made += bits
    made += np.uint32(0xFFF)
    made &= np.uint32(0xFFFFE000)
    found = made.view(np.float32)
    small = np.abs(vectors) < 2.0**-14  # multiples of 2**-24
    found[small] = np.rint(vectors[small] * np.float32(2**24)) * np.float32(2.0**-24)
    return found


def encode_memories(
    records: Records,
    embedder: Embedder,
    ids: Sequence[int],
    before_each: Callable[[], object] = lambda: None,
) -> tuple[list[int], NDArray[np.float32]]:
    """The ids that exist, and float32[n, dims]: the vectors of their texts.  Few texts are in RAM
    at a time; `before_each` is called between them."""
    kept: list[int] = []
    rows = [np.empty((0, embedder.dims), np.float32)]
    for part in records.texts_of(ids):
        before_each()
        kept += [number for number, _ in part]
        rows.append(encode(embedder, [text for _, text in part]))
    return kept, np.concatenate(rows)


def to_hot(ids: Sequence[int], vectors: NDArray[np.float32]) -> list[tuple[int, bytes]]:
    """Rows of the table `hot`."""
    halves = vectors.astype(np.float16)
    return [(int(i), halves[n].tobytes()) for n, i in enumerate(ids)]


def from_hot(
    rows: Iterable[tuple[int, bytes]], dims: int
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """ids: int64[n], vectors: float16[n, dims] of rows of `hot`; damaged ones are left out."""
    kept = {i: data for i, data in rows if isinstance(data, bytes) and len(data) == 2 * dims}
    ids = np.fromiter(kept, np.int64, len(kept))
    joined = np.frombuffer(b"".join(kept.values()), np.float16)
    return ids, joined.reshape(len(kept), dims)


def new_segment_name(records: Records, index: BlockIndex) -> str:
    """The next free name, "seg-00000001" and so on: above every listed and every stray file."""
    return next_name("seg", records.segment_names(), index.directory)


def stray_files(records: Records, index: BlockIndex) -> list[Path]:
    """Files of segments that nothing names; foreign ones are left out."""
    found = index.unlisted([*records.segment_names(), *staged_segments.names(records)])
    return [p for p in found if re.fullmatch(r"seg-\d+", p.stem) and not is_waiting(p)]


def next_name(prefix: str, listed: Iterable[str], directory: Path) -> str:
    """PREFIX-00000001 and so on: above every listed name and every file."""
    taken = [*listed, *(path.name for path in directory.iterdir())]
    numbers = [int(found[1]) for name in taken if (found := re.match(rf"{prefix}-(\d+)", name))]
    return f"{prefix}-{max(numbers, default=0) + 1:08d}"


def small_ones(listed: Sequence[tuple[str, int]], most: int, bound: int) -> list[str]:
    """Which to merge of segments and their rows, smallest first; none while they are `most`, unless
    three that have no blocks, for which they are smaller than `bound`, are at least half as large.

    About half of them, and each that is no larger than the smaller ones together, so that a row is
    merged again only when its segment doubles: 3.4 times of a million that come in parts of 2,000,
    where half alone took 12.9.
    """
    flat = [rows for _, rows in listed if rows < bound]
    if len(listed) > most:
        count = len(listed) - most // 2
    elif sum(2 * rows >= bound for rows in flat) > 2:
        count = len(flat)
    else:
        return []
    together = sum(rows for _, rows in listed[:count])
    for _, rows in listed[count:]:
        if rows > together:
            break
        together += rows
        count += 1
    return [name for name, _ in listed[:count]]


def flat_ones(listed: Sequence[tuple[str, int]], most: int, bound: int) -> list[str]:
    """Which to merge while memories come in bulk: of those with half of `bound` rows and less, the
    smallest that stay below it together.  None while all of these do, unless they are twice `most`.

    From `bound` rows on blocks are learned: that takes 50 us a row, to copy one takes 2.  A
    question pays .1 ms for a segment, of 4,096 rows or of 32,768.
    """
    small = [(name, rows) for name, rows in listed if 2 * rows < bound]
    sums = [*accumulate(rows for _, rows in small)]
    fit = bisect_left(sums, bound)
    return [name for name, _ in small[:fit]] if fit < len(small) or fit >= 2 * most else []


def seal(
    records: Records,
    index: BlockIndex,
    ids: NDArray[np.int64],
    vectors: NDArray[np.floating] | NDArray[np.int8],
    within: Callable[[Transaction], None] | None = None,
    give_way: Callable[[], object] = lambda: None,
) -> None:
    """Put rows into a new segment; `within` joins its transaction (to move a cursor, say).

    Rows forgotten meanwhile become tombstones, so they never come back.  `give_way` is called now
    and then, before the transaction.
    """
    name = new_segment_name(records, index)
    info = index.write_segment(name, ids, vectors, give_way)
    crash_point("seal.written")
    with records.exclusive():
        with records.write() as tx:
            tx.list_segment(info, now_ms())
            gone = tx.gone(ids)
            tx.many("INSERT OR IGNORE INTO tombstones (id) VALUES (?)", [(i,) for i in gone])
            tx.forget_hot(ids)
            if within is not None:
                within(tx)
        crash_point("seal.listed")
        index.publish([name])
        index.trim(ids)
        index.remove(np.array(gone, np.int64))


def merge(
    records: Records,
    index: BlockIndex,
    names: Sequence[str],
    going_on: Callable[[], object] = lambda: None,
) -> None:
    """Make one segment of several: forgotten rows are left out, their tombstones go.  What
    `going_on` raises, which is called now and then, ends it, and nothing has changed.

    Tombstones laid while it runs stay: the new segment may still hold those rows.
    """
    held = np.intersect1d(records.tombstones(), index.segment_ids(names))
    name = new_segment_name(records, index)
    info = index.merge_segments(names, name, going_on)
    crash_point("merge.written")
    with records.write() as tx:
        tx.unlist_segments(names)
        if info.rows:
            tx.list_segment(info, now_ms())
        tx.many("DELETE FROM tombstones WHERE id = ?", [(int(i),) for i in held])
    crash_point("merge.listed")
    # a segment without rows is not listed: it goes with those that it was made of
    index.publish([name] if info.rows else [], names if info.rows else [*names, name])
