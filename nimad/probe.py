"""What the board has left: memory, size of this process, kind of board.  The one user of psutil."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import psutil

PI_MODEL = Path("/proc/device-tree/model")


def available_memory() -> int:
    """Memory that can be had without swapping [bytes]."""
    return int(psutil.virtual_memory().available)


@functools.cache
def total_memory() -> int:
    """Memory of the machine [bytes]."""
    return int(psutil.virtual_memory().total)


def own_memory() -> int:
    """Proportional set size of this process [bytes]; the resident size where there is no PSS."""
    process = psutil.Process()
    full = process.memory_full_info()
    return int(getattr(full, "pss", 0) or full.rss)


@functools.cache
def board() -> str:
    """ "pi" for a Raspberry Pi, else "arm64", "x86_64" or what the kernel says."""
    try:
        model = PI_MODEL.read_bytes().rstrip(b"\0").decode("utf-8", "replace")
    except OSError:
        model = ""
    if "Raspberry Pi" in model:
        return "pi"
    machine = platform.machine()
    return {"aarch64": "arm64", "AMD64": "x86_64"}.get(machine, machine)
