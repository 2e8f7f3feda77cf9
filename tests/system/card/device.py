"""A memory card that keeps a record: one file, served by FUSE, that a loop device makes a disk of.

    python device.py FOLDER     (what `Card` starts; as root)

Each write and flush that the kernel sends is noted in the order in which it was taken, so that the
card can be made as it would have been had the power gone at any moment.  The kernel's side needs
FUSE and loop devices, no device mapper; /usr/include/linux/fuse.h has the messages.

| file in FOLDER | what it is                                                                  |
|----------------|-----------------------------------------------------------------------------|
| content        | the card as it is read back                                                 |
| log            | entries: offset uint64, length uint32 (0: a flush), then the bytes          |
| control        | entries so far uint64, errno of writes uint32 (0: none), unused uint32; then |
|                | a byte for each block of 4 KiB: 1 when it cannot be read                    |
| mount/card     | the file                                                                    |
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SIZE = 96 << 20
"""Of the card [bytes]."""
BLOCK = 4096
"""The unit in which reading fails [bytes]."""
ENTRY = struct.Struct("<QI")
STATE = struct.Struct("<QII")
LARGEST = 1 << 20
"""Largest write of one message [bytes]."""


class Entry(NamedTuple):
    """A write, or a flush when it has no bytes."""

    offset: int
    data: bytes


class Card:
    """The card of a folder while it is served; `close` ends that."""

    def __init__(self, folder: Path, content: Path | None = None) -> None:
        """An empty card, or one with a content (which is changed)."""
        self._folder = folder
        (folder / "mount").mkdir(parents=True)
        if content is None:
            with (folder / "content").open("wb") as file:
                file.truncate(SIZE)
        else:
            content.rename(folder / "content")
        with (folder / "control").open("w+b") as file:
            file.truncate(STATE.size + SIZE // BLOCK)
            self._control = mmap.mmap(file.fileno(), 0)
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(folder)], stdout=subprocess.PIPE
        )
        assert self._server.stdout is not None
        told = self._server.stdout.readline()
        assert told == b"ready\n", "the card is not served"
        self.file = folder / "mount" / "card"

    @property
    def position(self) -> int:
        """How many writes and flushes the card has taken."""
        return int(STATE.unpack_from(self._control)[0])

    def fail_writes(self, number: int = errno.EIO) -> None:
        """Refuse all writes and flushes from now on; 0: take them again."""
        struct.pack_into("<I", self._control, 8, number)

    def fail_reads(self, blocks: list[int]) -> None:
        """Let these blocks be unreadable."""
        for block in blocks:
            self._control[STATE.size + block] = 1

    def close(self) -> None:
        """No longer serve it; nothing may be mounted from it."""
        subprocess.run(["umount", "--lazy", self._folder / "mount"], check=False)
        self._server.kill()
        self._server.wait()

    def log(self) -> Iterator[Entry]:
        """Everything it has taken, in order."""
        with (self._folder / "log").open("rb") as file:
            while head := file.read(ENTRY.size):
                offset, length = ENTRY.unpack(head)
                yield Entry(offset, file.read(length))


# --- the process that serves it -----------------------------------------------------------------

HEAD = struct.Struct("<IIQQIIII")
INIT, LOOKUP, GETATTR, SETATTR, OPEN, READ, WRITE = 26, 1, 3, 4, 14, 15, 16
STATFS, RELEASE, FSYNC, FLUSH, ACCESS, DESTROY = 17, 18, 20, 25, 34, 38
UNANSWERED = (2, 36, 42)
"""FORGET, INTERRUPT, BATCH_FORGET."""
TRANSFER = struct.Struct("<QQII")
"""The begin of a READ and of a WRITE: handle, offset, size, flags; 16 more bytes follow."""
LASTING = 1 << 30
"""How long the kernel may keep what it knows of the file [seconds]."""


class Server:
    """Answers the kernel's messages, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._content = os.open(folder / "content", os.O_RDWR)
        self._log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with (folder / "control").open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 0)
        self._device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0"
        libc = ctypes.CDLL(None, use_errno=True)
        place = os.fsencode(folder / "mount")
        if libc.mount(b"card", place, b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "the card cannot be mounted")
        print("ready", flush=True)

    def serve(self) -> None:
        """Until the file system is unmounted."""
        message = bytearray(LARGEST + BLOCK)
        while True:
            try:
                length = os.readv(self._device, [message])
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.ECONNABORTED):
                    return
                raise
            _, code, unique, node, *_ = HEAD.unpack_from(message)
            if code in UNANSWERED:
                continue
            try:
                answer, failed = (
                    self._answer(code, node, memoryview(message)[HEAD.size : length]),
                    0,
                )
            except OSError as error:
                answer, failed = b"", error.errno or errno.EIO
            with contextlib.suppress(FileNotFoundError):  # the caller was interrupted
                head = struct.pack("<IiQ", 16 + len(answer), -failed, unique)
                os.writev(self._device, [head, answer])

    def _answer(self, code: int, node: int, body: memoryview) -> bytes:
        if code == INIT:
            flags = struct.unpack_from("<IIII", body)[3] & (1 << 0 | 1 << 5 | 1 << 22)
            head = struct.pack("<IIIIHHI", 7, 31, LARGEST, flags, 16, 12, LARGEST)
            return head + struct.pack("<IHHI28x", 1, LARGEST // mmap.PAGESIZE, 0, 0)
        if code == LOOKUP:
            if bytes(body) != b"card\0":
                raise FileNotFoundError(errno.ENOENT, "there is one file")
            return struct.pack("<QQQQII", 2, 0, LASTING, LASTING, 0, 0) + _attributes(2)
        if code in (GETATTR, SETATTR):
            return struct.pack("<QII", LASTING, 0, 0) + _attributes(node)
        if code == OPEN:
            return struct.pack("<QII", 0, 1, 0)  # 1: nothing is kept in the page cache
        if code == READ:
            return self._read(*TRANSFER.unpack_from(body)[1:3])
        if code in (WRITE, FSYNC):
            return self._take(code, body)
        if code in (STATFS, RELEASE, FLUSH, ACCESS, DESTROY):
            return bytes(80 if code == STATFS else 0)
        raise OSError(errno.ENOSYS, "not needed")

    def _read(self, offset: int, size: int) -> bytes:
        first, end = offset // BLOCK, -(-(offset + size) // BLOCK)
        if any(self._control[STATE.size + first : STATE.size + end]):
            raise OSError(errno.EIO, "a bad block")
        return os.pread(self._content, size, offset)

    def _take(self, code: int, body: memoryview) -> bytes:
        taken, failing, _ = STATE.unpack_from(self._control)
        if failing:
            raise OSError(failing, "the card refuses")
        _, offset, size, _ = TRANSFER.unpack_from(body) if code == WRITE else (0, 0, 0, 0)
        data = body[40 : 40 + size] if size else b""
        os.writev(self._log, [ENTRY.pack(offset, size), data])
        if size:
            os.pwrite(self._content, data, offset)
        struct.pack_into("<Q", self._control, 0, taken + 1)
        return struct.pack("<II", size, 0) if size else b""


def _attributes(node: int) -> bytes:
    mode, size = (stat.S_IFREG | 0o600, SIZE) if node == 2 else (stat.S_IFDIR | 0o700, 0)
    times = (0,) * 6
    return struct.pack(
        "<QQQQQQIIIIIIIIII", node, size, size // 512, *times, mode, 1, 0, 0, 0, BLOCK, 0
    )


if __name__ == "__main__":
    Server(Path(sys.argv[1])).serve()
