"""What the index does besides plain search, measured for one size in a process of its own.

Filters, bytes touched, bits compared, and a merge of two halves while questions are asked.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.index.blocks import BlockIndex
from nimad.index.kernels.contract import LANES, WORDS, groups
from nimad.index.kernels.reference import Reference
from nimad.index.params import SegmentInfo
from nimad.index.quantise import Query
from tests.benchmarks import corpus

K, FEW = 10, 60
ASK_SECONDS = 2.0
"""Least time that questions are asked for one percentile [seconds]."""
NICE = 10
"""Of the merging thread while questions are asked; the daemon's yields more (SCHED_IDLE)."""
_LINE = 64
_GROUP = WORDS * LANES * 8

Figures = dict[str, Any]


def life(folder: Path) -> Figures:
    """All figures for the rows in `folder`, whose index is in `folder`/index."""
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    queries = corpus.unit(np.load(folder / "queries.npy"))
    index = BlockIndex(folder / "index", rows.shape[1])
    index.open(["all"])
    figures = {
        "code_bytes": round(index.stats()["resident_bytes"] / max(len(rows), 1), 1),
        "touched_bytes": round(float(np.mean([touched(index, q) for q in queries[:FEW]]))),
        "same_bits": same_bits(index, queries[:FEW]),
        **filtered(index, rows, queries),
    }
    return {**figures, **merged(folder / "halves", rows, queries)}


def filtered(index: BlockIndex, rows: NDArray[Any], queries: corpus.Floats) -> Figures:
    """One row in a hundred is allowed: recall within it, and milliseconds against no filter."""
    rng = np.random.default_rng(1)
    allowed = np.flatnonzero(rng.random(len(rows)) < 0.01)
    others = [np.flatnonzero(rng.random(len(rows)) < 0.01) for _ in range(FEW)]
    for ids in [allowed, *others]:
        ids.flags.writeable = False  # as recall's are: then nothing is copied to be compared
    truth = allowed[corpus.exact(rows[allowed], queries, K)]
    found = np.full((len(queries), K), -1, np.int64)
    for number, query in enumerate(queries):
        ids, _ = index.search(query, K, allowed)
        found[number, : len(ids)] = ids
    return {
        "filter_recall": round(corpus.recall(found, truth), 4),
        "plain_ms": _p50(lambda i: index.search(queries[i], K), len(queries)),
        "filter_ms": _p50(lambda i: index.search(queries[i], K, allowed), len(queries)),
        "first_filter_ms": _p50(lambda i: index.search(queries[i], K, others[i]), FEW),
    }


def _p50(work: Callable[[int], Any], count: int) -> float:
    took = np.empty((3, count))
    for passed in took:
        for number in range(count):
            began = time.perf_counter()
            work(number)
            passed[number] = time.perf_counter() - began
    return round(float(np.median(took.min(axis=0)) * 1000), 4)


