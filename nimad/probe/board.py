"""What kind of machine this is."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

PI_MODEL = Path("/proc/device-tree/model")


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


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) or 1
