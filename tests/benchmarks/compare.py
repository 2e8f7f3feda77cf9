"""The index beside its peers, in one run, on one thread: a table, JSON and a plot.

    python -m tests.benchmarks.compare                     10,000 and 100,000 memories (5 minutes)
    python -m tests.benchmarks.compare --sizes 1000000     a million (half an hour)

Each engine is built in one process and searched in another; both are pinned to one processor and
told to use one thread.  All get the same unit rows, each question alone.  A question's time is the
best of three passes over all questions, for the machine is shared; p50 and p95 are over questions.
"Resident" is what the process grows by from before the engine is opened to after the last question.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import acceptance, corpus, engines, report
from tests.benchmarks.life import life

ROOT = Path(__file__).resolve().parents[2]
ADDED = 200
SLOW_MS, FEW = 20.0, 60
"""An engine slower than this is asked only so many questions, evenly spread, in one pass."""

Figures = dict[str, Any]


def build(engine: str, size: int, folder: Path) -> Figures:
    """Child process: build an engine in `folder`/index."""
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    unit = corpus.unit(rows.astype(np.float32))
    own = folder / "index"
    own.mkdir()
    seconds, adding = engines.engines(size)[engine].build(unit, unit[:ADDED], own)
    disk = sum(file.stat().st_size for file in own.rglob("*") if file.is_file())
    return {
        "build_us": round(seconds / len(unit) * 1e6, 1),
        "add_us": round(adding * 1e6, 1),
        "disk_bytes": round(disk / len(unit), 1),
    }


def search(engine: str, size: int, folder: Path) -> list[Figures]:
    """Child process: open the engine of `folder`/index and ask it."""
    queries = corpus.unit(np.load(folder / "queries.npy"))
    truth, chat = np.load(folder / "truth.npy"), int(np.load(folder / "chat.npy"))
    peer = engines.engines(size)[engine]
    cold = _cold(peer, folder, queries) if engine == "nimad" else {}
    if module := _MODULES.get(engine.split()[0]):
        importlib.import_module(module)
    before = _resident()
    opened = peer.open(folder / "index", queries.shape[1])
    found = []
    for setting, ask in peer.settings(opened):
        ids, took, picked = _ask(ask, queries)
        found.append(
            {
                "engine": engine,
                "setting": setting,
                "recall": round(corpus.recall(ids, truth[picked]), 4),
                "recall_chat": _chat(ids, truth[picked], picked < chat),
                "p50_ms": round(float(np.percentile(took, 50)), 4),
                "p95_ms": round(float(np.percentile(took, 95)), 4),
                "resident_bytes": round((_resident() - before) / size, 1),
                **cold,
            }
        )
    return found


def _chat(ids: Any, truth: Any, chat: Any) -> float | None:
    return round(corpus.recall(ids[chat], truth[chat]), 4) if chat.any() else None


def _ask(ask: engines.Search, queries: corpus.Floats) -> tuple[Any, Any, Any]:
    slow = engines.timed(lambda: ask(queries[0])) * 1000 > SLOW_MS
    picked = np.arange(0, len(queries), max(len(queries) // FEW, 1) if slow else 1)
    asked = queries[picked]
    ids = np.full((len(asked), engines.K), -1, np.int64)
    for number, query in enumerate(asked):
        mine = ask(query)
        ids[number, : len(mine)] = mine
    took = np.empty((1 if slow else 3, len(asked)))
    for passed in took:
        for number, query in enumerate(asked):
            began = time.perf_counter()
            ask(query)
            passed[number] = time.perf_counter() - began
    return ids, took.min(axis=0) * 1000, picked


def _cold(peer: Any, folder: Path, queries: corpus.Floats) -> Figures:
    """Page faults and bytes read per question when codes are warm and rows are not."""
    for file in (folder / "index").iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    index = peer.open(folder / "index", queries.shape[1])
    _, ask = next(peer.settings(index))
    ask(queries[0])
    faults, read = _faults(), _read()
    some = queries[1:31]
    for query in some:
        ask(query)
    return {
        "cold_faults": round((_faults() - faults) / len(some), 1),
        "cold_bytes": round((_read() - read) / len(some)),
    }


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def _read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])


def _child(step: str, engine: str, size: int, folder: Path) -> Any:
    """Run one step in a process of its own, on one thread of one processor; `life` has them all,
    for it asks and merges at once."""
    every = os.sched_getaffinity(0)
    allowed = every if step == "life" else {max(every)}
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, "--step", step, engine, str(size), str(folder)],
        env={**os.environ, **dict.fromkeys(threads, "1")},
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "killed")
    return json.loads(done.stdout.splitlines()[-1])


_MODULES = {
    "faiss": "faiss",
    "hnswlib": "hnswlib",
    "usearch": "usearch",
    "sqlite-vec": "sqlite_vec",
}


def compare(size: int, only: list[str]) -> Figures:
    """All engines at one size; one that is not installed or fails is named with the reason."""
    everything = corpus.load(size)
    results: list[Figures] = []
    absent: dict[str, str] = {}
    run: Figures = {"size": size, "corpus": everything.source, "results": results}
    with tempfile.TemporaryDirectory(prefix="nimad-bench-") as scratch:
        data = Path(scratch)
        np.save(data / "rows.npy", everything.rows)
        np.save(data / "queries.npy", everything.queries)
        np.save(data / "chat.npy", np.array(everything.chat))
        np.save(data / "truth.npy", corpus.exact(everything.rows, everything.queries, engines.K))
        for engine in engines.engines(size):
            module = _MODULES.get(engine.split()[0])
            if only and not any(engine.startswith(name) for name in only):
                continue
            if module and importlib.util.find_spec(module) is None:
                absent[engine] = "not installed"
                continue
            print(f"{size}: {engine}", file=sys.stderr, flush=True)
            try:
                made = _child("build", engine, size, data)
                results += [{**row, **made} for row in _child("search", engine, size, data)]
                if engine == "nimad":
                    run["life"] = _child("life", engine, size, data)
            except RuntimeError as error:
                absent[engine] = str(error)
            subprocess.run(["rm", "-rf", data / "index"], check=True)
    return {**run, "absent": absent, "acceptance": acceptance.lines(run)}


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the index with its peers.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--only", nargs="+", default=[], help="engines whose names begin like this")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the report")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, engine, size, folder = options.step
        work = {"build": build, "search": search, "life": lambda *given: life(given[-1])}[step]
        print(json.dumps(work(engine, int(size), Path(folder))))
        return 0
    runs = [compare(size, options.only) for size in options.sizes]
    report.write(runs, options.out)
    print(report.table(runs))
    print(report.summary(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
