"""A whole Debian machine in qemu: its own kernel, little memory, a disk, and a power plug.

No network reaches it.  Commands go through the agent on a line of its own.  The disk is an image
whose writes reach this machine's file at once (cache=none), so ending qemu is a power cut that
keeps what the guest had written.  A machine with a card has a second disk.  When it `logs_writes`
the card can be set back to its last flush, as one with a volatile cache would be; and a machine
that was frozen goes on from there at each `boot`, with the card as it has become meanwhile: a power
cut of the card that costs a second instead of a boot.
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
from typing import Any, TextIO

from tests.system.machine.initrd import make_initrd

AGENT = Path(__file__).with_name("agent.py")
UNIT = """[Unit]
Description=Takes the commands of the tests
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/agent.py {device}
Restart=always
[Install]
WantedBy=multi-user.target
"""
PATIENT = "DefaultTimeoutStartSec=900\nDefaultDeviceTimeoutSec=900\n"
"""What systemd inside is told: on a busy machine the emulated one is slow, not broken."""
DISK, CARD = "2600M", "1G"
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
    agent: str
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
    "/dev/ttyS1",
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
    "/dev/virtio-ports/agent",
    "virtio-blk-pci",
)
"""A Raspberry Pi 5 in what matters here: its cores and, with its kernel, pages of 16 KiB."""


class Emulated:
    """`build` once, then `boot`, `run` as often as wanted, `halt` or `cut_power`, `boot` again."""

    def __init__(
        self, folder: Path, memory_mb: int = 512, hardware: Hardware = PC, *, card: bool = False
    ) -> None:
        self._folder, self._memory, self._hardware = folder, memory_mb, hardware
        self._disk = folder / "disk.img"
        self._card = folder / "card.img" if card else None
        self._socket, self._monitor = folder / "agent.sock", folder / "monitor.sock"
        self._log, self._base = folder / "writes.log", folder / "base.img"
        self._frozen: Path | None = None
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
            "/etc/systemd/system/agent.service": UNIT.format(device=self._hardware.agent),
            "/etc/hostname": "board\n",
            "/etc/systemd/system.conf.d/patient.conf": f"[Manager]\n{PATIENT}",
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
        shutil.copyfile(root / "vmlinuz", self._folder / "vmlinuz")
        if (root / "initrd.img").exists():
            shutil.copyfile(root / "initrd.img", self._folder / "initrd.img")
        else:
            make_initrd(root, self._folder / "initrd.img")
        _do("mkfs.ext4", "-q", "-d", str(root), str(self._disk), DISK)
        shutil.rmtree(root)
        if self._card:
            _do("mkfs.ext4", "-q", str(self._card), CARD)

    def boot(self, *, clock: str = "", logs_writes: bool = False) -> None:
        """Switch on, and wait until it takes commands; raises TimeoutError when it does not.

        `clock`: the date that its clock begins with, such as "1970-01-01"; `logs_writes`: those to
        the card.
        """
        for place in (self._socket, self._monitor):
            place.unlink(missing_ok=True)
        hardware = self._hardware
        command = [*hardware.qemu, "-m", str(self._memory), "-smp", "2", "-display", "none"]
        command += ["-no-reboot", "-nic", "none", "-monitor", "none"]
        command += ["-qmp", f"unix:{self._monitor},server=on,wait=off"]
        command += ["-kernel", str(self._folder / "vmlinuz")]
        command += ["-initrd", str(self._folder / "initrd.img")]
        kernel = "root=/dev/vda rootflags=noatime rw quiet panic=-1 psi=1"
        command += ["-append", f"{kernel} console={hardware.console}"]
        command += self._disks(logs_writes)
        command += ["-incoming", f"exec:cat {self._frozen}"] if self._frozen else []
        command += ["-rtc", f"base={clock}"] if clock else []
        command += ["-serial", f"file:{self.console}", *hardware.options(self._socket, self.acks)]
        with (self._folder / "qemu.log").open("ab") as log:
            self._qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, stdout=log)
        deadline = time.monotonic() + BOOT_SECONDS
        self._line = self._connect(self._socket, deadline)
        if self._frozen:
            self.run("true", timeout=BOOT_SECONDS)
            return
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

    def freeze(self) -> None:
        """Switch off, but keep memory and disk as they are now: until `thaw`, each `boot` goes on
        from here, with the card as it is then.  So nothing may have the card open."""
        memory = self._folder / "memory"
        monitor = self._connect(self._monitor, time.monotonic() + 60)
        with monitor, monitor.makefile("rw") as lines:
            lines.readline()  # its greeting
            _ask(lines, "qmp_capabilities")
            _ask(lines, "migrate", uri=f"exec:cat > {memory}")
            while (state := _ask(lines, "query-migrate")["status"]) != "completed":
                assert state in ("setup", "active", "device"), state
                time.sleep(0.2)
        self.cut_power()
        self._frozen = memory

    def thaw(self) -> None:
        """From here on `boot` is a boot again, of the disk as it was frozen."""
        self._frozen = None

    def forget_unflushed(self, kept: float, seed: int) -> int:
        """Set the card back to its last flush; of what was written later, a share `kept` stays, at
        random.  The number of writes that are lost.  After `boot(logs_writes=True)` and a cut."""
        chance, lost = random.Random(seed), 0
        entries, sector = _log_entries(self._log)
        flushed = max((n for n, entry in enumerate(entries) if entry.flags & FLUSH), default=-1)
        assert self._card is not None
        _do("cp", "--sparse=always", str(self._base), str(self._card))
        with self._card.open("r+b") as disk, self._log.open("rb") as log:
            for number, entry in enumerate(entries):
                if number > flushed and not entry.flags & FUA and chance.random() >= kept:
                    lost += 1
                elif entry.count and not entry.flags & DISCARD:
                    log.seek(entry.body)
                    disk.seek(entry.first * sector)
                    disk.write(log.read(entry.count * sector))
        return lost

    def remove(self) -> None:
        """Whatever it does: off with it, and its disk; the card stays, to be looked at."""
        if self._qemu is not None and self._qemu.poll() is None:
            self.cut_power()
        for place in (self._disk, self._base, self._frozen):
            if place is not None:
                place.unlink(missing_ok=True)

    def _disks(self, logs_writes: bool) -> list[str]:
        """Options of qemu: what is written to the disk of a frozen machine is gone at its end."""
        kind, kept = self._hardware.disk, "off" if self._frozen is None else "on"
        disk = f"file={self._disk},format=raw,if=none,id=d0,cache=none,snapshot={kept}"
        made = ["-drive", disk, "-device", f"{kind},drive=d0"]
        if self._card is None:
            return made
        made += ["-device", f"{kind},drive=w1,write-cache=on"]
        file = f"driver=file,filename={self._card},cache.direct=on,node-name="
        if not logs_writes:
            return [*made, "-blockdev", f"{file}w1"]
        _do("cp", "--sparse=always", str(self._card), str(self._base))
        self._log.write_bytes(b"")
        log = f"driver=file,node-name=l1,filename={self._log}"
        for node in (f"{file}d1", log, "driver=blklogwrites,node-name=w1,file=d1,log=l1"):
            made += ["-blockdev", node]
        return made

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line, self._waiting = None, b""

    def _connect(self, place: Path, deadline: float) -> socket.socket:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                line.connect(str(place))
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


def _ask(lines: TextIO, command: str, **arguments: Any) -> Any:
    """What qemu's monitor returns; what it tells by itself is passed over."""
    lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    lines.flush()
    while "return" not in (answer := json.loads(lines.readline())):
        assert "error" not in answer, answer
    return answer["return"]


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
