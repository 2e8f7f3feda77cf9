"""The control groups of this process: their memory limits, what is used of them, their pressure.

Both kinds of kernel: version 2 (memory.max, memory.high, memory.current) and version 1
(memory.limit_in_bytes, memory.usage_in_bytes).  A limit set anywhere above counts as much as one's
own, so every ancestor is looked at and the one with the least room wins.  Pages of files that are
not in use are given back by the kernel before a limit hurts; they count as room.
Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

import functools
from pathlib import Path

from nimad.dataclass import dataclass
from nimad.probe.board import read

PROC = Path("/proc")
NO_LIMIT = 1 << 60
"""A limit from here on is none: version 1 writes the largest number it has [bytes]."""

FILES: dict[int, tuple[tuple[str, ...], str, str]] = {
    2: (("memory.max", "memory.high"), "memory.current", "inactive_file"),
    1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
}
"""By version: the limits, what is used, and the line of memory.stat that can be given back."""


@dataclass(frozen=True)
class Group:
    """A control group's directory, and the version of its kind."""

    path: Path
    version: int


def room() -> int | None:
    """What the tightest limit above this process leaves [bytes]; None where nothing is limited."""
    rooms = [left for group in own_groups() if (left := room_of(group)) is not None]
    return min(rooms, default=None)


def room_of(group: Group) -> int | None:
    """What a group's own limits leave [bytes]; None where it has none, or does not tell."""
    limits, usage, idle = FILES[group.version]
    limit = min((_number(group.path / name) for name in limits), default=NO_LIMIT)
    if limit >= NO_LIMIT:
        return None
    used = _number(group.path / usage)
    if used >= NO_LIMIT:
        return None
    stat = dict(line.partition(" ")[::2] for line in read(group.path / "memory.stat").splitlines())
    return max(0, limit - max(0, used - int(stat.get(idle, 0))))


def pressure_files() -> list[Path]:
    """The memory.pressure files of this process's group and those above it that exist."""
    paths = (group.path / "memory.pressure" for group in own_groups() if group.version == 2)
    return [path for path in paths if path.exists()]


@functools.cache
def own_groups(proc: Path = PROC) -> tuple[Group, ...]:
    """The groups of this process that may limit memory, its own first, then those above.  Looked up
    once: the daemon is not moved while it runs."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
        mounts = (proc / "self" / "mountinfo").read_text().splitlines()
    except OSError:
        return ()
    found: list[Group] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        version = 1 if controllers else 2
        if version == 1 and "memory" not in controllers.split(","):
            continue
        place = _mounted(mounts, version)
        if place is not None:
            root, mount = place
            if root != "/" and path.startswith(root):  # a container sees only its part
                path = path[len(root) :]
            parts = [part for part in path.split("/") if part and part != ".."]
            upwards = (mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))
            found += [Group(each, version) for each in upwards]
    return tuple(found)


def _mounted(mounts: list[str], version: int) -> tuple[str, Path] | None:
    """(the part of the tree that is mounted, where) of the hierarchy that controls memory."""
    for line in mounts:
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        wanted = kind == "cgroup2" if version == 2 else kind == "cgroup"
        if wanted and (version == 2 or "memory" in options.replace(" ", ",").split(",")):
            fields = left.split(" ")
            return fields[3], Path(fields[4])
    return None


def _number(path: Path) -> int:
    text = read(path).strip()
    return int(text) if text.isdigit() else NO_LIMIT
