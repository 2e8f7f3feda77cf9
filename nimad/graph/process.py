"""The engine in a process of its own, seen from the daemon.

Why a process: a client's Cypher can end an engine (a segmentation fault took two statements, see
`engine`) or make it take all the memory there is, and neither may happen to the daemon.  And an
engine that was used gives its memory back only when its process ends: 12 MB (PSS) after the import
became 34 MB with the first question, and closing the file gave nothing back.  A process takes 0.2 s
to start and is closed after some idle seconds.

The process inherits the environment and the paths of modules, nothing else.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nimad
from nimad import errors
from nimad.errors import GraphFailed, NimadError
from nimad.graph.limits import Settings

PATIENCE = 600.0
"""Longest wait for a step of a build [seconds]."""
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from nimad.graph.worker import main; main(sys.argv[2])"
)


class EngineProcess:
    """One process with one open file; used by one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        """Start it.  Raises what opening the file raises: GraphFailed, DiskFull, ..."""
        paths = [str(Path(nimad.__file__).parents[1]), *sys.path]
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", "-c", _BOOT),
                *(json.dumps(paths), json.dumps(asdict(settings))),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[settings.rows] if settings.rows >= 0 else [],
        )
        self._pending = b""
        try:
            self._reply(PATIENCE)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, request: dict[str, Any], seconds: float = PATIENCE) -> dict[str, Any]:
        """The reply to a request (see `worker`).

        Raises the error that the process replies with, TimeoutError when it has not answered in
        time, GraphFailed when it ended; after these two it can only be closed.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        return self._reply(seconds)

    def _reply(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        until = time.monotonic() + seconds
        poll = select.poll()
        poll.register(output, select.POLLIN)
        while b"\n" not in self._pending:
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise TimeoutError
            chunk = os.read(output, 1 << 18)
            if not chunk:
                code = self._process.wait(10)
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                raise GraphFailed(detail=f"the engine's process ended ({how})")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        if failed := reply.get("error"):
            kind = getattr(errors, failed["class"])
            error: NimadError = kind(**failed["fields"])
            raise error
        return reply

    def kill(self) -> None:
        """End the process, whatever it is busy with; any thread may. Never raises."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """End the process and forget it. Never raises."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        self._process.wait()
