"""How fast a legacy store comes in, and what whoever asks meanwhile notices of it.

    python -m tests.benchmarks.migration                  50,000 memories (about two minutes)
    python -m tests.benchmarks.migration --memories 5000

Three runs, each through a real daemon and its socket, on a fresh state directory:

full         attach to verified, nobody asks
incremental  the same in idle time, nobody asks: at most 1.3 times as long
asked        incremental with no wait for quiet (`migration.idle_seconds: 0`), while a client asks
             five questions a second: their p95 at most twice that of the same questions afterwards

What else the machine does must not hold the incremental runs up, so `migration.max_load` and
`max_pressure` are off.

The time of a stage is what passes until the status shows the next one (looked at every 50 ms), so
stages shorter than that are not told apart.  Bars are those of the project; exit code 1 when one is
missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from nimad.legacy.snapshot import take_snapshot
from tests.benchmarks import legacy
from tests.process import DaemonProcess

ROOT = Path(__file__).resolve().parents[2]
LOOK = 0.05
"""Between two looks at the status [seconds]."""
PER_SECOND = 5
ALONE = ""  # DaemonProcess says so
NEVER_QUIET = "migration: {idle_seconds: 0}\n"
AFTERWARDS = 100
"""Questions asked of the idle daemon."""
STAGES = {"copying": "copied", "encoding": "encoded", "linking": "linked", "verifying": "verified"}
BARS = {"rows_per_second": 4000, "incremental_ratio": 1.3, "p95_ratio": 2.0}

Figures = dict[str, Any]


def attach(daemon: DaemonProcess, source: Path, strategy: str) -> float:
    """Hand a snapshot over, as nimactl does; when it was handed over [seconds]."""
    with take_snapshot(source) as taken, daemon.client(timeout=600) as client:
        began = time.perf_counter()
        ident = client.send_with(
            [taken.fd],
            "migrate.attach",
            path=taken.origin,
            kind=taken.kind,
            sha256=taken.digest,
            size=taken.size_bytes,
            strategy=strategy,
        )
        reply = client.reply()
        assert reply["id"] == ident and "error" not in reply, reply
        return began


def follow(daemon: DaemonProcess, began: float) -> Figures:
    """Wait for the end; the seconds of the whole and of each stage."""
    stages = {"attached": time.perf_counter() - began}
    last, since = "copied", time.perf_counter()
    with daemon.client() as client:
        while True:
            (source,) = client.call("migrate.status")["sources"]
            now = time.perf_counter()
            assert source["state"] not in ("failed", "paused"), source
            if (stage := STAGES.get(source["state"], last)) != last:
                stages[last], last, since = now - since, stage, now
            if source["state"] == "verified":
                stages[last] = now - since
                break
            time.sleep(LOOK)
    seconds = now - began
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": processor_seconds(daemon.pid),
        "rows_per_second": round(source["total"] / seconds),
        "shares": {name: round(took / seconds, 3) for name, took in stages.items()},
    }


def processor_seconds(pid: int) -> float:
    """What a process has computed since its start: on a shared machine the steadier figure."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return round(sum(map(int, times)) / os.sysconf("SC_CLK_TCK"), 2)


def ask(daemon: DaemonProcess, questions: list[str], stop: threading.Event) -> list[float]:
    """One question each fifth of a second until they are through or it is over: milliseconds."""
    took = []
    with daemon.client() as client:
        due = time.perf_counter()
        for text in questions:
            if stop.wait(max(0.0, due - time.perf_counter())):
                break
            began = time.perf_counter()
            client.call("query", {"text": text})
            took.append((time.perf_counter() - began) * 1000)
            due += 1 / PER_SECOND
    return took


def percentiles(took: list[float]) -> Figures:
    cuts = statistics.quantiles(took, n=100)
    return {"asked": len(took), "p50_ms": round(cuts[49], 2), "p95_ms": round(cuts[94], 2)}


