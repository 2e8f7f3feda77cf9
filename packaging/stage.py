"""Puts our own files into the package tree: the nimad package, the launchers, the list of wheels.

    python3 packaging/stage.py --release R --arch A --into debian/nimad

Run by debian/rules after vendor.py.  Of the ready search kernels only those of the package's
architecture go in; none at all ends the build, for the daemon would silently use slow ones.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from targets import ROOT, SDIST_LOCK, Target, add_arguments
from vendor import without_help

ELF_MACHINES = {"amd64": 62, "arm64": 183}
"""e_machine of an ELF header (two bytes at offset 18): EM_X86_64 and EM_AARCH64."""

DOCUMENTED = {"client", "cognition", "retrieval", "nima_episodic_integration.py"}
"""What programs of others import, or may."""

READ = {"errors.py", "contract.py"}

LAUNCHERS = ROOT / "packaging" / "launchers"


def is_for(path: Path, arch: str) -> bool:
    """Whether a shared library is made for the architecture."""
    return int.from_bytes(path.read_bytes()[18:20], "little") == ELF_MACHINES[arch]


def stage_package(target: Target, into: Path) -> None:
    """Copies nimad/ without byte-code, without the kernels of other architectures, and without
    docstrings but where they are read: by users of the client, as messages of errors, and by the
    library's own dataclass, which would search for a signature to put there."""
    tree = into / "usr/lib/nimad/nimad"
    shutil.copytree(ROOT / "nimad", tree, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for path in tree.rglob("*.py"):
        if path.name not in READ and path.relative_to(tree).parts[0] not in DOCUMENTED:
            path.write_bytes(without_help(path.read_bytes()))
    kernels = list(tree.rglob("*.so"))
    for path in kernels:
        if not is_for(path, target.arch):
            path.unlink()
    if not any(path.exists() for path in kernels):
        raise SystemExit(f"stage.py: nimad/ holds no search kernels for {target.arch}")


def stage_launchers(target: Target, into: Path) -> None:
    for source in sorted(LAUNCHERS.iterdir()):
        place = into / "usr/bin" / source.name
        place.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8").replace("@PYTHON@", target.python)
        place.write_text(text, encoding="utf-8")
        place.chmod(0o755)


def stage_wheel_list(target: Target, into: Path) -> None:
    """Keeps name, version and digest of every vendored file where an auditor looks for them."""
    place = into / "usr/share/doc/nimad/vendored.txt"
    place.parent.mkdir(parents=True, exist_ok=True)
    lines = [line for lock in (target.lock, SDIST_LOCK) for line in lock.read_text().splitlines()]
    kept = [line for line in lines if not line.startswith("#")]
    place.write_text("\n".join(kept) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--into", type=Path, required=True)
    options = parser.parse_args()
    target = Target(options.release, options.arch)
    stage_package(target, options.into)
    stage_launchers(target, options.into)
    stage_wheel_list(target, options.into)
    return 0


if __name__ == "__main__":
    sys.exit(main())
