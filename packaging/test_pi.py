"""`make test-pi`: nimad on a look-alike of a Raspberry Pi 5, from the installation to power cuts.

    python packaging/test_pi.py [--quick | --prepare] [--memory MB] [--pages 16k|4k] [--rounds N]
        [--memories N] [--before PACKAGE] [-- options of pytest]

Debian trixie for arm64 with a kernel of 16 KiB pages on emulated Cortex-A76 cores, without
acceleration: it runs anywhere, ten times slower than the board.  Times are upper bounds, to be
compared with each other only; memory, bytes and counts are exact.  The machine without nimad is
kept in ~/.cache/nimad/rig (made once, some minutes).  Prints a table, and writes it to
build/board.json.  With --before an earlier package and this one are measured side by side, and
nothing else is done.  Needs root.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from make_root import cached_root
from targets import ROOT, Target, host_arch, obstacles
from test_deb import find_package

TOOLS = {
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-aarch64-static": "qemu-user-static",
    "arch-test": "arch-test",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
}
KERNELS = {
    "16k": "linux-image-arm64-16k,busybox-static",
    "4k": "linux-image-arm64,busybox-static",
}
"""The kernel's package, and what starts it: tests/system/machine/initrd.py."""
QUICK = "installs or rests or writes_little or migration or purge or strict"
"""Scenarios of the quick form, as pytest's -k takes them."""
BOARD = Target("trixie", "arm64")
FORMATS = Path("/proc/sys/fs/binfmt_misc")
FORMAT = "qemu-aarch64"
"""There when the kernel hands programs for arm64 to qemu, which making the machine needs."""


def register_format() -> None:
    """What systemd-binfmt does at a boot, where there is none, as in a container."""
    if host_arch() == BOARD.arch or (FORMATS / FORMAT).exists():
        return
    if not (FORMATS / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "none", str(FORMATS)], check=True)
    if not (FORMATS / FORMAT).exists():
        told = Path("/usr/lib/binfmt.d", f"{FORMAT}.conf").read_text()
        (FORMATS / "register").write_text(told.strip())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", type=int, default=1024, help="memory of the board [MiB]")
    parser.add_argument("--pages", choices=KERNELS, default="16k", help="pages of its kernel")
    parser.add_argument("--rounds", type=int, default=4, help="power cuts of each kind")
    parser.add_argument("--memories", type=int, default=10_000, help="size of the legacy store")
    parser.add_argument("--before", type=Path, help="an earlier package, to be compared with")
    parser.add_argument("--quick", action="store_true", help="one power cut of each kind, no more")
    parser.add_argument("--prepare", action="store_true", help="only make the machine")
    parser.add_argument("pytest", nargs="*", help="options for pytest")
    options = parser.parse_args()
    if found := obstacles(Target(BOARD.release, host_arch()), TOOLS, "test-pi"):
        print("\n".join(found), file=sys.stderr)
        return 1
    register_format()
    root = cached_root(BOARD.release, KERNELS[options.pages], BOARD.arch)
    if options.prepare:
        return 0
    if find_package(BOARD) is None:
        build = [sys.executable, str(ROOT / "packaging/build_deb.py")]
        subprocess.run([*build, "--release", BOARD.release, "--arch", BOARD.arch], check=True)
    settings = {
        "NIMAD_PI_DEB": str(find_package(BOARD)),
        "NIMAD_PI_ROOT": str(root),
        "NIMAD_PI_MEMORY": str(options.memory),
        "NIMAD_PI_ROUNDS": str(options.rounds),
        "NIMAD_PI_MEMORIES": str(options.memories),
        "NIMAD_PI_REPORT": str(ROOT / "build" / "board.json"),
    }
    if options.quick:
        settings |= {"NIMAD_PI_ROUNDS": "1", "NIMAD_PI_MEMORIES": "300", "NIMAD_PI_REST": "10"}
        options.pytest += ["-k", QUICK]
    tests = "tests/system/board"
    if options.before:
        settings["NIMAD_PI_BEFORE"] = str(options.before.resolve(strict=True))
        tests += "/test_versions.py"
    command = [sys.executable, "-m", "pytest", "-vv", "-s", "-x", tests]
    return subprocess.run(
        [*command, *options.pytest], cwd=ROOT, env={**os.environ, **settings}
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
