"""A Debian of its own under a real systemd, driven from outside: systemd-nspawn and nsenter.

No network reaches it.  Everything is done through `run`, as root or as one of its users, so a test
reads like what an owner would type on the board.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.threads import PATIENCE

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_SECONDS = 300.0


class Machine:
    """One container: `unpack`, `boot`, `run` as often as wanted, `halt`, `remove`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.console = folder / "console.log"
        self.container: subprocess.Popen[bytes] | None = None
        self.leader = 0
        """The container's first process, as this machine numbers it."""

    def unpack(self, archive: Path) -> None:
        self.root.mkdir(parents=True)
        command = ["tar", "--extract", "--numeric-owner", "--file", str(archive)]
        subprocess.run([*command, "--directory", str(self.root)], check=True)
        (self.root / "etc/hostname").write_text("board\n")

    def boot(self) -> None:
        """Starts systemd and waits until it has started everything; raises when it does not."""
        command = ["systemd-nspawn", "--quiet", "--directory", str(self.root), "--boot"]
        command += ["--register=no", "--keep-unit", "--private-network", "--console=pipe"]
        # Linking journals would need this machine to have a machine id; fresh ones have none.
        command.append("--link-journal=no")
        with self.console.open("ab") as log:
            self.container = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            self.leader = self._first_process()
            if self.leader and self._is_up():
                return
            time.sleep(0.1)
        raise TimeoutError(f"the container did not boot:\n{self.console.read_text()[-3000:]}")

    def _first_process(self) -> int:
        assert self.container is not None
        if self.container.poll() is not None:
            raise ChildProcessError(f"systemd-nspawn ended:\n{self.console.read_text()[-3000:]}")
        tasks = Path(f"/proc/{self.container.pid}/task/{self.container.pid}/children")
        children = tasks.read_text().split()
        return int(children[0]) if children else 0

    def _is_up(self) -> bool:
        state = self.run("systemctl is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def run(
        self,
        command: str,
        *,
        user: str = "root",
        check: bool = True,
        timeout: float = 120.0,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs one shell command inside; with `check`, a failure raises and shows its output."""
        enter = ["nsenter", f"--target={self.leader}", "--root", "--wd"]
        enter += ["--mount", "--uts", "--ipc", "--net", "--pid"]
        home = "/root" if user == "root" else f"/home/{user}"
        clean = ["env", "-i", f"PATH={PATH}", f"HOME={home}", "LANG=C.UTF-8"]
        clean += ["DEBIAN_FRONTEND=noninteractive"]
        become = [] if user == "root" else ["runuser", "-u", user, "--"]
        done = subprocess.run(
            [*enter, *clean, *become, "sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=timeout,
            input=stdin if stdin is not None else "",
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"`{command}` as {user} exited {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def put(self, source: Path, inside: str, owner: str = "root") -> None:
        """Copies a file into the machine, owned by one of its users."""
        place = self.root / inside.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
        place.chmod(0o644)
        self.run(f"chown {owner}: {inside}")

    def halt(self) -> None:
        """Powers off in order, as an owner would."""
        assert self.container is not None
        self.run("systemctl poweroff", check=False)
        self.container.wait(timeout=PATIENCE)

    def cut_power(self) -> None:
        """Ends everything inside at once, without a warning.

        Milder than the real thing: what a process had written but not synced is still there.
        """
        assert self.container is not None
        os.kill(self.leader, signal.SIGKILL)
        self.container.wait(timeout=PATIENCE)

    def remove(self) -> None:
        if self.container is not None and self.container.poll() is None:
            self.cut_power()
        shutil.rmtree(self.root)
