"""What `nimactl bench` measures: a nimad of its own on made-up memories, and its board."""

from __future__ import annotations

import os
import platform
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nimad
from nimad import __version__
from nimad.ctl.client import Client
from nimad.ctl.drill import served, write_settings
from nimad.ctl.screen import Progress

STEP_SECONDS = 6.0
"""Time that each kind of request is measured, at most [seconds]."""
IMPORT_SECONDS = 20.0
"""Time in which made-up memories come in, at most [seconds]."""
REST_SECONDS = 5.0
"""Time for idle work before questions and before memory is looked at [seconds]."""
REQUESTS = 300
"""Number of requests of a kind, at most [requests]."""
PAGE = 500
"""Number of memories in one import [memories]."""
STARTS, COMMANDS = 3, 7
"""How often the daemon and `nimactl query` are started."""
CLIENTS = 8
"""Number of clients that remember at once."""
LENGTH = 200
"""Length of a made-up memory [characters]."""
TOLD = """
garden kettle winter river train lake umbrella gate dentist birthday printer backup router invoice
meeting report holiday bicycle recipe soup coffee library concert piano neighbour doctor flight
ticket passport battery sensor camera kitchen window heating meter solar boiler thermostat kernel
update password server branch commit release test failure deadline budget customer contract lawyer
school teacher homework football swimming summer autumn market bread cheese apple tomato basil seeds
likes prefers moved bought sold fixed broke lost found called wrote promised forgot planned visited
yesterday tomorrow monday friday march november morning evening always never often green blue red
"""
WORDS = TOLD.split()
START = (
    "import sys; sys.argv[0] = 'nimactl'; sys.path[:0] = [{path!r}];"
    " from nimad.ctl.start import run; run()"
)


def measure(place: Path, memories: int, progress: Progress) -> dict[str, Any]:
    """All figures of a nimad that lives in a directory while it is measured."""
    settings, state, chance = write_settings(place), place / "state", random.Random(1)
    progress.show("starting a nimad of its own", now=True)
    with served(place, state, settings) as client:
        empty = client.call("status")["memory"]["pss_bytes"]
        progress.show("importing made-up memories", now=True)
        found = import_rate(client, memories, chance)
        time.sleep(REST_SECONDS)
        progress.show("remembering, one after the other", now=True)
        written = client.call("status")["written_bytes"]
        found |= timed("remember", lambda: client.call("remember", text=made_up(chance)))
        if written is not None:
            now = client.call("status")["written_bytes"]
            found["remember_written_bytes"] = round((now - written) / found["remember_count"])
        progress.show(f"remembering, {CLIENTS} clients at once", now=True)
        found["remember_per_second_8_clients"] = rate_together(place / "s")
        time.sleep(REST_SECONDS)
        progress.show("asking", now=True)
        found["memories"] = client.call("status")["memories"]
        found |= timed("query", lambda: client.call("query", text=made_up(chance, 30)))
        progress.show("asking with nimactl", now=True)
        found["nimactl_query_ms"] = median_ms(
            [asked_by_command(place / "s") for _ in range(COMMANDS)]
        )
        time.sleep(REST_SECONDS)
        used = client.call("status")["memory"]["pss_bytes"]
    progress.show("starting it again", now=True)
    times: list[float] = []
    for _ in range(STARTS):
        began = time.perf_counter()
        with served(place, state, settings):
            times.append(time.perf_counter() - began)
    return {**found, "pss_bytes_empty": empty, "pss_bytes": used, "start_ms": median_ms(times)}


def import_rate(client: Client, memories: int, chance: random.Random) -> dict[str, Any]:
    """How fast memories come in."""
    began, done = time.perf_counter(), 0
    while done < memories and (spent := time.perf_counter() - began) < IMPORT_SECONDS:
        page = min(PAGE, memories - done)
        client.call("import", memories=[{"text": made_up(chance)} for _ in range(page)])
        done += page
        spent = time.perf_counter() - began
    return {"imported": done, "import_per_second": round(done / spent)}


def timed(name: str, request: Callable[[], Any]) -> dict[str, Any]:
    """The time of a request, over STEP_SECONDS; of one at least, however slow the board is."""
    times: list[float] = []
    request()  # the first one finds nothing ready
    until = time.monotonic() + STEP_SECONDS
    while not times or (len(times) < REQUESTS and time.monotonic() < until):
        began = time.perf_counter()
        request()
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    p50, p95 = (round(times[len(times) * n // 20], 2) for n in (10, 19))
    return {f"{name}_count": len(times) + 1, f"{name}_p50_ms": p50, f"{name}_p95_ms": p95}


def rate_together(socket: Path) -> int:
    """Memories a second that CLIENTS remember together."""
    counts, until = [0] * CLIENTS, time.monotonic() + STEP_SECONDS

    def work(client: int) -> None:
        chance = random.Random(100 + client)
        with Client(str(socket)) as mine:
            while time.monotonic() < until:
                mine.call("remember", text=made_up(chance))
                counts[client] += 1

    threads = [threading.Thread(target=work, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(sum(counts) / STEP_SECONDS)


def asked_by_command(socket: Path) -> float:
    """Time of `nimactl query`, a process started as the package starts it [seconds]."""
    code = START.format(path=str(Path(nimad.__file__).parents[1]))
    command = [sys.executable, "-I", "-S", "-c", code, "--socket", str(socket), "query", "garden"]
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def median_ms(seconds: list[float]) -> float:
    return round(sorted(seconds)[len(seconds) // 2] * 1000, 1)


def made_up(chance: random.Random, length: int = LENGTH) -> str:
    """Made-up words, and one that hardly any other text has."""
    words = [f"{chance.getrandbits(20):05x}"]
    while sum(map(len, words)) + len(words) < length:
        words.append(chance.choice(WORDS))
    return " ".join(words)


def board(place: Path) -> dict[str, Any]:
    """What the figures depend on; nothing that names this machine."""
    lines = [line.partition(":") for line in _read("/proc/cpuinfo").splitlines()]
    processors = [value.strip() for key, _, value in lines if key.strip() == "model name"]
    return {
        "nimad": __version__,
        "board": _read("/proc/device-tree/model") or next(iter(processors), ""),
        "processors": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "card": _card(place),
        "kernel": os.uname().release,
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _card(place: Path) -> str:
    """The name that its maker gave the device below a directory, and its file system."""
    mounts = [line.split() for line in _read("/proc/self/mountinfo").splitlines()]
    inside = [m for m in mounts if place.resolve().is_relative_to(m[4])]
    mount = max(inside, key=lambda m: len(m[4]), default=None)
    if mount is None:
        return ""
    device = Path("/sys/dev/block", mount[2]).resolve()
    whole = device if (device / "device").exists() else device.parent
    name = _read(str(whole / "device/name")) or _read(str(whole / "device/model"))
    return " ".join(filter(None, (name, mount[mount.index("-") + 1])))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""
