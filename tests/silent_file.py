"""A file whose reads never return: a FUSE file system of our own that does not answer them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.threads import Background

SIZE = 1 << 20
LOOKUP, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT = 1, 3, 14, 15, 17, 18, 25, 26
FORGET, INTERRUPT = 2, 36
LAZILY = 2  # MNT_DETACH


def can_mount() -> bool:
    """Whether this user may mount one here."""
    return os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)


@contextlib.contextmanager
def silent_file(place: Path) -> Iterator[Path]:
    """The file, open to all users; `place` is a directory for the mount.  OSError without FUSE."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"silent", os.fsencode(place), b"fuse", 0, options):
        os.close(device)
        raise OSError(ctypes.get_errno(), "cannot mount")
    ours, theirs = socket.socketpair()
    serving = Background(_serve, device, theirs)
    serving.start()
    try:
        yield place / "never"
    finally:
        libc.umount2(os.fsencode(place), LAZILY)
        ours.close()
        serving.finish()
        theirs.close()
        os.close(device)  # it ends the reads that wait


def _serve(device: int, end: socket.socket) -> None:
    """Answer what the kernel asks until the other one of `end` is closed; reads are not answered.
    <linux/fuse.h>"""
    while end not in select.select([device, end], [], [])[0]:
        try:
            request = os.read(device, 1 << 20)
        except OSError:
            return
        _, kind, unique, node = struct.unpack_from("<IIQQ", request)
        if kind in (READ, FORGET, INTERRUPT):
            continue
        body, error = b"", 0
        if kind == INIT:
            body = struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 16, 12, 1 << 17, 1, 0, 0, 0)
        elif kind == LOOKUP:
            body = struct.pack("<QQQQII", 2, 0, 1, 1, 0, 0) + _attributes(2)
        elif kind == GETATTR:
            body = struct.pack("<QII", 1, 0, 0) + _attributes(node)
        elif kind == OPEN:
            body = struct.pack("<QII", 1, 1, 0)
        elif kind not in (RELEASE, FLUSH):
            error = -38
        with contextlib.suppress(OSError):
            os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)


def _attributes(node: int) -> bytes:
    directory = node == 1
    size, mode = (0, 0o40755) if directory else (SIZE, 0o100666)
    return struct.pack("<6Q10I", node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
