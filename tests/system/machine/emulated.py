"""A whole Debian machine in qemu: its own kernel, little memory, a disk, and a power plug.

No network reaches it.  Commands go through the agent on a line of its own.  The disk is an image
whose writes reach this machine's file at once (cache=none), so ending qemu is a power cut that
keeps what the guest had written.  A disk that `logs_writes` can be set back to its last flush, as
one with a volatile cache would be.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
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
PATIENT = "DefaultTimeoutStartSec=900\nDefaultDeviceTimeoutSec=900\n"
"""What systemd inside is told: on a busy machine the emulated one is slow, not broken."""
DISK = "2600M"
BOOT_SECONDS = 900.0
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
FLUSH, FUA, DISCARD = 1, 2, 4  # flags of an entry of Linux's dm-log-writes, which qemu writes
LOG_MAGIC = 0x6A736677736872


@dataclass(frozen=True)
class Hardware:
    """What qemu emulates, and where the agent's and the acknowledgements' lines are inside."""

    qemu: tuple[str, ...]
    console: str
    lines: tuple[str, ...]
    disk: str

    def options(self, agent: Path, acks: Path) -> list[str]:
        """The lines: AGENT is a socket, ACKS a file that outlives a power cut."""
        names = {"AGENT": f"socket,path={agent},server=on,wait=off", "ACKS": f"file,path={acks}"}
        made = [f"{kind},id={name.lower()}" for name, kind in names.items()]
        made[1] += ",append=on"
        return [word for chardev in made for word in ("-chardev", chardev)] + list(self.lines)


PC = Hardware(
    ("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-nodefaults"),
    "ttyS0",
    ("-serial", "chardev:agent", "-serial", "chardev:acks"),
    "virtio-blk-pci",
)
PI = Hardware(
    ("qemu-system-aarch64", "-M", "virt", "-accel", "tcg,thread=multi", "-cpu", "cortex-a76"),
    "ttyAMA0",
    (
        *("-device", "virtio-serial-pci"),
        *("-device", "virtserialport,chardev=agent,name=agent"),
        *("-device", "virtserialport,chardev=acks,name=acks"),
    ),
    "virtio-blk-pci",
)
"""A Raspberry Pi 5 in what matters here: its cores and, with its kernel, pages of 16 KiB."""


class Emulated:
    """`build` once, then `boot`, `run` as often as wanted, `halt` or `cut_power`, `boot` again."""

    def __init__(self, folder: Path, memory_mb: int = 512, hardware: Hardware = PC) -> None:
        self._folder, self._memory, self._hardware = folder, memory_mb, hardware
        self._disk = folder / "disk.img"
        self._socket = folder / "agent.sock"
        self._log, self._base = folder / "writes.log", folder / "base.img"
        self.acks = folder / "acks.log"
        self.console = folder / "console.log"
        self._qemu: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._waiting = b""

    def build(
        self, archive: Path, package: Path, files: dict[str, Path | str], *, install: bool = True
    ) -> None:
        """Make the disk: the system, the package, installed if so, files by their place inside."""
        root = self._folder / "root"
        root.mkdir(parents=True)
        _do("tar", "--extract", "--numeric-owner", f"--file={archive}", f"--directory={root}")
        inside = {
            "/usr/local/lib/agent.py": AGENT,
            "/etc/systemd/system/agent.service": UNIT,
            "/etc/hostname": "board\n",
            "/etc/systemd/system.conf.d/patient.conf": f"[Manager]\n{PATIENT}",
            "/etc/fstab": "/dev/vda / ext4 defaults,noatime 0 1\n",
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
        if install:
            _do("chroot", str(root), "env", PATH, "dpkg", "--install", "/var/tmp/nimad.deb")
            _do("chroot", str(root), "env", PATH, "usermod", "-aG", "nimad", "maya")
        for name in ("vmlinuz", "initrd.img"):
            shutil.copyfile(root / (root / name).readlink(), self._folder / name)
        _do("mkfs.ext4", "-q", "-d", str(root), str(self._disk), DISK)
        shutil.rmtree(root)

    def boot(self, *, clock: str = "", logs_writes: bool = False) -> None:
        """Switch on, and wait until it takes commands; raises TimeoutError when it does not.

        `clock`: the date that its clock begins with, such as "1970-01-01".
        """
        self._socket.unlink(missing_ok=True)
        hardware = self._hardware
        command = [*hardware.qemu, "-m", str(self._memory), "-smp", "2", "-display", "none"]
        command += ["-no-reboot", "-nic", "none", "-monitor", "none"]
        command += ["-kernel", str(self._folder / "vmlinuz")]
        command += ["-initrd", str(self._folder / "initrd.img")]
        command += ["-append", f"root=/dev/vda rw console={hardware.console} quiet panic=-1 psi=1"]
        if logs_writes:
            _do("cp", "--sparse=always", str(self._disk), str(self._base))
            self._log.write_bytes(b"")
            file = f"driver=file,node-name=d0,filename={self._disk},cache.direct=on"
            log = f"driver=file,node-name=l0,filename={self._log}"
            for node in (file, log, "driver=blklogwrites,node-name=w0,file=d0,log=l0"):
                command += ["-blockdev", node]
            command += ["-device", f"{hardware.disk},drive=w0,write-cache=on"]
        else:
            command += ["-drive", f"file={self._disk},format=raw,if=none,id=d0,cache=none"]
            command += ["-device", f"{hardware.disk},drive=d0"]
        command += ["-rtc", f"base={clock}"] if clock else []
        command += ["-serial", f"file:{self.console}", *hardware.options(self._socket, self.acks)]
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
        self._qemu.wait(timeout=600)
        self._hang_up()

    def cut_power(self) -> None:
        """Pull the plug."""
        assert self._qemu is not None
        self._qemu.kill()
        self._qemu.wait(timeout=60)
        self._hang_up()

    def forget_unflushed(self, kept: float, seed: int) -> int:
        """Set the disk back to its last flush; of what was written later, a share `kept` stays, at
        random.  The number of writes that are lost.  After `boot(logs_writes=True)` and a cut."""
        chance, lost = random.Random(seed), 0
        entries, sector = _log_entries(self._log)
        flushed = max((n for n, entry in enumerate(entries) if entry.flags & FLUSH), default=-1)
        _do("cp", "--sparse=always", str(self._base), str(self._disk))
        with self._disk.open("r+b") as disk, self._log.open("rb") as log:
            for number, entry in enumerate(entries):
                if number > flushed and not entry.flags & FUA and chance.random() >= kept:
                    lost += 1
                elif entry.count and not entry.flags & DISCARD:
                    log.seek(entry.body)
                    disk.seek(entry.first * sector)
                    disk.write(log.read(entry.count * sector))
        return lost

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


@dataclass(frozen=True)
class _Entry:
    first: int
    count: int
    flags: int
    body: int
    """Where its data begin in the log [bytes]."""


def _log_entries(path: Path) -> tuple[list[_Entry], int]:
    """The writes of a log in order, and the size of a sector [bytes].  The layout is that of
    Linux's dm-log-writes: a header sector, then for each write a sector and its data."""
    entries: list[_Entry] = []
    with path.open("rb") as log:
        magic, _version, _count, sector = struct.unpack("<QQQI", log.read(28))
        assert magic == LOG_MAGIC, hex(magic)
        place, end = sector, path.stat().st_size
        while place + 32 <= end:
            log.seek(place)
            first, count, flags, length = struct.unpack("<QQQQ", log.read(32))
            size = 0 if flags & DISCARD else count * sector
            if not (first or count or flags or length) or place + sector + size > end:
                break
            entries.append(_Entry(first, count, flags, place + sector))
            place += sector + size
    return entries, sector


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
