"""What a memory costs the disk: bytes, flushes and pages of a real daemon, and the rate.

    python -m tests.benchmarks.writes [--flush-ms MS] [CHECKOUT ...]

Other checkouts, each with its .venv, are measured beside this one, in turns.  Bytes are
`write_bytes` of /proc/PID/io, the WAL's share of rewriting its last page and what idle time folds
included; pages and commits are counted in the WAL.  Bytes do not depend on the load, times do.
With --flush-ms each flush (fsync, fdatasync) takes so much longer, one after the other, as on an SD
card: a library that cc makes is loaded before the C library.  It counts the flushes, too.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]
ONE_BY_ONE = 500
"""Memories of the first measurement [memories]."""
COUNTED = 50
"""Memories whose pages are counted: fewer than make SQLite begin its WAL anew [memories]."""
CLIENTS = 8
SECONDS = 3.0
"""Time for which the clients remember at once [seconds]."""
REST_SECONDS = 6.0
"""Time in which idle work is over [seconds]."""
SLOW_FLUSHES = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
static pthread_mutex_t card = PTHREAD_MUTEX_INITIALIZER;
static volatile long *count;
static int flush(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    pthread_mutex_lock(&card);
    if (!count)
        count = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, open(getenv("FLUSHES"), O_RDWR), 0);
    ++*count;
    usleep(atoi(getenv("FLUSH_US")));
    int result = real(fd);
    pthread_mutex_unlock(&card);
    return result;
}
int fsync(int fd) { return flush(fd, "fsync"); }
int fdatasync(int fd) { return flush(fd, "fdatasync"); }
"""
SYLLABLES = ("ba be bi bo bu da de di do du", "lan tor min gas pel rix son dak")


def text(chance: random.Random) -> str:
    """200 characters of made-up words."""
    begin, end = (part.split() for part in SYLLABLES)
    return " ".join(chance.choice(begin) + chance.choice(end) for _ in range(40))[:200]


