"""The command bench: what nimad costs on this board, in a minute, as a table to paste.

A nimad of its own is measured, on made-up memories in a private directory, which goes afterwards:
neither the user's memories nor the system's daemon are touched.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nimad
from nimad import __version__
from nimad.ctl.arguments import Commands, add_command, number
from nimad.ctl.client import Client
from nimad.ctl.drill import served, write_settings
from nimad.ctl.screen import Progress, Screen
from nimad.errors import UsageError
from nimad.human import size

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


def register(commands: Commands) -> None:
    """Add the command of this file."""
    bench = add_command(
        commands,
        "bench",
        run_bench,
        "measure what nimad costs on this board, in a minute, as a table to paste",
        "A nimad of its own is measured, with made-up memories in a private directory that is"
        " removed afterwards; yours are not touched. Nothing in the table names this machine, its"
        " users or its network.",
    )
    bench.add_argument(
        "--in",
        dest="place",
        metavar="DIRECTORY",
        default="/var/tmp",
        help="a directory on the card or disk that is to be measured; default /var/tmp",
    )
    bench.add_argument(
        "--memories",
        metavar="N",
        type=number(100, 100_000),
        default=10_000,
        help="made-up memories to ask, fewer where 20 seconds do not do for them; default 10000",
    )


def run_bench(args: argparse.Namespace, client: Client, screen: Screen) -> int:
    """`nimactl bench`."""
    try:
        place = Path(tempfile.mkdtemp(prefix="nimad-bench-", dir=args.place))
    except OSError as error:
        raise UsageError(detail=f"{args.place} cannot be used ({error.strerror}).") from None
    for ends in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ends, signal.default_int_handler)  # the directory goes then, too
    try:
        with Progress(screen.progress) as progress:
            found = {**_machine(place), **measure(place, args.memories, progress)}
    finally:
        shutil.rmtree(place, ignore_errors=True)
    rows = [f"| {name} | {value} |" for name, value in _table(found)]
    return screen.answer(found, rows[0], "|---|---|", *rows[1:])


def measure(place: Path, memories: int, progress: Progress) -> dict[str, Any]:
    """All figures of a nimad that lives in a directory while it is measured."""
    settings, state, chance = write_settings(place), place / "state", random.Random(1)
    progress.show("starting a nimad of its own", now=True)
    with served(place, state, settings) as client:
        empty = client.call("status")["memory"]["pss_bytes"]
        progress.show("importing made-up memories", now=True)
        found = _imported(client, memories, chance)
        time.sleep(REST_SECONDS)
        progress.show("remembering, one after the other", now=True)
        written = client.call("status")["written_bytes"]
        found |= _timed("remember", lambda: client.call("remember", text=_text(chance)))
        if written is not None:
            now = client.call("status")["written_bytes"]
            found["remember_written_bytes"] = round((now - written) / found["remember_count"])
        progress.show(f"remembering, {CLIENTS} clients at once", now=True)
        found["remember_per_second_8_clients"] = _together(place / "s")
        time.sleep(REST_SECONDS)
        progress.show("asking", now=True)
        found["memories"] = client.call("status")["memories"]
        found |= _timed("query", lambda: client.call("query", text=_text(chance, 30)))
        progress.show("asking with nimactl", now=True)
        found["nimactl_query_ms"] = _median_ms([_ask(place / "s") for _ in range(COMMANDS)])
        time.sleep(REST_SECONDS)
        used = client.call("status")["memory"]["pss_bytes"]
    progress.show("starting it again", now=True)
    times: list[float] = []
    for _ in range(STARTS):
        began = time.perf_counter()
        with served(place, state, settings):
            times.append(time.perf_counter() - began)
    return {**found, "pss_bytes_empty": empty, "pss_bytes": used, "start_ms": _median_ms(times)}


def _imported(client: Client, memories: int, chance: random.Random) -> dict[str, Any]:
    """How fast memories come in."""
    began, done = time.perf_counter(), 0
    while done < memories and (spent := time.perf_counter() - began) < IMPORT_SECONDS:
        page = min(PAGE, memories - done)
        client.call("import", memories=[{"text": _text(chance)} for _ in range(page)])
        done += page
        spent = time.perf_counter() - began
    return {"imported": done, "import_per_second": round(done / spent)}


def _timed(name: str, request: Callable[[], Any]) -> dict[str, Any]:
    """The time of a request, over STEP_SECONDS."""
    times: list[float] = []
    until = time.monotonic() + STEP_SECONDS
    request()  # the first one finds nothing ready
    while len(times) < REQUESTS and time.monotonic() < until:
        began = time.perf_counter()
        request()
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    p50, p95 = (round(times[len(times) * n // 20], 2) for n in (10, 19))
    return {f"{name}_count": len(times) + 1, f"{name}_p50_ms": p50, f"{name}_p95_ms": p95}


def _together(socket: Path) -> int:
    """Memories a second that CLIENTS remember together."""
    counts, until = [0] * CLIENTS, time.monotonic() + STEP_SECONDS

    def work(client: int) -> None:
        chance = random.Random(100 + client)
        with Client(str(socket)) as mine:
            while time.monotonic() < until:
                mine.call("remember", text=_text(chance))
                counts[client] += 1

    threads = [threading.Thread(target=work, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(sum(counts) / STEP_SECONDS)


def _ask(socket: Path) -> float:
    """Time of `nimactl query`, a process started as the package starts it [seconds]."""
    code = START.format(path=str(Path(nimad.__file__).parents[1]))
    command = [sys.executable, "-I", "-S", "-c", code, "--socket", str(socket), "query", "garden"]
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _median_ms(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 1)


def _text(chance: random.Random, length: int = LENGTH) -> str:
    """Made-up words, and one that hardly any other text has."""
    words = [f"{chance.getrandbits(20):05x}"]
    while sum(map(len, words)) + len(words) < length:
        words.append(chance.choice(WORDS))
    return " ".join(words)


# --- the machine ----------------------------------------------------------------------------------


def _machine(place: Path) -> dict[str, Any]:
    """What the figures depend on; nothing that names this machine."""
    return {
        "nimad": __version__,
        "board": _read("/proc/device-tree/model") or _field("/proc/cpuinfo", "model name"),
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


def _field(path: str, name: str) -> str:
    lines = (line.partition(":") for line in _read(path).splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def _table(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table: what, and how much."""

    def pair(name: str) -> str:
        return f"{found[f'{name}_p50_ms']:.1f} / {found[f'{name}_p95_ms']:.1f} ms"

    written = found.get("remember_written_bytes")
    memory = found["pss_bytes_empty"], found["pss_bytes"]
    return [
        (f"nimad {found['nimad']}", f"{found['board'] or os.uname().machine}"),
        ("processors, memory", f"{found['processors']}, {size(found['memory_bytes'])}"),
        ("card or disk", found["card"] or "not known"),
        ("system", f"{found['system']}, Linux {found['kernel']}, Python {found['python']}"),
        ("page size, load at first", f"{found['page_bytes'] // 1024} KiB, {found['load']}"),
        ("`remember`, p50 / p95", pair("remember")),
        ("written for one", "not counted here" if written is None else size(written)),
        (f"`remember`, {CLIENTS} clients", f"{found['remember_per_second_8_clients']} a second"),
        ("import", f"{found['import_per_second']} a second"),
        (f"`query` of {found['memories']:,} memories, p50 / p95", pair("query")),
        ("`nimactl query` as a process", f"{found['nimactl_query_ms']:.0f} ms"),
        ("start until it answers", f"{found['start_ms'] / 1000:.2f} s"),
        ("memory (PSS), empty / at the end", " / ".join(map(size, memory))),
    ]