def migrate(source: Path, strategy: str, config: str) -> Figures:
    """One run without a client."""
    with tempfile.TemporaryDirectory(prefix="nimad-bench-") as place:
        daemon = DaemonProcess(Path(place), config).start()
        try:
            return follow(daemon, attach(daemon, source, strategy))
        finally:
            daemon.stop()


def migrate_asked(source: Path) -> Figures:
    """The run with a client, and the same questions when all is done."""
    asked: list[float] = []
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="nimad-bench-") as place:
        daemon = DaemonProcess(Path(place), NEVER_QUIET).start()
        try:
            began = attach(daemon, source, "incremental")
            every = legacy.questions(10_000)
            client = threading.Thread(target=lambda: asked.extend(ask(daemon, every, over)))
            client.start()
            try:
                figures = follow(daemon, began)
            finally:
                over.set()
                client.join()
            time.sleep(3)  # upkeep
            calm = ask(daemon, every[:AFTERWARDS], threading.Event())
        finally:
            daemon.stop()
    return {**figures, "meanwhile": percentiles(asked), "idle": percentiles(calm)}


def measure(memories: int) -> Figures:
    """All runs, and what the bars are compared with."""
    with tempfile.TemporaryDirectory(prefix="nimad-bench-") as place:
        source = Path(place) / "graph.sqlite"
        legacy.create(source, memories)
        runs = {}
        for name in ("full", "incremental", "asked"):
            print(f"migration: {name}", file=sys.stderr, flush=True)
            runs[name] = migrate_asked(source) if name == "asked" else migrate(source, name, ALONE)
        size = source.stat().st_size
    asked = runs["asked"]
    return {
        "memories": memories,
        "source_bytes": size,
        "processors": len(os.sched_getaffinity(0)),
        "runs": runs,
        "compared": {
            "rows_per_second": runs["full"]["rows_per_second"],
            "incremental_ratio": round(runs["incremental"]["seconds"] / runs["full"]["seconds"], 2),
            "p95_ratio": round(asked["meanwhile"]["p95_ms"] / asked["idle"]["p95_ms"], 2),
        },
    }


def missed(compared: Figures) -> list[str]:
    """The bars that were not reached."""
    low = compared["rows_per_second"] < BARS["rows_per_second"]
    over = [name for name in ("incremental_ratio", "p95_ratio") if compared[name] > BARS[name]]
    return ["rows_per_second"] * low + over


def table(figures: Figures) -> str:
    lines = [
        f"{figures['memories']:,} memories, {figures['source_bytes'] / 1e6:.0f} MB,"
        f" {figures['processors']} processors",
        "",
        "| run | seconds | CPU s | memories/s | attached | copied | encoded | linked | verified |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, run in figures["runs"].items():
        stages = ("attached", *STAGES.values())
        shares = " | ".join(f"{run['shares'].get(stage, 0):.0%}" for stage in stages)
        lines.append(
            f"| {name} | {run['seconds']} | {run['cpu_seconds']} |"
            f" {run['rows_per_second']:,} | {shares} |"
        )
    asked, compared = figures["runs"]["asked"], figures["compared"]
    lines += [
        "",
        f"Queries meanwhile: p50 {asked['meanwhile']['p50_ms']} ms, p95"
        f" {asked['meanwhile']['p95_ms']} ms ({asked['meanwhile']['asked']} asked); afterwards: p50"
        f" {asked['idle']['p50_ms']} ms, p95 {asked['idle']['p95_ms']} ms.",
        "",
        f"full: {compared['rows_per_second']:,} memories/s, at least {BARS['rows_per_second']:,}.",
        f"incremental: {compared['incremental_ratio']} times full, at most"
        f" {BARS['incremental_ratio']}.",
        f"p95 meanwhile: {compared['p95_ratio']} times idle, at most {BARS['p95_ratio']}.",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure migrations.")
    parser.add_argument("--memories", type=int, default=50_000)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    figures = measure(options.memories)
    figures["missed"] = missed(figures["compared"])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))
    if figures["missed"]:
        print("missed: " + ", ".join(figures["missed"]))
    return 1 if figures["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
