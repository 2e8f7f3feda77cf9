"""The releases and architectures a package is made for, and what each implies."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "packaging" / "locks"
SDISTS = frozenset({"sdnotify"})
"""Vendored projects that publish no wheel; all pure Python."""

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
VERSION_SUFFIXES = {"bookworm": "+deb12u1", "trixie": "+deb13u1"}
"""Appended to the version, so that the package of a newer release is an upgrade."""

OPENSSL = {"bookworm": "libssl3", "trixie": "libssl3t64"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC_MINORS = (17, 24, 26, 27, 28)
"""manylinux levels to ask for: pip compares tags literally. All are older than either release."""


@dataclass(frozen=True)
class Target:
    """One package: a Debian release and a Debian architecture."""

    release: str
    arch: str

    @property
    def python(self) -> str:
        """The release's Python, such as "3.11"."""
        return PYTHONS[self.release]

    @property
    def machine(self) -> str:
        """The architecture as the kernel and the wheels name it."""
        return MACHINES[self.arch]

    @property
    def lock(self) -> Path:
        """The hash lock of the compiled wheels; releases of one Python share it."""
        return LOCKS / f"py{self.python}-{self.arch}.txt"

    @property
    def minilm_lock(self) -> Path:
        """The same for the package nimad-minilm."""
        return LOCKS / f"minilm-py{self.python}-{self.arch}.txt"

    @property
    def version_suffix(self) -> str:
        return VERSION_SUFFIXES[self.release]

    @property
    def name(self) -> str:
        return f"{self.release}-{self.arch}"

    def pip_options(self) -> list[str]:
        """What makes pip choose wheels for the target instead of for this machine."""
        tag = "cp" + self.python.replace(".", "")
        options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={self.python}"]
        options += [f"--abi={abi}" for abi in (tag, "abi3", "none")]
        options += [f"--platform=manylinux_2_{n}_{self.machine}" for n in GLIBC_MINORS]
        return [*options, f"--platform=manylinux2014_{self.machine}"]


SDIST_LOCK = LOCKS / "sdists.txt"


def all_targets() -> list[Target]:
    return [Target(release, arch) for release in PYTHONS for arch in MACHINES]


def host_release() -> str:
    """This machine's release when packages are made for it, else the oldest one."""
    try:
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        codename = ""
    return codename if codename in PYTHONS else "bookworm"


def host_arch() -> str:
    """This machine's Debian architecture."""
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "amd64"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--release and --arch, with this machine's as defaults."""
    parser.add_argument("--release", choices=list(PYTHONS), default=host_release())
    parser.add_argument("--arch", choices=list(MACHINES), default=host_arch())


def main() -> int:
    """Prints one property of a target, for debian/rules: its Python, or its version suffix."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    add_arguments(parser)
    parser.add_argument("what", choices=["python", "version_suffix"])
    options = parser.parse_args()
    print(getattr(Target(options.release, options.arch), options.what))
    return 0


if __name__ == "__main__":
    sys.exit(main())


def obstacles(target: Target, tools: dict[str, str], goal: str) -> list[str]:
    """What keeps this machine from making a goal in another system, each with its remedy.

    `tools` are commands that it needs, with their packages.
    """
    missing = sorted({package for tool, package in tools.items() if not shutil.which(tool)})
    found = []
    if missing:
        found.append(f"Tools are missing: sudo apt install {' '.join(missing)}")
    if os.geteuid() != 0:
        found.append(f"Only root may enter another system: sudo make {goal}")
    if target.arch != host_arch():
        found.append(f"What is made for {target.arch} does not run here; leave ARCH out")
    return found
