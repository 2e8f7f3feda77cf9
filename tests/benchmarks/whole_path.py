"""The whole path, socket in to socket out, of a real daemon: start, query, memory; bars and JSON.

    python -m tests.benchmarks.whole_path                        1,000 to 100,000 memories
    python -m tests.benchmarks.whole_path --sizes 5882 --json F
    python -m tests.benchmarks.whole_path --sizes 1000 10000 100000 1000000 --json F --svg G
    python -m tests.benchmarks.whole_path --drawn F --svg G       draws an earlier JSON again

Memories are made-up talk (`tests.benchmarks.talk`), given by `import`; then what a daemon does
in idle moments is done.  Measured on a second start: seconds to the first answer, PSS before use
and after 200 queries and 200 calls of `related`, the time of queries by one client and by two,
and by the daemon's own account (`explain`) the share of each step.  Each question is asked once
for nothing; a time is the best of three passes, for the machine is shared.  Of a store that is too
large to be scored whole, `overlap` tells which share of the ten best are those of scoring it whole.
At the end a table, and with `--svg` a picture with logarithmic scales, show what grows with the
size: `written_b` is what reaches the disk of a memory while they are imported, `remember_b` of one
that comes alone, `disk_b` what it takes in the end, all in bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.disk.durable import size_of
from nimad.model import Filter, Memory
from nimad.recall.ranking import Recall
from nimad.recall.weights import DEFAULT
from tests.benchmarks.curve import draw
from tests.benchmarks.talk import make_talk
from tests.client import Client
from tests.process import DaemonProcess

QUESTIONS, PASSES, PAGE = 200, 3, 500
INSTALLED = {"PYTHONDONTWRITEBYTECODE": ""}
"""A package brings its modules compiled; a development shell may forbid keeping them."""
BARS = {
    "start_s": {100_000: 1.0, 1_000_000: 1.5},
    "p50_ms": {5_882: 1.5, 10_000: 1.5, 100_000: 8.0, 1_000_000: 5.0},
    "blocks_ms": {100_000: 0.3},
    "pss_after_mb": {10_000: 60.0, 100_000: 75.0, 1_000_000: 150.0},
    "overlap": {100_000: 0.995, 1_000_000: 0.995},
}
"""The bars by size: see docs/performance.md."""
GROWING = ("p50_ms", "pss_after_mb", "start_s", "disk_b", "written_b", "remember_b")


def measure(size: int) -> dict[str, Any]:
    """All figures of one size."""
    talk = make_talk(size, QUESTIONS)
    with tempfile.TemporaryDirectory(prefix="nimad-path-") as folder:
        daemon = DaemonProcess(Path(folder), environment=INSTALLED)
        try:
            imported, written = _fill(daemon, talk.memories)
            disk = size_of(daemon.state)
            started = _start(daemon)
            before = pss_mb(daemon.pid)
            with daemon.client(60) as client:
                figures = _asked(client, talk.questions)
                for number in range(1, 201):
                    client.call("related", id=number)
            figures |= _two(daemon, talk.questions)
            time.sleep(5)
            after = pss_mb(daemon.pid)
            daemon.stop()
            figures |= _overlap(daemon.state, talk.questions)
            alone = _written_alone(daemon.state, talk.memories[:100])
        finally:
            daemon.finish()
    return {
        "memories": size,
        "import_s": round(imported, 2),
        "written_b": round(written / size),
        "remember_b": alone,
        "disk_b": round(disk / size),
        "start_s": round(started, 3),
        "pss_start_mb": before,
        "pss_after_mb": after,
        **figures,
    }


def _fill(daemon: DaemonProcess, memories: Sequence[dict[str, Any]]) -> tuple[float, int]:
    """Import everything, do what waits for idle moments; seconds of the import, and bytes that it
    wrote."""
    daemon.start()
    with daemon.client(120) as client:
        began = time.perf_counter()
        for first in range(0, len(memories), PAGE):
            client.call("import", memories=list(memories[first : first + PAGE]))
        took = time.perf_counter() - began
        written = written_by(str(daemon.pid))
    daemon.stop()
    store = MemoryStore.open(daemon.state, Config())
    maintenance.finish(store)  # a busy machine is never idle
    store.close()
    return took, written


def _written_alone(state: Path, memories: Sequence[dict[str, Any]]) -> int:
    """Bytes that reach the disk for a memory that comes alone."""
    store = MemoryStore.open(state, Config())
    before = written_by("self")
    for record in memories:
        store.remember(Memory(**record))
    written = written_by("self") - before
    store.close()
    return round(written / len(memories))


def written_by(process: str) -> int:
    """What a process has sent to the disk [bytes]."""
    found = re.search(r"^write_bytes: (\d+)", Path(f"/proc/{process}/io").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def _start(daemon: DaemonProcess) -> float:
    """Seconds from nothing to the first answer."""
    began = time.perf_counter()
    daemon.spawn()
    while True:
        try:
            with daemon.client() as client:
                client.call("ping")
            return time.perf_counter() - began
        except OSError:
            assert daemon.process is not None
            if daemon.process.poll() is not None:
                raise RuntimeError(daemon.log()) from None
            time.sleep(0.005)


def _asked(client: Client, questions: Sequence[str]) -> dict[str, Any]:
    """p50 and p95 of one client, the first time and later, and the share of each step."""
    first = _pass(client, questions)
    best = [
        min(times) for times in zip(*(_pass(client, questions) for _ in range(PASSES)), strict=True)
    ]
    steps: dict[str, list[float]] = {}
    for question in questions:
        for name, spent in client.call("query", text=question, explain=True)["timings"].items():
            steps.setdefault(name, []).append(spent)
    return {
        "first_p50_ms": _share(first, 0.5),
        "p50_ms": _share(best, 0.5),
        "p95_ms": _share(best, 0.95),
        "steps_ms": {name: round(statistics.median(spent), 3) for name, spent in steps.items()},
    }


def _overlap(state: Path, questions: Sequence[str]) -> dict[str, float]:
    """Which share of the ten best are those of scoring every memory."""
    store = MemoryStore.open(state, Config())
    now = 1_700_000_000_000
    try:
        every = replace(DEFAULT, exact_rows=1 << 40)
        whole = Recall(store.records, lambda: (store.blocks, store.embedder), every)
        shares = []
        for question in questions:
            asked = (question, 10, "hybrid", Filter(), now)
            best = {hit.memory.id for hit in whole.query(*asked)}
            if best:
                found = {hit.memory.id for hit in store.recall.query(*asked)}
                shares.append(len(best & found) / len(best))
        return {"overlap": round(statistics.mean(shares), 4)}
    finally:
        store.close()


def _pass(client: Client, questions: Sequence[str]) -> list[float]:
    times = []
    for question in questions:
        began = time.perf_counter()
        client.call("query", text=question)
        times.append((time.perf_counter() - began) * 1000)
    return times


def _two(daemon: DaemonProcess, questions: Sequence[str]) -> dict[str, float]:
    """Queries a second of one client, and of two at once."""

    def ask() -> None:
        with daemon.client(60) as client:
            _pass(client, questions)

    rates = {}
    for name, count in (("one_per_s", 1), ("two_per_s", 2)):
        askers = [threading.Thread(target=ask) for _ in range(count)]
        began = time.perf_counter()
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        rates[name] = round(count * len(questions) / (time.perf_counter() - began), 1)
    return rates


def pss_mb(pid: int) -> float:
    """Proportional set size [MB]."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    raise RuntimeError("the kernel tells no PSS")


