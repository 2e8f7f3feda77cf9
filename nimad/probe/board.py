"""What kind of machine this is."""

from __future__ import annotations

import functools
import os
from pathlib import Path

PI_MODEL = Path("/proc/device-tree/model")


def read(path: Path) -> str:
    """What a file of the kernel tells; "" when it does not."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@functools.cache
def board() -> str:
    """ "pi" for a Raspberry Pi, else "arm64", "x86_64" or what the kernel says."""
    if "Raspberry Pi" in read(PI_MODEL):
        return "pi"
    machine = os.uname().machine
    return {"aarch64": "arm64", "AMD64": "x86_64"}.get(machine, machine)


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) or 1
