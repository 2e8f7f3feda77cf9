"""A real nimad in a process of its own: start it, ask it, kill it, start it again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import forked
from tests.client import Client
from tests.threads import PATIENCE

CALM = "".join(
    f"migration.{key}: 0\n"
    for key in ("max_pressure", "max_load", "max_temperature", "min_battery")
)
"""However busy the machine is that the tests run on: to the daemon it is at rest."""


class DaemonProcess:
    """`python -m nimad.daemon --foreground` on a state directory and a socket under `place`.

    `config` is what its file says, and CALM. `fork` saves most of its start, where neither
    that nor the memory of the process is what is tested (see `forked`).
    """

    def __init__(
        self,
        place: Path,
        config: str | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        fork: bool = False,
    ) -> None:
        self.state = place / "state"
        self.socket = place / "nimad.sock"
        self.log_file = place / "nimad.log"
        self.config_file = place / "nimad.yaml"
        self.arguments = list(arguments)
        self.environment = dict(environment or {})
        self.fork = fork
        self.process: subprocess.Popen[bytes] | None = None
        self.config_file.write_text(f"{config or ''}\n{CALM}")

    @property
    def command(self) -> list[str]:
        config = ["--config", str(self.config_file)] if self.config_file.exists() else []
        paths = ["--state", str(self.state), "--socket", str(self.socket)]
        return [sys.executable, "-m", "nimad.daemon", "--foreground", *paths, *config]

    def spawn(self, **options: Any) -> None:
        """Start it and do not wait for anything."""
        with self.log_file.open("ab") as log:
            start = forked.Popen if self.fork else subprocess.Popen
            self.process = start(
                [*self.command, *self.arguments],
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
                **options,
            )

    def start(self, **options: Any) -> DaemonProcess:
        """Start it and wait until it answers."""
        self.spawn(**options)
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"nimad exited with {self.process.returncode}: {self.log()}")
            try:
                self.call("ping")
                return
            except (OSError, AssertionError):
                time.sleep(0.02)
        raise AssertionError(f"nimad did not become ready: {self.log()}")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def client(self, timeout: float = PATIENCE) -> Client:
        return Client(self.socket, timeout)

    def call(self, method: str, params: dict[str, Any] | None = None, **more: Any) -> Any:
        """One call on a connection of its own."""
        with self.client() as client:
            return client.call(method, params, **more)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit code, once it is over."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL: what a power cut does to a process."""
        self.signal(signal.SIGKILL)
        self.wait()

    def restart(self) -> DaemonProcess:
        """Start it again after a stop or a kill (which is done when it still runs)."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        return self.start()

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8") if self.log_file.exists() else ""

    def resident(self) -> int:
        """Resident memory [bytes]."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def finish(self) -> None:
        """Make sure that nothing is left running."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
