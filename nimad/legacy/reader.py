"""The reading process: it reads a bundle, which may be hostile, within limits of the kernel's.

It has the bundle, the file for its result, a pipe for the request and one for the reply, and is
started with nothing else (reader_process.py).  What it must not exceed: memory, processor time, the
size of what it writes; it can start no other program with more rights, leaves no core, and ends
with the thread that started it.

Request, JSON: {"command": "read" or "redact", "path", "bundle": descriptor, "out": descriptor,
"memory", "room", "file": bytes, "seconds", ...}.  Reply: {"rows": n}, or {"error": ...} as
`bundle_index.describe` has it.  Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any

from nimad.errors import NimadError, SourceTooLarge
from nimad.legacy.budget import Budget
from nimad.legacy.bundle import Bundle
from nimad.legacy.bundle_index import BundleIndex, describe
from nimad.legacy.redact_bundle import blank

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # <linux/prctl.h>
NICE = 5
"""Steps by which the process is less urgent than the daemon."""


def limit(asked: dict[str, Any]) -> None:
    """Set the limits of this process, once and for all."""
    library = ctypes.CDLL(None)
    library.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for kind, most in (
        (resource.RLIMIT_AS, asked["memory"]),
        (resource.RLIMIT_CPU, asked["seconds"]),
        (resource.RLIMIT_FSIZE, asked["file"]),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    with suppress(OSError):
        os.nice(NICE)


def work(asked: dict[str, Any]) -> int:
    """Do what is asked; a number for the reply."""
    budget = Budget(asked["room"], **asked["budget"])
    with Bundle(Path(asked["path"]), asked["bundle"]) as bundle:
        if asked["command"] == "redact":
            return blank(bundle, asked["out"], asked["keys"], budget)
        with os.fdopen(asked["out"], "w+b", buffering=1 << 20, closefd=False) as out:
            index = BundleIndex(bundle, budget, asked["check"])
            index.write(out, asked["check"])
            return len(index.keys)


def main() -> None:
    """Read one request, and reply."""
    asked = json.load(sys.stdin)
    limit(asked)
    try:
        reply: dict[str, Any] = {"rows": work(asked)}
    except (MemoryError, OSError) as error:
        detail = f"reading it takes more than {asked['room'] >> 20} MiB of memory"
        if isinstance(error, OSError) and not isinstance(error, FileExistsError):
            detail = f"what it holds takes more than {asked['file'] >> 20} MiB"
        reply = {"error": describe(SourceTooLarge(path=asked["path"], detail=detail))}
    except (NimadError, ValueError) as error:
        reply = {"error": describe(error)}
    print(json.dumps(reply), flush=True)
    os._exit(0)  # without taking apart what was read: the kernel does that
