"""The package before it is installed: Debian's own checker, and the same bytes when made again."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.installed.conftest import CHECKOUT


@pytest.mark.parametrize("name", ["nimad", "nimad-minilm"])
def test_lintian_is_content(package: Path, name: str) -> None:
    package = package.with_name(package.name.replace("nimad_", f"{name}_"))
    if not package.exists():
        pytest.skip(f"there is no {package.name}: `make deb-minilm` makes it")
    command = ["lintian", "--pedantic", "--fail-on", "error,warning,pedantic"]
    command += ["--allow-root", "--tag-display-limit", "0", str(package)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_making_it_again_elsewhere_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    release = os.environ["NIMAD_RELEASE"]
    (last,) = (CHECKOUT / "build/deb").glob(f"{release}-{package.stem.rpartition('_')[2]}/nimad")
    sources = shutil.copytree(last, tmp_path / "elsewhere" / "nimad", symlinks=True)
    command = [sys.executable, CHECKOUT / "packaging/build_deb.py", "--release", release]
    command += ["--sources", sources, "--into", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    first, again = (
        hashlib.sha256(path.read_bytes()).hexdigest() for path in (package, tmp_path / package.name)
    )
    assert first == again
