"""The whole job beside what a board could use instead of nimad, in one run: a table and JSON.

    make bench-peers                                       10,000 and 100,000 memories
    make bench-peers BENCH="--sizes 10000 --write"         and into docs/performance.md

Each engine (`tests.benchmarks.whole_job_peers`; nimad through its socket) has a process of its own
and takes and gives lines of JSON.  All embed by `static`, inside what is measured.  The machine is
shared, so engines take turns: additions in rounds of ROUND (what is dirty is flushed between them,
lest one pays for another), starts one after the other, and each question to one engine after the
other.  A time is the best of PASSES (of fewer, where an engine has taken LONG), cpu that of the
whole process, memory that of the process and its children after the last question and a rest.  A
question is made of words of one memory: `found` is the share of questions that have it among the
ten best.  nimad gets `strictness` 0, for its peers never stay silent.  In brackets: how many times
better nimad is; below 1 it is worse.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.disk.durable import size_of
from tests.benchmarks.report import END, machine
from tests.benchmarks.talk import make_talk
from tests.benchmarks.whole_job_peers import PEERS
from tests.benchmarks.whole_path import INSTALLED, PAGE, QUESTIONS, written_by
from tests.process import DaemonProcess

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "<!-- figures: make bench-peers -->"
ALONE, ROUND, PASSES, STARTS = 500, 50, 3, 3
REST_SECONDS = 5.0
LONG = 60.0
"""What timed questions to one engine may take together; then it is asked no more [seconds]."""
COLUMNS = {
    "add_per_s": ("add one, /s", True),
    "add_cpu_ms": ("cpu for one, ms", False),
    "add_written_b": ("written for one, B", False),
    "bulk_per_s": ("add many, /s", True),
    "bulk_cpu_us": ("cpu for one of many, us", False),
    "settle_s": ("settle, s", False),
    "p50_ms": ("question p50, ms", False),
    "p95_ms": ("p95, ms", False),
    "cpu_ms": ("cpu, ms", False),
    "found": ("found", True),
    "rss_mb": ("RSS, MB", False),
    "pss_mb": ("PSS, MB", False),
    "disk_b": ("disk a memory, B", False),
    "start_s": ("first answer after, s", False),
}
"""Each figure: its heading, and whether more of it is better."""


class Nimad:
    """A daemon of its own."""

    def __init__(self, folder: Path) -> None:
        self.daemon = DaemonProcess(folder, environment=INSTALLED)
        self.state = self.daemon.state

    def start(self) -> None:
        self.daemon.spawn()
        while True:
            try:
                self.client = self.daemon.client(600)
                return
            except OSError:
                assert self.daemon.process and self.daemon.process.poll() is None, self.daemon.log()
                time.sleep(0.005)

    def stop(self) -> None:
        self.client.close()
        self.daemon.stop()

    def finish(self) -> None:
        self.daemon.finish()

    @property
    def pid(self) -> int:
        return self.daemon.pid

    def add(self, first: int, memories: Sequence[dict[str, Any]]) -> None:
        if len(memories) == 1:
            self.client.call("remember", memories[0])
        else:
            for at in range(0, len(memories), PAGE):
                self.client.call("import", memories=list(memories[at : at + PAGE]))

    def ask(self, question: str) -> list[int]:
        hits = self.client.call("query", text=question, k=10, strictness=0)["results"]
        return [hit["id"] for hit in hits]

    def settle(self) -> None:
        """What a daemon does in idle moments, at once, for a busy machine has none."""
        self.stop()
        store = MemoryStore.open(self.state, Config())
        maintenance.finish(store)
        store.close()
        self.start()

    def versions(self) -> str:
        return f"Python {sys.version.split()[0]}"


class Peer:
    """One of PEERS, run by the interpreter that has their packages."""

    def __init__(self, folder: Path, name: str, python: Path) -> None:
        self.state, self.log = folder / "state", folder / "log"
        self.state.mkdir()
        self.command = [str(python), "-m", "tests.benchmarks.whole_job_peers", name, self.state]
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
            )

    def call(self, verb: str, given: Any = None) -> Any:
        assert self.process and self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([verb, given]) + "\n")
        self.process.stdin.flush()
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(self.log.read_text())
        return json.loads(line)

    def stop(self) -> None:
        assert self.process and self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)

    def finish(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def add(self, first: int, memories: Sequence[dict[str, Any]]) -> None:
        self.call("add", [first, memories])

    def ask(self, question: str) -> list[int]:
        return [number for number, _ in self.call("ask", question)]

    def settle(self) -> None:
        self.call("settle")

    def versions(self) -> str:
        return str(self.call("versions"))


def family(pid: int) -> list[int]:
    """A process and those that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def resident_mb(pid: int) -> dict[str, float]:
    """RSS and PSS of a process and its children [MB]."""
    sums = {"Rss:": 0, "Pss:": 0}
    for one in family(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()[1:]:
            name, size = line.split()[:2]
            if name in sums:
                sums[name] += int(size)
    return {"rss_mb": round(sums["Rss:"] / 1e3, 1), "pss_mb": round(sums["Pss:"] / 1e3, 1)}


def used(pid: int) -> float:
    """Processor time of a process and its children [seconds]."""
    fields = [Path(f"/proc/{p}/stat").read_text().rpartition(")")[2].split() for p in family(pid)]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def timed(work: Callable[[], Any]) -> float:
    """How many seconds it took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(size: int, folder: Path, python: Path) -> dict[str, Any]:
    """All figures of one size."""
    talk = make_talk(size, QUESTIONS)
    engines: dict[str, Any] = {}
    for number, name in enumerate(("nimad", *PEERS)):
        (place := folder / f"{size}-{number}").mkdir()
        engines[name] = Nimad(place) if name == "nimad" else Peer(place, name, python)
    rows: dict[str, dict[str, Any]] = {name: {} for name in engines}
    try:
        for name, engine in engines.items():
            engine.start()
            rows[name]["version"] = engine.versions()
            os.sync()
            before, many = used(engine.pid), talk.memories[: size - ALONE]
            rows[name]["bulk_per_s"] = round(len(many) / timed(lambda: engine.add(1, many)))  # noqa: B023
            rows[name]["bulk_cpu_us"] = round((used(engine.pid) - before) / len(many) * 1e6)
            rows[name]["settle_s"] = round(timed(engine.settle), 2)
            print(f"  {name}: {rows[name]}", flush=True)
        _add_alone(engines, rows, talk.memories[size - ALONE :], size - ALONE + 1)
        for name, engine in engines.items():
            engine.settle()
            engine.stop()
            rows[name]["disk_b"] = round(size_of(engine.state) / size)
        _start(engines, rows, talk.questions[0])
        _ask(engines, rows, talk.questions, talk.places)
        time.sleep(REST_SECONDS)
        for name, engine in engines.items():
            rows[name] |= resident_mb(engine.pid)
            engine.stop()
    finally:
        for engine in engines.values():
            engine.finish()
    return {"memories": size, "load": round(os.getloadavg()[1], 1), "engines": rows}


def _add_alone(
    engines: dict[str, Any], rows: dict[str, Any], memories: list[dict[str, Any]], first: int
) -> None:
    """One at a time, ROUND to each engine in turn."""
    spent, cpu = dict.fromkeys(engines, 0.0), dict.fromkeys(engines, 0.0)
    written = dict.fromkeys(engines, 0)
    for at in range(0, len(memories), ROUND):
        for name, engine in engines.items():
            os.sync()
            before, worked = written_by(str(engine.pid)), used(engine.pid)
            for place in range(at, at + ROUND):
                spent[name] += timed(lambda: engine.add(first + place, [memories[place]]))  # noqa: B023
            written[name] += written_by(str(engine.pid)) - before
            cpu[name] += used(engine.pid) - worked
    for name in engines:
        rows[name]["add_per_s"] = round(len(memories) / spent[name], 1)
        rows[name]["add_cpu_ms"] = round(cpu[name] / len(memories) * 1000, 2)
        rows[name]["add_written_b"] = round(written[name] / len(memories))


def _start(engines: dict[str, Any], rows: dict[str, Any], question: str) -> None:
    """Seconds from nothing to the first answer; they all run in the end."""
    spent: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(STARTS):
        for name, engine in engines.items():
            if number:
                engine.stop()
            spent[name].append(timed(lambda: (engine.start(), engine.ask(question))))  # noqa: B023
    for name in engines:
        rows[name]["start_s"] = round(min(spent[name]), 3)


def _ask(
    engines: dict[str, Any], rows: dict[str, Any], questions: list[str], places: list[int]
) -> None:
    """Each question to each engine in turn; the first pass tells what is found."""
    found = dict.fromkeys(engines, 0)
    for question, place in zip(questions, places, strict=True):
        for name, engine in engines.items():
            found[name] += place + 1 in engine.ask(question)
    best = {name: [float("inf")] * len(questions) for name in engines}
    before = {name: used(engine.pid) for name, engine in engines.items()}
    spent, asked = dict.fromkeys(engines, 0.0), dict.fromkeys(engines, 0)
    for _ in range(PASSES):
        for number, question in enumerate(questions):
            for name, engine in engines.items():
                if spent[name] > LONG:
                    continue
                took = timed(lambda: engine.ask(question))  # noqa: B023
                best[name][number] = min(best[name][number], took * 1000)
                spent[name], asked[name] = spent[name] + took, asked[name] + 1
    for name, engine in engines.items():
        times, cpu = sorted(best[name])[: asked[name]], used(engine.pid) - before[name]
        rows[name] |= {
            "found": round(found[name] / len(questions), 3),
            "p50_ms": round(times[len(times) // 2], 2),
            "p95_ms": round(times[int(0.95 * (len(times) - 1))], 2),
            "cpu_ms": round(cpu * 1000 / asked[name], 2),
        }


def table(report: Sequence[dict[str, Any]]) -> str:
    """A table a size: a row for each figure, a column for each engine, ratios in brackets."""
    parts = []
    for run in report:
        rows = run["engines"]
        parts.append(f"### The whole job at {run['memories']:,} memories\n")
        parts.append("| | " + " | ".join(rows) + " |\n" + "|---" * (len(rows) + 1) + "|")
        for figure, (heading, more) in COLUMNS.items():
            own = rows["nimad"][figure]
            cells = [f"**{own:,}**"]
            for row in list(rows.values())[1:]:
                ratio = own / max(row[figure], 1e-9) if more else row[figure] / max(own, 1e-9)
                cells.append(f"{row[figure]:,} ({ratio:.2g})")
            parts.append(f"| {heading} | " + " | ".join(cells) + " |")
        versions = "; ".join(row["version"] for row in rows.values())
        parts.append(f"\n{machine()}, load average {run['load']}; {versions}.\n")
    return "\n".join(parts)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--peers", type=Path, required=True, metavar="PYTHON")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--write", action="store_true", help="the table into docs/performance.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nimad-job-") as folder:
        report = [measure(size, Path(folder), given.peers) for size in given.sizes]
    print(table(report))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    if given.write:
        page = ROOT / "docs" / "performance.md"
        head, mark, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{head}{mark}\n\n{table(report)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
