"""What a backup costs: time, memory and bytes, of a real daemon that takes 50 memories a second.

    python -m tests.benchmarks.backup [MEMORIES]

The memories (default 100,000) have 200 characters of made-up words.  Beside it a copy by SQLite's
own backup, which would have to lie on the disk before it could be packed.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

from nimad.disk.backup_file import BackupReader
from tests.benchmarks.writes import text, written
from tests.process import DaemonProcess

WRITES = 50
"""Memories that are remembered meanwhile [memories per second]."""


def main(memories: int) -> None:
    """Print the figures."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="nimad-backup-", dir="/var/tmp") as name:
        place = Path(name)
        daemon = DaemonProcess(place, "embedder: hash\ngraph.engine: none\n").start()
        try:
            with daemon.client(120) as client:
                for _ in range(0, memories, 500):
                    client.call("import", memories=[{"text": text(chance)} for _ in range(500)])
            time.sleep(6)  # idle work is over
            measure(daemon, place)
        finally:
            daemon.stop()


def processor_time(pid: int) -> float:
    """What a process has had of the processors [seconds]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(daemon: DaemonProcess, place: Path) -> None:
    """Take backups beside a writer."""
    stop, waited = threading.Event(), list[float]()

    def write() -> None:
        chance = random.Random(2)
        with daemon.client() as client:
            while not stop.wait(1 / WRITES):
                began = time.perf_counter()
                client.call("remember", text=text(chance))
                waited.append(time.perf_counter() - began)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(1)
        before, took, bytes_before = daemon.resident(), [], written(daemon.pid)
        waited.clear()
        worked = processor_time(daemon.pid)
        for number in range(5):
            began = time.perf_counter()
            command = [sys.executable, "-m", "nimad.ctl.main", "--socket", str(daemon.socket)]
            subprocess.run([*command, "backup", str(place / f"{number}.tar.gz")], check=True)
            took.append(time.perf_counter() - began)
        worked = processor_time(daemon.pid) - worked
        after, bytes_after = daemon.resident(), written(daemon.pid)
    finally:
        stop.set()
        writer.join()
    size = (place / "0.tar.gz").stat().st_size
    records = (daemon.state / "records.sqlite").stat().st_size
    print(f"backups            {min(took):.2f} to {max(took):.2f} s, nimactl's start included")
    print(f"processor time     {worked / 5:.2f} s a backup, with that of the writes meanwhile")
    print(f"size               {size / 1e6:.1f} MB of {records / 1e6:.1f} MB of records")
    print(f"written            {(bytes_after - bytes_before) / 5 / 1e6:.1f} MB a backup")
    print(f"the daemon's RSS   {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB after")
    print(f"{len(waited)} writes beside   at most {max(waited) * 1e3:.0f} ms")
    began = time.perf_counter()
    with (place / "0.tar.gz").open("rb") as file:
        for _, _, chunks in BackupReader(file, "0").files():
            for _ in chunks:
                pass
    print(f"verified in        {time.perf_counter() - began:.2f} s")
    began = time.perf_counter()
    with (
        closing(sqlite3.connect(daemon.state / "records.sqlite")) as live,
        closing(sqlite3.connect(place / "copy.sqlite")) as copy,
    ):
        live.backup(copy)
    print(f"SQLite's own copy  {time.perf_counter() - began:.2f} s, {records / 1e6:.1f} MB more")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
