"""After a purge the daemon holds no file that is gone: its blocks would stay on the
disk, with what is in them, and a disk whose files are so held cannot be made writable again after
an error."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.process import DaemonProcess
from tests.threads import PATIENCE

AT_ONCE = "migration.idle_seconds: 0\nblocks.flush_rows: 256\n"
COUNT = 1500
"""Memories: enough for files of words, blocks and columns [memories]."""


def held(daemon: DaemonProcess) -> set[str]:
    """The files of the state directory that the process has mapped or open."""
    process = Path("/proc", str(daemon.pid))
    lines = (process / "maps").read_text().splitlines()
    found = {line.split(maxsplit=5)[-1] for line in lines}
    for descriptor in (process / "fd").iterdir():
        try:
            found.add(str(descriptor.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
    return {name for name in found if name.startswith(f"{daemon.state}/")}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_no_file_that_is_gone_is_held(make_daemon: Callable[..., DaemonProcess]) -> None:
    daemon = make_daemon(config=AT_ONCE).start()
    for first in range(0, COUNT, 500):
        texts = [f"wash {number} hung beside the river" for number in range(first, first + 500)]
        daemon.call("import", memories=[{"text": text} for text in texts])
    ids = [hit["id"] for hit in daemon.call("query", text="wash 77 river", k=5)["results"]]
    kinds = (".nrc", ".nsw", ".nsb")
    wait_until(lambda: all(any(name.endswith(kind) for name in held(daemon)) for kind in kinds))
    daemon.call("forget", ids=ids, purge=True)
    assert not {name for name in held(daemon) if name.endswith(".nrc (deleted)")}
    wait_until(lambda: any(name.endswith(".nrc") for name in held(daemon)))
    # segments that idle time makes one are let go at the next rest, without a question
    wait_until(lambda: not any(name.endswith(" (deleted)") for name in held(daemon)))
    assert len(daemon.call("query", text="wash 78 river", k=5)["results"]) == 5