def written(pid: int) -> int:
    """`write_bytes` of a process [bytes]."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def frames(wal: Path) -> tuple[bytes, list[tuple[int, bool]]]:
    """The salt of a WAL, and of each frame the page and whether it ends a transaction."""
    data = wal.read_bytes()
    if len(data) < 32:
        return b"", []
    (page,) = struct.unpack(">I", data[8:12])
    found = []
    for at in range(32, len(data) - page - 23, page + 24):
        if data[at + 8 : at + 16] != data[16:24]:
            break
        number, size = struct.unpack(">II", data[at : at + 8])
        found.append((number, size != 0))
    return data[16:24], found


def pages(state: Path, before: tuple[bytes, list[Any]]) -> dict[str, float]:
    """By table: pages in the WAL since `before`, for each of COUNTED memories; and commits."""
    salt, now = frames(state / "records.sqlite-wal")
    new = now[len(before[1]) if before[0] == salt else 0 :]
    with closing(sqlite3.connect(f"file:{state}/records.sqlite?mode=ro", uri=True)) as records:
        names = dict(records.execute("SELECT pageno, name FROM dbstat"))
    tables = Counter(names.get(number, "other") for number, _ in new)
    found = {
        "commits": sum(ends for _, ends in new),
        "pages": len(new),
        **dict(tables.most_common()),
    }
    return {name: round(number / COUNTED, 2) for name, number in found.items()}


def slow_flushes(place: Path, milliseconds: float) -> dict[str, str]:
    """What makes the flushes of a process slow, as its environment; they are counted in a file."""
    (place / "flushes.c").write_text(SLOW_FLUSHES)
    (place / "flushes").write_bytes(bytes(8))
    library = place / "flushes.so"
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(place / "flushes.c"), "-ldl"]
    subprocess.run(command, check=True)
    return {
        "LD_PRELOAD": str(library),
        "FLUSHES": str(place / "flushes"),
        "FLUSH_US": str(int(milliseconds * 1000)),
    }


def flushes(place: Path) -> int:
    """How many there were so far, with `slow_flushes`; else none."""
    file = place / "flushes"
    return int.from_bytes(file.read_bytes(), "little") if file.exists() else 0


def measure(flush_ms: float) -> dict[str, Any]:
    """All figures of the checkout that is imported."""
    from tests.process import DaemonProcess  # of the checkout that is measured

    place = Path(tempfile.mkdtemp(prefix="nimad-writes-", dir="/var/tmp"))
    slow = slow_flushes(place, flush_ms) if flush_ms else {}
    daemon = DaemonProcess(place, environment=slow).start()
    chance, found = random.Random(1), dict[str, Any]()
    try:
        with daemon.client() as client:
            begun = written(daemon.pid)
            client.call("import", memories=[{"text": text(chance)} for _ in range(500)])
            time.sleep(REST_SECONDS)
            found["import_bytes"] = (written(daemon.pid) - begun) / 500
            client.call("remember", text=text(chance))
            before = frames(daemon.state / "records.sqlite-wal")
            for _ in range(COUNTED):
                client.call("remember", text=text(chance))
            found["pages"] = pages(daemon.state, before)
            begun, times, flushed = written(daemon.pid), [], flushes(place)
            for _ in range(ONE_BY_ONE):
                times.append(time.perf_counter())
                client.call("remember", text=text(chance))
            times.append(time.perf_counter())
            found["bytes"] = (written(daemon.pid) - begun) / ONE_BY_ONE
            found["flushes"] = (flushes(place) - flushed) / ONE_BY_ONE
            took = sorted(later - one for one, later in pairwise(times))
            found["p50_ms"], found["p95_ms"] = (took[len(took) * n // 20] * 1e3 for n in (10, 19))
            time.sleep(REST_SECONDS)
            found["bytes_after_a_rest"] = (written(daemon.pid) - begun) / ONE_BY_ONE
        found |= together(daemon, place)
    finally:
        daemon.stop()
        shutil.rmtree(place)
    return found


def together(daemon: Any, place: Path) -> dict[str, float]:
    """Bytes, flushes and rate while CLIENTS remember at once."""
    counts, begun, flushed = [0] * CLIENTS, written(daemon.pid), flushes(place)
    until = time.perf_counter() + SECONDS

    def work(number: int) -> None:
        chance = random.Random(number)
        with daemon.client() as client:
            while not counts[number] or time.perf_counter() < until:
                client.call("remember", text=text(chance))
                counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(counts)
    return {
        "together_bytes": (written(daemon.pid) - begun) / total,
        "together_flushes": (flushes(place) - flushed) / total,
        "rate": total / SECONDS,
    }


def main() -> None:
    """Print the figures of this checkout and others."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--flush-ms", type=float, default=0.0)
    parser.add_argument("--child", type=Path)
    parser.add_argument("checkouts", nargs="*", type=Path)
    options = parser.parse_args()
    if options.child:
        sys.path[0] = str(options.child)
        print(json.dumps(measure(options.flush_ms)))
        return
    rows = (
        ("remember, one client [bytes]", "bytes"),
        ("the same, after a rest [bytes]", "bytes_after_a_rest"),
        (f"remember, {CLIENTS} clients [bytes]", "together_bytes"),
        ("import of 500, after a rest [bytes]", "import_bytes"),
        ("remember, one client [flushes]", "flushes"),
        (f"remember, {CLIENTS} clients [flushes]", "together_flushes"),
        (f"remember, {CLIENTS} clients [1/s]", "rate"),
        ("remember, one client, p50 [ms]", "p50_ms"),
        ("remember, one client, p95 [ms]", "p95_ms"),
    )
    for checkout in [*options.checkouts, HERE]:
        python = checkout / ".venv" / "bin" / "python"
        command = [str(python), str(Path(__file__).resolve()), "--child", str(checkout.resolve())]
        command += ["--flush-ms", str(options.flush_ms)]
        done = subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        print(f"{checkout}")
        for what, name in rows:
            print(f"  {what:40} {found[name]:10,.2f}")
        for table, number in found["pages"].items():
            print(f"  a memory: {table:29} {number:11.2f}")


if __name__ == "__main__":
    main()