def touched(index: BlockIndex, query: corpus.Floats) -> int:
    """Bytes that a question reads, in whole groups and cache lines: blocks, codes of the cells in
    active blocks, codes of the rows in chosen lists, and the rows that are rescored."""
    (sealed,) = index._view.sealed
    space, params, scored = sealed.segment.space, index.params, sealed.segment.meta.scored
    rescored = params.rescored(K, scored) * (-(-space.vectors.shape[1] // _LINE) + 1) * _LINE
    asked = Query.of(query, index.dims)
    if asked is None or not len(space.blocks):
        return space.codes.nbytes + rescored
    form = Reference()
    planes, weights = form.planes(asked.values, space.mean), space.cell_start.astype(np.int64)
    wanted = params.scanned(scored, sealed.segment.meta.cells)
    bounds = params.bounds(wanted, scored, K)
    spans = form._chosen(space, weights, asked.values, planes, params.probes, wanted, bounds)
    active = _active(form, space, asked, params.probes)
    starts = space.block_start.astype(np.int64)
    ranges = [*spans, *np.stack([starts[active], starts[active + 1]], axis=1)]
    codes = sum(groups(int(end)) - int(first) // LANES for first, end in ranges) * _GROUP
    return space.blocks.nbytes + int(codes) + rescored


def _active(form: Reference, space: Any, asked: Query, probes: int) -> NDArray[np.int64]:
    dots, norms = form.dots(space.blocks, np.arange(len(space.blocks)), asked.values)
    nearest: NDArray[np.int64] = np.argsort(-dots / np.sqrt(norms), kind="stable")[:probes]
    return nearest


def same_bits(index: BlockIndex, queries: corpus.Floats) -> bool:
    """Whether numpy's reference, and two threads at once, give the bits that one thread gives."""

    def ask(number: int) -> bytes:
        return b"".join(part.tobytes() for part in index.search(queries[number], K))

    alone = [ask(number) for number in range(len(queries))]
    beside: list[list[bytes]] = [[], []]
    threads = [
        threading.Thread(target=lambda mine=mine: mine.extend(map(ask, range(len(queries)))))
        for mine in beside
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shipped, index._kernels = index._kernels, Reference()
    plain = [ask(number) for number in range(len(queries))]
    index._kernels = shipped
    return beside == [alone, alone] and plain == alone


def merged(folder: Path, rows: NDArray[Any], queries: corpus.Floats) -> Figures:
    """Two halves become one: processor time a memory and memory held; the same again while
    questions are asked; then a twentieth is added, which keeps the codebooks."""
    folder.mkdir()
    index, half, every = BlockIndex(folder, rows.shape[1]), len(rows) // 2, np.arange(len(rows))
    index.write_segment("one", every[:half], rows[:half])
    index.write_segment("two", every[half:], rows[half:])
    index.publish(["one", "two"])
    with _growth() as held:
        learning, _ = _merge(index, ["one", "two"], "both")
    before = _asked(index, queries, lambda: None)
    meanwhile = _asked(index, queries, lambda: _merge(index, ["one", "two"], "again", NICE))
    index.publish(["both"], ["one", "two", "again"])
    more = every[: len(rows) // 20]
    index.write_segment("more", len(rows) + more, rows[more])
    index.publish(["more"])
    keeping, info = _merge(index, ["both", "more"], "all")
    kept = 0 < info.learned < info.rows - len(more) // 2
    return {
        "merge_us": round(learning / max(len(rows), 1) * 1e6, 1),
        "kept_merge_us": round(keeping / max(len(rows), 1) * 1e6, 1) if kept else None,
        "merge_bytes": held[0],
        "p95_before_ms": before,
        "p95_meanwhile_ms": meanwhile,
    }


def _merge(
    index: BlockIndex, names: list[str], into: str, nice: int = 0
) -> tuple[float, SegmentInfo]:
    """The processor time of a merge, in seconds, and what became of it."""
    if nice:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
    began = time.process_time()
    info = index.merge_segments(names, into)
    return time.process_time() - began, info


def _asked(index: BlockIndex, queries: corpus.Floats, work: Callable[[], object]) -> float:
    """The p95 of single questions, in milliseconds, asked while `work` runs, for 30 s at most."""
    worker, took, began = threading.Thread(target=work), [], time.perf_counter()
    worker.start()
    while not took or (
        (worker.is_alive() or time.perf_counter() - began < ASK_SECONDS) and _within(began, 30)
    ):
        for query in queries[:FEW]:
            asked = time.perf_counter()
            index.search(query, K)
            took.append(time.perf_counter() - asked)
        time.sleep(0.01)
    worker.join()
    return round(float(np.percentile(took, 95)) * 1000, 4)


def _within(began: float, seconds: float) -> bool:
    return time.perf_counter() - began < seconds


@contextmanager
def _growth() -> Iterator[list[int]]:
    """The most that the process's anonymous memory grows meanwhile: [bytes], seen each 5 ms."""
    stop, most, first = threading.Event(), [0], _anonymous()

    def watch() -> None:
        while not stop.wait(0.005):
            most[0] = max(most[0], _anonymous() - first)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        stop.set()
        watcher.join()


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024
