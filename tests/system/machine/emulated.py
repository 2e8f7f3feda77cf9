"""A whole Debian machine in qemu: its own kernel, little memory, a disk, and a power plug.

No network reaches it.  Commands go through the agent on its second serial line.  The disk is an
image whose writes reach this machine's file at once (cache=none), so ending qemu is a power cut:
what the guest had not flushed is gone.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

AGENT = Path(__file__).with_name("agent.py")
UNIT = """[Unit]
Description=Takes the commands of the tests
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/agent.py
Restart=always
[Install]
WantedBy=multi-user.target
"""
DISK = "2G"
BOOT_SECONDS = 300.0
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"


class Emulated:
    """`build` once, then `boot`, `run` as often as wanted, `halt` or `cut_power`, `boot` again."""

    def __init__(self, folder: Path, memory_mb: int = 512) -> None:
        self._folder, self._memory = folder, memory_mb
        self._disk = folder / "disk.img"
        self._socket = folder / "agent.sock"
        self.console = folder / "console.log"
        self._qemu: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._waiting = b""

    def build(self, archive: Path, package: Path, files: dict[str, Path | str]) -> None:
        """Make the disk: the system, the package installed, files by their place inside."""
        root = self._folder / "root"
        root.mkdir(parents=True)
        _do("tar", "--extract", "--numeric-owner", f"--file={archive}", f"--directory={root}")
        inside = {
            "/usr/local/lib/agent.py": AGENT,
            "/etc/systemd/system/agent.service": UNIT,
            "/etc/hostname": "board\n",
            "/etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
            "/var/tmp/nimad.deb": package,
            **files,
        }
        for name, content in inside.items():
            place = root / name.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(
                content.encode() if isinstance(content, str) else content.read_bytes()
            )
        wants = root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / "agent.service").symlink_to("/etc/systemd/system/agent.service")
        _do("chroot", str(root), "env", PATH, "useradd", "--create-home", "maya")
        _do("chroot", str(root), "env", PATH, "dpkg", "--install", "/var/tmp/nimad.deb")
        _do("chroot", str(root), "env", PATH, "usermod", "--append", "--groups", "nimad", "maya")
        for name in ("vmlinuz", "initrd.img"):
            shutil.copyfile(root / (root / name).readlink(), self._folder / name)
        _do("mkfs.ext4", "-q", "-d", str(root), str(self._disk), DISK)
        shutil.rmtree(root)

    def boot(self) -> None:
        """Switch on, and wait until it takes commands; raises TimeoutError when it does not."""
        self._socket.unlink(missing_ok=True)
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"]
        command += ["-m", str(self._memory), "-smp", "2", "-display", "none", "-no-reboot"]
        command += ["-nic", "none", "-nodefaults"]
        command += ["-kernel", str(self._folder / "vmlinuz")]
        command += ["-initrd", str(self._folder / "initrd.img")]
        command += ["-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1"]
        command += ["-drive", f"file={self._disk},format=raw,if=virtio,cache=none"]
        command += ["-serial", f"file:{self.console}"]
        command += ["-serial", f"unix:{self._socket},server=on,wait=off"]
        with (self._folder / "qemu.log").open("ab") as log:
            self._qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, stdout=log)
        deadline = time.monotonic() + BOOT_SECONDS
        self._line = self._connect(deadline)
        while "ready" not in self._receive(deadline):
            pass

    def run(
        self, command: str, *, user: str = "root", check: bool = True, timeout: float = 300.0
    ) -> str:
        """What a shell command printed; with `check`, a failure raises and shows it."""
        assert self._line is not None
        asked = {"command": command, "user": user, "timeout": timeout}
        self._line.sendall(json.dumps(asked).encode() + b"\n")
        answer = self._receive(time.monotonic() + timeout + 60)
        if check and answer["code"] != 0:
            raise AssertionError(f"`{command}` exited {answer['code']}\n{answer['out']}")
        return str(answer["out"])

    def halt(self) -> None:
        """Power off in order, as an owner would."""
        assert self._qemu is not None
        self.run("systemctl poweroff --no-block")
        self._qemu.wait(timeout=120)
        self._hang_up()

    def cut_power(self) -> None:
        """Pull the plug."""
        assert self._qemu is not None
        self._qemu.kill()
        self._qemu.wait(timeout=60)
        self._hang_up()

    def remove(self) -> None:
        """Whatever it does: off with it, and its disk."""
        if self._qemu is not None and self._qemu.poll() is None:
            self.cut_power()
        self._disk.unlink(missing_ok=True)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line, self._waiting = None, b""

    def _connect(self, deadline: float) -> socket.socket:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                line.connect(str(self._socket))
                return line
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(self._failed()) from None
                time.sleep(0.1)

    def _receive(self, deadline: float) -> dict[str, Any]:
        assert self._line is not None
        while b"\n" not in self._waiting:
            self._line.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                came = self._line.recv(1 << 16)
            except TimeoutError:
                raise TimeoutError(self._failed()) from None
            if not came:
                raise ConnectionError(self._failed())
            self._waiting += came
        line, _, self._waiting = self._waiting.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failed(self) -> str:
        shown = self.console.read_text(errors="replace") if self.console.exists() else ""
        return f"the machine does not answer; its console says:\n{shown[-3000:]}"


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
