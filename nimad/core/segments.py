"""From text to the blocks: encoding, hot vectors, sealing and merging segments.

A vector passes through float16 once, before anything uses it: so a row scores the same while it is
hot, after a restart, and when a segment holds it.

Crash prose of `seal` (and of merging, which differs only in what is taken off the list):

1. the segment file is written, fsynced and renamed: a crash leaves a file that no row names; the
   next start removes it (`recovery`);
2. one transaction lists it, moves the caller's cursor and empties `hot` of its rows: a crash
   before COMMIT leaves step 1, after it everything;
3. the index publishes it: memory only, the next start does it from the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nimad.disk.durable import crash_point
from nimad.embed.base import Embedder
from nimad.errors import Degraded
from nimad.index.blocks import BlockIndex
from nimad.model import now_ms
from nimad.store.records import Records
from nimad.store.transaction import Transaction

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore

SEAL_ROWS = 65_536
"""Rows of one segment that a rebuild writes: bounds its memory to about 130 MB at 256 dims."""


def encode(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """float32[n, dims]: the vectors of texts, rounded to float16."""
    return embedder.embed(texts).astype(np.float16).astype(np.float32)


def encode_if_possible(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32] | None:
    """The same, or None while the embedder is away."""
    try:
        return encode(embedder, texts)
    except Degraded:
        return None


def to_hot(ids: Sequence[int], vectors: NDArray[np.float32]) -> list[tuple[int, bytes]]:
    """Rows of the table `hot`."""
    halves = vectors.astype(np.float16)
    return [(int(i), halves[n].tobytes()) for n, i in enumerate(ids)]


def from_hot(
    rows: Sequence[tuple[int, bytes]], dims: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """ids: int64[n], vectors: float32[n, dims] of rows of `hot`; rows of another size are left."""
    kept = [(i, data) for i, data in rows if len(data) == 2 * dims]
    ids = np.fromiter((i for i, _ in kept), np.int64, len(kept))
    joined = np.frombuffer(b"".join(data for _, data in kept), np.float16)
    return ids, joined.reshape(len(kept), dims).astype(np.float32)


def new_segment_name(records: Records, index: BlockIndex) -> str:
    """The next free name, "seg-00000001" and so on: above every listed and every stray file."""
    taken = [*records.segment_names(), *(path.name for path in index.directory.iterdir())]
    numbers = [int(found[1]) for name in taken if (found := re.match(r"seg-(\d+)", name))]
    return f"seg-{max(numbers, default=0) + 1:08d}"


def seal(
    store: MemoryStore,
    ids: NDArray[np.int64],
    vectors: NDArray[np.float32],
    within: Callable[[Transaction], None] | None = None,
) -> None:
    """Put rows into a new segment; `within` joins its transaction (to move a cursor, say).

    Rows forgotten meanwhile become tombstones, so they never come back.
    """
    with store.maintenance:
        name = new_segment_name(store.records, store.blocks)
        info = store.blocks.write_segment(name, ids, vectors)
        crash_point("seal.written")
        with store.records.exclusive():
            with store.records.write() as tx:
                tx.list_segment(info, now_ms())
                gone = _bury(tx, ids)
                tx.many("DELETE FROM hot WHERE id = ?", [(int(i),) for i in ids])
                if within is not None:
                    within(tx)
            crash_point("seal.listed")
            store.blocks.publish([name])
            store.blocks.trim(ids)
            store.blocks.remove(np.array(gone, np.int64))


def _bury(tx: Transaction, ids: NDArray[np.int64]) -> list[int]:
    """Tombstones for the ids of a segment whose memory is gone; the buried ids."""
    first, last = int(ids.min()), int(ids.max())
    alive = np.fromiter(
        (r[0] for r in tx.rows("SELECT id FROM memories WHERE id BETWEEN ? AND ?", (first, last))),
        np.int64,
    )
    gone = [int(i) for i in np.setdiff1d(ids, alive)]
    tx.many("INSERT OR IGNORE INTO tombstones (id) VALUES (?)", [(i,) for i in gone])
    return gone


def flush(store: MemoryStore) -> int:
    """Seal every hot vector into a segment; the number of rows."""
    with store.maintenance:
        ids, vectors = from_hot(store.records.hot(), store.embedder.dims)
        if not len(ids):
            return 0
        seal(store, ids, vectors)
        return len(ids)


def merge(store: MemoryStore, names: Sequence[str]) -> None:
    """Make one segment of several: forgotten rows are left out, their tombstones go.

    Tombstones laid while it runs stay: the new segment may still hold those rows.
    """
    with store.maintenance:
        buried = np.array(store.records.tombstones(), np.int64)
        held = np.intersect1d(buried, store.blocks.segment_ids(names))
        name = new_segment_name(store.records, store.blocks)
        info = store.blocks.merge_segments(names, name)
        crash_point("merge.written")
        with store.records.write() as tx:
            tx.unlist_segments(names)
            if info.rows:
                tx.list_segment(info, now_ms())
            tx.many("DELETE FROM tombstones WHERE id = ?", [(int(i),) for i in held])
        crash_point("merge.listed")
        # a segment without rows is not listed: it goes with those that it was made of
        store.blocks.publish([name] if info.rows else [], names if info.rows else [*names, name])


def merge_small(store: MemoryStore) -> bool:
    """Merge the smallest segments when there are more than configured; whether it did."""
    names = store.records.rows("SELECT name FROM segments ORDER BY rows, name")
    most = store.config["blocks.merge_segments"]
    if len(names) <= most:
        return False
    merge(store, [name for (name,) in names[: len(names) - most // 2]])
    return True


def repair(store: MemoryStore, limit: int = 1000) -> bool:
    """Encode memories without a vector (a damaged segment, an embedder that was away); some at a
    time, and whether any are left.  Raises Degraded while the embedder is away."""
    with store.maintenance:
        ids = store.lost_vectors[:limit]
        part = store.records.texts_of(ids)
        if part:
            rows = encode(store.embedder, [text for _, text in part])
            numbers = np.array([i for i, _ in part], np.int64)
            if len(part) + store.blocks.stats()["hot"] < store.config["blocks.flush_rows"]:
                _warm(store, numbers, rows)
            else:
                seal(store, numbers, rows)
        done = set(ids)
        with store.records.exclusive():
            store.lost_vectors = [i for i in store.lost_vectors if i not in done]
        return bool(store.lost_vectors)


def _warm(store: MemoryStore, ids: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
    """Put rows among the hot ones; those forgotten meanwhile are left out."""
    with store.records.exclusive():
        alive = np.isin(ids, store.records.ids())
        ids, rows = ids[alive], rows[alive]
        with store.records.write() as tx:
            tx.add_hot(to_hot(ids.tolist(), rows))
        store.blocks.append(ids, rows)
