"""Downloads the locked wheels of one target into a cache; the package is then built offline.

    python packaging/fetch_wheels.py [--release bookworm] [--arch arm64] [--cache DIR]

Prints the directory that holds them. A complete cache needs no network.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from pathlib import Path

from download import download
from targets import SDIST_LOCK, Target, add_arguments

LOCK_LINE = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+) --hash=sha256:([0-9a-f]{64})$", re.MULTILINE)


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nimad" / "wheels"


def missing(lock: Path, folder: Path) -> list[str]:
    """The locked projects of which the folder has no file with the locked digest."""
    have = {hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()}
    entries = LOCK_LINE.findall(lock.read_text(encoding="utf-8"))
    return [name for name, _version, digest in entries if digest not in have]


def fetch(target: Target, cache: Path, minilm: bool = False) -> Path:
    """Completes the target's folder in the cache and returns it; the one of nimad-minilm if so."""
    folder = cache / (target.minilm_lock if minilm else target.lock).stem
    folder.mkdir(parents=True, exist_ok=True)
    # Without build isolation pip uses the setuptools at hand instead of fetching an unlocked one.
    sdist_options = ["--no-binary=:all:", "--no-build-isolation"]
    locks = [(target.lock, target.pip_options()), (SDIST_LOCK, sdist_options)]
    if minilm:
        locks = [(target.minilm_lock, target.pip_options())]
    for lock, options in locks:
        if not missing(lock, folder):
            continue
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes"]
        command += ["--no-deps", *options, "--dest", str(folder), "--requirement", str(lock)]
        download(command)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--cache", type=Path, default=default_cache())
    options = parser.parse_args()
    print(fetch(Target(options.release, options.arch), options.cache))
    return 0


if __name__ == "__main__":
    sys.exit(main())
