"""The hypervectors of a source become compact: part of the stage `encoded`, before linking.

Rows are read, coded and dropped a few at a time, so memory does not depend on how many there are:
what is held are the sample (float16) or the decoded directions, one step's rows, and coded rows for
one file.  Which rows are due is told by the files: those of memories that are in none.

Crash prose: see core/hypervectors.  Rows that were coded but not sealed are coded again, and what a
crash took of the learning is learned anew; what is listed is never converted twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nimad.dense.encoder import code, for_items
from nimad.dense.spectrum import Shape
from nimad.dense.training import STEP_VALUES, Learned, learn
from nimad.dense.vectors import Coded, joined
from nimad.disk.durable import crash_point
from nimad.legacy.source import DenseRows
from nimad.migrate.run import Run
from nimad.store import hypervector_files, sources
from nimad.store.hypervector_files import Item
from nimad.store.records import Records
from nimad.store.transaction import Transaction

FILE_BYTES = 16 << 20
"""A file is sealed at this size of coded rows, which are in memory until then."""


def convert(run: Run) -> Iterator[None]:
    """Convert what is due, a few hypervectors at a time."""
    dense = run.graph().dense()
    if dense is None:
        return
    yield
    shape = Shape.of(dense.dimension, dense.block_size)
    keys, ids = memories_of(run.store.records, run.source_id, dense)
    files, records = run.store.dense.files, run.store.records
    due = ~np.isin(ids, files.ids(run.source_id))
    done = len(ids) - int(np.count_nonzero(due))
    sources.change(records, run.source_id, total_dense=len(keys), converted=done)
    yield
    keys, ids = keys[due], ids[due]
    if len(keys):
        known = (each for each in files.rows(run.source_id) if each.file.shape == shape)
        learned = next((Learned(each.basis, each.file.plan) for each in known), None)
        if learned is None:
            learned = yield from learn(shape, lambda picks: dense.rows(keys[picks]), len(keys))
        yield from _rows(run, dense, learned, keys, ids)
    yield from _items(run, dense, shape)
    run.store.dense.whole_again()
    if len(keys):
        source, size = run.source(), hypervector_files.bytes_of(records, run.source_id)
        items = len(hypervector_files.items(records, source.id))
        smaller = 4 * shape.dimension * (source.converted + items) / max(1, size)
        run.log.info(
            f"{source.name}: {source.converted} hypervectors of {shape.dimension} dimensions"
            f" converted, {smaller:.1f} times smaller than float32 ({size / 1e6:.1f} MB)"
        )


def memories_of(
    records: Records, source: int, dense: DenseRows
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The keys of hypervectors whose rows have become memories, and the memories' ids: int64[n]
    each, by key."""
    keys = dense.keys()
    found = sources.memory_ids(records, source, keys.tolist())
    ids = np.array([found.get(key, 0) for key in keys.tolist()], np.int64)
    return keys[ids > 0], ids[ids > 0]


def _rows(
    run: Run, dense: DenseRows, learned: Learned, keys: NDArray[np.int64], ids: NDArray[np.int64]
) -> Iterator[None]:
    quick = Learned(learned.basis.in_memory(), learned.plan)
    parts: list[Coded] = []
    page, held = max(1, STEP_VALUES // learned.plan.shape.size), 0
    for first in range(0, len(keys), page):
        some = slice(first, first + page)
        parts.append(code(quick, ids[some], dense.rows(keys[some])))
        held += parts[-1].bytes
        if held >= FILE_BYTES or first + page >= len(keys):
            _seal(run, learned, joined(parts), int(keys[some][-1]))
            parts, held = [], 0
        yield


def _seal(run: Run, learned: Learned, rows: Coded, last: int) -> None:
    def move_cursor(tx: Transaction, number: int) -> None:
        sources.update(tx, run.source_id, dense_cursor=last)
        sources.advance(tx, run.source_id, converted=number, total_dense=number - len(rows))

    run.store.dense.seal(run.source_id, "rows", learned, rows, move_cursor)
    crash_point("migrate.converted")


def _items(run: Run, dense: DenseRows, shape: Shape) -> Iterator[None]:
    """Fillers and roles become codebooks: those that are not there yet."""
    known = hypervector_files.items(run.store.records, run.source_id)
    have = {(item.kind, item.name) for item in known}
    number = max((item.number for item in known), default=0)
    learned, parts, new, held = for_items(shape), list[Coded](), list[Item](), 0
    for kind, name, vector in dense.items():
        if (kind, name) in have or vector.shape != (shape.dimension,):
            continue
        number += 1
        parts.append(code(learned, np.array([number]), vector[None]))
        new.append(Item(number, kind, name))
        held += parts[-1].bytes
        if held >= FILE_BYTES:
            _seal_items(run, learned, joined(parts), new)
            parts, new, held = [], [], 0
        yield
    if parts:
        _seal_items(run, learned, joined(parts), new)


def _seal_items(run: Run, learned: Learned, rows: Coded, items: list[Item]) -> None:
    def name_them(tx: Transaction, _: int) -> None:
        hypervector_files.add_items(tx, run.source_id, items)

    run.store.dense.seal(run.source_id, "items", learned, rows, name_them)
    crash_point("migrate.codebook")
