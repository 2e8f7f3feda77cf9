"""Names the Debian packages that the shared libraries of a package tree need.

    python3 packaging/native_depends.py --release R --arch A TREE

Prints a Depends list.  dpkg-shlibdeps would need the libraries of the other architecture; reading
the ELF headers does not.  A library without a package, or a symbol newer than the release has,
ends the build: better here than on the board.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from targets import OPENSSL, Target, add_arguments

PACKAGES = {
    "libc.so.6": "libc6",
    "libm.so.6": "libc6",
    "libdl.so.2": "libc6",
    "libpthread.so.0": "libc6",
    "librt.so.1": "libc6",
    "ld-linux-x86-64.so.2": "libc6",
    "ld-linux-aarch64.so.1": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
    "libatomic.so.1": "libatomic1",
}
NEWEST = {
    "bookworm": {"GLIBC": (2, 36), "GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13)},
    "trixie": {"GLIBC": (2, 41), "GLIBCXX": (3, 4, 33), "CXXABI": (1, 3, 15)},
}
"""The newest symbol versions of each release's libc6 and libstdc++6."""

ELF_MACHINES = {"amd64": "X86-64", "arm64": "AArch64"}


class NativeError(Exception):
    """A shared library cannot run on the target; the message names the library and the reason."""


def readelf(path: Path) -> str:
    """Header, dynamic section and symbol versions of one ELF file."""
    command = ["readelf", "--wide", "--file-header", "--dynamic", "--version-info", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check_machine(path: Path, text: str, arch: str) -> None:
    if not re.search(rf"Machine:.*{ELF_MACHINES[arch]}", text):
        raise NativeError(f"{path} is not made for {arch}")


def check_symbols(path: Path, text: str, release: str) -> None:
    for family, version in re.findall(r"Name: (GLIBC|GLIBCXX|CXXABI)_([0-9.]+)", text):
        if tuple(map(int, version.split("."))) > NEWEST[release][family]:
            raise NativeError(f"{path} needs {family}_{version}, which {release} does not have")


def needed(path: Path, text: str, release: str, shipped: set[str]) -> set[str]:
    """The Debian packages of one library's NEEDED entries; those in the tree itself need none."""
    packages = dict(PACKAGES)
    packages["libssl.so.3"] = packages["libcrypto.so.3"] = OPENSSL[release]
    found = set(re.findall(r"\(NEEDED\).*\[(.+?)\]", text)) - shipped
    if unknown := sorted(found - set(packages)):
        raise NativeError(f"{path} needs {', '.join(unknown)}, which no known package provides")
    return {packages[soname] for soname in found}


def depends(tree: Path, target: Target) -> list[str]:
    """The sorted package names that everything below `tree` needs."""
    libraries = sorted(p for p in tree.rglob("*.so*") if p.is_file())
    shipped = {path.name for path in libraries}
    names: set[str] = set()
    for path in libraries:
        text = readelf(path)
        check_machine(path, text, target.arch)
        check_symbols(path, text, target.release)
        names |= needed(path, text, target.release, shipped)
    return sorted(names)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("tree", type=Path)
    options = parser.parse_args()
    try:
        print(", ".join(depends(options.tree, Target(options.release, options.arch))))
    except NativeError as error:
        print(f"native_depends.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
