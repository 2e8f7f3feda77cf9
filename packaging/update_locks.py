"""Writes the hash locks of the vendored wheels from packaging/locks/vendored.in and minilm.in.

    python packaging/update_locks.py

Run it after a version changed there. pip chooses the file for each Python and architecture; its
SHA-256 goes into the lock, and from then on nothing else is accepted under that version.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from targets import LOCKS, SDIST_LOCK, SDISTS, Target, all_targets

HEAD = "# Written by packaging/update_locks.py from vendored.in: edit there.\n"
MINILM = "minilm.in"


def pins(source: str = "vendored.in") -> list[str]:
    """The "name==version" lines of one of the lists."""
    lines = (LOCKS / source).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def is_sdist(pin: str) -> bool:
    return pin.partition("==")[0] in SDISTS


def locked(pin: str, options: list[str]) -> str:
    """One lock line: the pin with the digest of the one file that pip takes for it."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, *options, "--dest", scratch, pin], check=True)
        (found,) = Path(scratch).iterdir()
        digest = hashlib.sha256(found.read_bytes()).hexdigest()
    return f"{pin} --hash=sha256:{digest}\n"


def write_lock(path: Path, lines: list[str], source: str = "vendored.in") -> None:
    path.write_text(HEAD.replace("vendored.in", source) + "".join(lines), encoding="utf-8")
    print(f"wrote {path.relative_to(LOCKS.parent.parent)}")


def lock_target(target: Target) -> None:
    wheels = [pin for pin in pins() if not is_sdist(pin)]
    write_lock(target.lock, [locked(pin, target.pip_options()) for pin in wheels])
    lines = [locked(pin, target.pip_options()) for pin in pins(MINILM)]
    write_lock(target.minilm_lock, lines, MINILM)


def main() -> int:
    for target in all_targets():
        lock_target(target)
    sdists = [pin for pin in pins() if is_sdist(pin)]
    # Without build isolation pip uses the setuptools at hand instead of fetching an unlocked one.
    options = ["--no-binary=:all:", "--no-build-isolation"]
    write_lock(SDIST_LOCK, [locked(pin, options) for pin in sdists])
    return 0


if __name__ == "__main__":
    sys.exit(main())
