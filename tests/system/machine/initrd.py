"""The smallest initial RAM disk that mounts a virtio disk: a fiftieth of Debian's, and no emulated
mkinitramfs.  For a root without one of its own, that has busybox-static."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path

MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
"""What mounting needs, where it is not part of the kernel; in order."""
INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for each in /modules/*; do /bin/busybox insmod $each; done
until /bin/busybox mount -t ext4 -o noatime /dev/vda /root; do /bin/busybox sleep 0.1; done
exec /bin/busybox switch_root /root /sbin/init
"""


def make_initrd(root: Path, place: Path) -> None:
    """Write the RAM disk for the one kernel of an unpacked root."""
    (modules,) = (root / "usr/lib/modules").iterdir()
    files = {"init": INIT.encode(), "bin/busybox": (root / "usr/bin/busybox").read_bytes()}
    for number, name in enumerate(_in_order(modules)):
        data = (modules / name).read_bytes()
        files[f"modules/{number:02}.ko"] = lzma.decompress(data) if name.endswith(".xz") else data
    entries = [_entry(name, 0o40755) for name in ("bin", "dev", "modules", "root")]
    entries += [_entry(name, 0o100755, data) for name, data in files.items()]
    entries.append(_entry("TRAILER!!!", 0))
    place.write_bytes(gzip.compress(b"".join(entries), 1))


def _in_order(modules: Path) -> Iterator[str]:
    """Paths of the modules, each after those that it needs."""
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        name, _, others = line.partition(":")
        needs[name.split("/")[-1].partition(".")[0]] = [*others.split()[::-1], name]
    return iter(dict.fromkeys(path for name in MODULES for path in needs.get(name, ())))


def _entry(name: str, mode: int, data: bytes = b"") -> bytes:
    """One file of a cpio archive of the "newc" form (Linux, buffer-format.rst)."""
    named = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(named), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + named
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
