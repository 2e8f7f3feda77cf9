"""The reading process seen from the daemon: no file of a stranger can take its memory or its time.

Measured: it starts in 0.05 s.  What one costs at most follows the memory that can be had when it is
started, so that it ends before the limit of nimad's service is reached.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nimad
from nimad import errors
from nimad.errors import SourceCorrupt, SourceTooLarge
from nimad.probe.memory import available_memory

BASE = 64 << 20
"""Address space of the interpreter itself [bytes]."""
LEAST, MOST = 48 << 20, 512 << 20
"""Memory that the values of a bundle may take, at least and at most [bytes]."""
SECONDS, SECONDS_EACH = 60, 2
"""Processor time of a small bundle, and that of each MiB more [seconds]."""
PATIENCE = 20
"""Longest wait, in shares of the processor time."""
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from nimad.legacy.reader import main; main()"


def run(command: str, path: Path, bundle: int, out: int, **more: Any) -> int:
    """Let the reading process do `command` (see reader.py) with two open files; its rows.

    `budget` among `more` is for tests.  Raises what is wrong with the bundle `path`, SourceTooLarge
    when it reaches a limit, ValueError when it cannot be redacted.
    """
    size = os.fstat(bundle).st_size
    room = min(max(available_memory() // 2, LEAST), MOST)
    budget = more.pop("budget", {})
    asked = {
        "command": command,
        "path": str(path),
        "bundle": bundle,
        "out": out,
        "memory": BASE + room + 3 * size,
        "room": budget.pop("bytes", room),
        "budget": budget,
        "file": room if command == "read" else size + room,
        "seconds": SECONDS + SECONDS_EACH * (size >> 20),
        **more,
    }
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOT, str(Path(nimad.__file__).parents[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[bundle, out],
    ) as process:
        try:
            said, _ = process.communicate(json.dumps(asked).encode(), PATIENCE * asked["seconds"])
        except BaseException as error:
            process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                detail = f"reading it took more than {error.timeout:.0f} s"
                raise SourceTooLarge(path=path, detail=detail) from None
            raise
    if (code := process.returncode) or not said:
        detail = f"the process that read it ended ({code})"
        if code in (-24, -9):  # SIGXCPU; the hard limit is SIGKILL
            detail = f"reading it takes more than {asked['seconds']} s of processor time"
        raise SourceTooLarge(path=path, detail=detail)
    reply = json.loads(said)
    if failed := reply.get("error"):
        raise error_of(failed)
    return int(reply["rows"])


def error_of(told: dict[str, Any]) -> Exception:
    """The error that `bundle_index.describe` described."""
    kind = getattr(errors, told["class"], None)
    if isinstance(kind, type) and issubclass(kind, errors.NimadError):
        return kind(**told["fields"])
    if told["class"] == "ValueError":
        return ValueError(told["fields"]["detail"])
    return SourceCorrupt(path="it", detail=told["fields"]["detail"])