def _share(times: Sequence[float], share: float) -> float:
    return round(sorted(times)[int(share * (len(times) - 1))], 3)


def judged(figures: dict[str, Any]) -> list[str]:
    """A line for each bar of this size: met or not."""
    flat = {**figures, **figures["steps_ms"]}
    lines = []
    for name, sizes in BARS.items():
        if (bar := sizes.get(figures["memories"])) is not None:
            least = name == "overlap"
            met = flat[name] >= bar if least else flat[name] <= bar
            side, word = "at least" if least else "at most", "met" if met else "MISSED"
            lines.append(f"  {name} {flat[name]:g} ({side} {bar:g}): {word}")
    return lines


def growth(report: Sequence[dict[str, Any]]) -> str:
    """A table: a line for each size, a column for each figure of GROWING."""
    head = f"{'memories':>12}" + "".join(f"{name:>14}" for name in GROWING)
    lines = [
        f"{figures['memories']:>12,}" + "".join(f"{figures[name]:>14g}" for name in GROWING)
        for figures in report
    ]
    return "\n".join([head, *lines])


def picture(report: Sequence[dict[str, Any]]) -> str:
    """SVG of the same: powers of ten on both sides."""
    curves = {
        name: [(math.log10(f["memories"]), math.log10(max(f[name], 1e-3))) for f in report]
        for name in GROWING[:5]
    }
    values = [y for curve in curves.values() for _, y in curve]
    across = range(math.floor(math.log10(report[0]["memories"])), 8)  # names stand at the right
    up = range(math.floor(min(values)), math.ceil(max(values)) + 1)
    return draw(curves, {}, across, up, ("memories", "ms, MB, s, bytes a memory"), powers=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE")
    parser.add_argument("--drawn", type=Path, metavar="FILE", help="a JSON; nothing is measured")
    given = parser.parse_args()
    report = json.loads(given.drawn.read_text()) if given.drawn else []
    for size in [] if given.drawn else given.sizes:
        figures = measure(size)
        report.append(figures)
        print(f"{size:,} memories")
        for name, value in figures.items():
            print(f"  {name:14} {value}")
        print("\n".join(judged(figures)), flush=True)
    print(growth(report))
    if given.svg:
        given.svg.write_text(picture(report))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
