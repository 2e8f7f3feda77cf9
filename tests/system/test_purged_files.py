"""The daemon holds no file that is gone: its blocks would stay on the disk, with what is in them,
and a disk whose files are so held cannot be made writable again after an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.process import DaemonProcess
from tests.system.machine.conftest import store_of
from tests.system.test_nimactl import Tool
from tests.threads import PATIENCE, Background, setting

AT_ONCE = "migration.idle_seconds: 0\nblocks.flush_rows: 256\n"
COUNT = 1500
"""Memories: enough for files of words, blocks and columns [memories]."""


def files(daemon: DaemonProcess) -> Iterator[tuple[int, str]]:
    """The files of the state directory that the process, or the graph's engine, has mapped or
    open: inode and name."""
    found: list[tuple[int, str]] = []
    for pid in (daemon.pid, *children(daemon.pid)):
        with suppress(FileNotFoundError, ProcessLookupError):  # closed or ended meanwhile
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                _, _, _, _, inode, *name = line.split(maxsplit=5)
                found.append((int(inode), "".join(name)))
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    found.append((descriptor.stat().st_ino, str(descriptor.readlink())))
    return (each for each in found if each[1].startswith(f"{daemon.state}/"))


def held(daemon: DaemonProcess) -> set[str]:
    """Their names."""
    return {name for _, name in files(daemon)}


def held_without_name(daemon: DaemonProcess) -> set[str]:
    """Those of them that no name leads to any more, but for SQLite's own files for what it sorts,
    which have none from their begin.

    The kernel says "(deleted)" of a file that another one replaced, though it has a second name.
    What is mapped before and after the names are read had none in between; that a map is on its way
    out while the name goes is no fault, so a second look comes a moment later.
    """
    before = deleted(daemon)
    for pause in (0, 0.1):
        if not before:
            break
        time.sleep(pause)
        named = set()
        for path in daemon.state.rglob("*"):
            with suppress(FileNotFoundError):
                named.add(path.stat().st_ino)
        now = deleted(daemon)
        before = {inode: name for inode, name in now.items() if inode in before.keys() - named}
    return set(before.values())


def deleted(daemon: DaemonProcess) -> dict[int, str]:
    """Those of which the kernel says that they are deleted, by inode."""
    return {
        inode: name
        for inode, name in files(daemon)
        if name.endswith(" (deleted)") and "/etilqs_" not in name
    }


def children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            found += map(int, (thread / "children").read_text().split())
    return found


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


def import_some(tool: Tool, place: Path) -> None:
    texts = [f"kite {number} over the dunes at {place.name}" for number in range(500)]
    tool.daemon.call("import", memories=[{"text": text} for text in texts])


def ask(tool: Tool, place: Path) -> None:
    tool.daemon.call("query", text="kite 7 over the dunes", k=5)


def ask_the_graph(tool: Tool, place: Path) -> None:
    tool.run("graph", "MATCH (m:Memory) RETURN count(*)")


def purge(tool: Tool, place: Path) -> None:
    found = tool.daemon.call("query", text="kite 9 over the dunes", k=3)["results"]
    tool.daemon.call("forget", ids=[hit["id"] for hit in found], purge=True)


def migrate(tool: Tool, place: Path) -> None:
    source = store_of(300, place / "old.sqlite")
    tool.run("migrate", source, "--strategy", "full", "--wait")


OPERATIONS: list[Callable[[Tool, Path], object]] = [
    *(import_some, ask, import_some, ask_the_graph, import_some, purge, ask, migrate),
    lambda tool, place: tool.run("rebuild", "words"),
    lambda tool, place: tool.run("rebuild", "blocks"),
    ask_the_graph,
    lambda tool, place: tool.run("rebuild", "graph"),
    *(ask, purge, import_some),
    lambda tool, place: tool.run("backup", place / "kept.tar.gz"),
    lambda tool, place: tool.run("rebuild", "all"),
    lambda tool, place: tool.run("migrate", "--rollback", "old", "--yes"),
    *(ask, import_some, purge),
]


def test_no_operation_deletes_a_file_that_is_held(
    make_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    """Not for a moment, whoever reads meanwhile."""
    tool = Tool(make_daemon(config=AT_ONCE).start())
    gone: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            gone.update(held_without_name(tool.daemon))

    with Background(look), setting(over):
        for operation in OPERATIONS:
            operation(tool, tmp_path)
    assert not gone
    # what was replaced goes at the next rest
    wait_until(lambda: not list(tool.daemon.state.glob("columns.nrc.*")))

    def unmapped() -> set[str]:
        mapped = {Path(name).name for name in held(tool.daemon)}
        parts = (*tool.daemon.state.glob("words/*"), *tool.daemon.state.glob("blocks/*"))
        return {path.name for path in parts} - mapped

    # a file that is being written is not mapped yet; at rest what is listed is, and nothing else is
    wait_until(lambda: not unmapped())
