"""What a checkpoint of long hypervectors costs the daemon: memory above idle, and time.

    python -m tests.benchmarks.dense_memory [--rows 2000] [--dimension 50000]

A checkpoint (400 MB by default) is written, migrated by a real daemon, and the daemon's
proportional set size (PSS) is looked at ten times a second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.legacy.checkpoints import episode, save, tensor
from tests.process import DaemonProcess

MB = 1e6


def pss(pid: int) -> tuple[int, int]:
    """All, and the anonymous part of, a process's proportional set size [bytes]."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        found[name] = int(value) * 1024
    return found["Pss:"], found["Pss_Anon:"]


def write(path: Path, rows: int, dimension: int) -> None:
    """A checkpoint in the flat form: 20 shared directions and noise."""
    rng = np.random.default_rng(1)
    shared = rng.standard_normal((20, dimension)).astype(np.float32)
    vectors = rng.standard_normal((rows, dimension)).astype(np.float32)
    for number in range(rows):
        vectors[number] += shared[rng.choice(20, 4, replace=False)].sum(axis=0)
    save(path, {"vectors": tensor(vectors), "metadata": [episode(n) for n in range(rows)]})


def main(arguments: list[str] | None = None) -> int:
    """The figures, to standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--dimension", type=int, default=50_000)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="nimad-bench-") as folder:
        path = Path(folder) / "memories.pt"
        code = f"from tests.benchmarks.dense_memory import *; write(Path({str(path)!r}),"
        subprocess.run([sys.executable, "-c", f"{code} {args.rows}, {args.dimension})"], check=True)
        daemon = DaemonProcess(Path(folder)).start()
        try:
            _measure(daemon, path)
        finally:
            daemon.finish()
    return 0


def _measure(daemon: DaemonProcess, path: Path) -> None:
    time.sleep(1)
    idle = pss(daemon.pid)
    command = [sys.executable, "-m", "nimad.ctl.main", "--socket", str(daemon.socket), "--json"]
    began = time.monotonic()
    client = subprocess.Popen(
        [*command, "migrate", str(path), "--strategy", "full", "--wait"], stdout=subprocess.DEVNULL
    )
    most, anonymous = idle
    while client.poll() is None:
        now = pss(daemon.pid)
        most, anonymous = max(most, now[0]), max(anonymous, now[1])
        time.sleep(0.1)
    (source,) = daemon.call("migrate.status")["sources"]
    size = sum(file.stat().st_size for file in (daemon.state / "dense").iterdir())
    print(
        f"{path.stat().st_size / MB:.0f} MB, {source['converted']} of {source['total_dense']}"
        f" converted, {source['state']}, {path.stat().st_size / size:.1f} times smaller"
    )
    print(
        f"idle {idle[0] / MB:.0f} MB, most {most / MB:.0f} MB:"
        f" {(most - idle[0]) / MB:.0f} MB above ({(anonymous - idle[1]) / MB:.0f} MB anonymous)"
    )
    print(f"{time.monotonic() - began:.0f} s from attaching to verified")


if __name__ == "__main__":
    sys.exit(main())
