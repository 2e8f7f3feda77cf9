"""`nimactl import` with a real daemon: killed in between it goes on, and both stay small."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process import DaemonProcess
from tests.threads import Background, setting

pytestmark = pytest.mark.slow
NIMACTL = str(Path(sys.executable).parent / "nimactl")
LIMIT_MB = 100
"""Resident memory of nimactl, and of the daemon; of the latter, while it takes Chinese texts, what
is no file's [MB]."""

MEASURED = """
import re, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
    raise
"""
"""Runs a command, then tells its greatest resident memory [kB].

Asked of the process itself: what the kernel counts for a child that has ended (`ru_maxrss`)
begins with the size of the process that started it.
"""


AS_PACKAGED = """
import sys
if "nimad.daemon" in sys.orig_argv:
    sys.modules["ssl"] = sys.modules["_hashlib"] = None
"""
"""A sitecustomize: what the launcher of the package leaves out, 4 MB."""


def export(place: Path, megabytes: int, conversations: int) -> Path:
    """An export of Claude.ai: half of it is what tools gave."""
    place.mkdir()
    rnd = random.Random(5)
    words = ["".join(rnd.choices("abcdefghijklmnop", k=rnd.randint(2, 9))) for _ in range(3000)]
    size = megabytes * 1_000_000 // conversations // 8
    with (place / "conversations.json").open("w") as file:
        for number in range(conversations):
            messages = []
            for turn in range(4):
                text = " ".join(rnd.choices(words, k=size // 6))
                blocks = [{"type": "tool_result", "content": text}, {"type": "text", "text": text}]
                told = {"uuid": f"{number}.{turn}", "content": blocks, "text": ""}
                messages.append({**told, "sender": ("human", "assistant")[turn % 2]})
            line = json.dumps({"uuid": f"c{number}", "chat_messages": messages})
            file.write(f"{',' if number else '['}{line}\n")
        file.write("]")
    return place


def command(daemon: DaemonProcess, *args: object) -> list[str]:
    return [NIMACTL, "--socket", str(daemon.socket), "import", *map(str, args), "--json"]


def texts(daemon: DaemonProcess) -> list[str]:
    found: list[str] = []
    after = 0
    while after is not None:
        page = daemon.call("export", after=after)
        found += [memory["text"] for memory in page["memories"]]
        after = page["next"]
    return sorted(found)


@pytest.mark.alone
def test_a_large_export_is_read_in_little_memory(daemon: DaemonProcess, tmp_path: Path) -> None:
    large = export(tmp_path / "large", 200, 2000)
    arguments = command(daemon, large, "--dry-run")
    ran = subprocess.run([sys.executable, "-c", MEASURED, *arguments], capture_output=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["added"] == 8000
    assert int(ran.stderr) < LIMIT_MB * 1000


@pytest.mark.alone
def test_nimad_takes_a_large_export_in_little_memory(
    make_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    """Whatever waits in memory is bounded by its bytes: many long texts, and texts in Chinese, of
    which each character is a term.  Of the latter the pages of files are left out: the system takes
    them back."""
    (tmp_path / "sitecustomize.py").write_text(AS_PACKAGED)
    environment = {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}", "OPENBLAS_NUM_THREADS": "1"}
    daemon = make_daemon(fork=False, environment=environment).start()
    large = export(tmp_path / "large", 200, 2000)
    pid, peak, done = daemon.call("status")["pid"], 0, threading.Event()

    def told(name: str) -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0])

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, told("RssAnon"))

    subprocess.run(command(daemon, large), capture_output=True, check=True)
    print(f"VmHWM {told('VmHWM') / 1000:.1f} MB of the export")
    assert told("VmHWM") < LIMIT_MB * 1000  # pages of files among it
    with Background(watch), setting(done):
        rnd = random.Random(3)
        for _ in range(50):
            letters = (chr(0x4E00 + int(rnd.paretovariate(0.6)) % 4000) for _ in range(35_000))
            daemon.call("remember", text="".join(letters))
        daemon.call("query", text="猫")
        deadline = time.monotonic() + 60
        while daemon.call("status")["blocks"]["hot"] >= 2000:  # until they are sealed
            assert time.monotonic() < deadline
            time.sleep(0.2)
    print(f"RssAnon {peak / 1000:.1f} MB at most")
    assert peak < LIMIT_MB * 1000


def test_a_daemon_that_is_killed_loses_nothing(daemon: DaemonProcess, tmp_path: Path) -> None:
    source = export(tmp_path / "source", 4, 500)
    rnd = random.Random(7)
    for _ in range(6):
        running = subprocess.Popen(
            command(daemon, source), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rnd.uniform(0.2, 1.5))
        daemon.kill()
        assert running.wait(60) in (0, 69, 75)
        daemon.start()
        problems = daemon.call("doctor")["problems"]
        assert not [each for each in problems if each["severity"] == "error"], problems
    ran = subprocess.run(command(daemon, source), capture_output=True, check=True)
    report = json.loads(ran.stdout)
    assert report["added"] + report["unchanged"] == 2000
    found = texts(daemon)
    assert len(found) == 2000
    daemon.call("migrate.rollback", name=report["name"])
    assert texts(daemon) == []
    subprocess.run(command(daemon, source), capture_output=True, check=True)
    assert texts(daemon) == found
