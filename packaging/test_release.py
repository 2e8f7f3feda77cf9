"""`make test-release`: the test suite on another Debian release, with its own Python and SQLite.

    python packaging/test_release.py [--release bookworm|trixie] [-- options of pytest]

A fresh root of the release (see make_root.py) is unpacked in a temporary directory; the tools of
development are fetched as wheels for its Python on this machine, because that root has neither pip
nor a network; the checkout is copied in without .venv and without what git ignores.  Needs root:
systemd-nspawn runs one command there, without booting.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from download import download
from make_root import cached_root
from targets import ROOT, Target, add_arguments, obstacles

TOOLS = {"systemd-nspawn": "systemd-container", "mmdebstrap": "mmdebstrap", "git": "git"}
SETUP = (
    "python3 -m venv --without-pip /nimad/.venv && "
    'printf "/wheels\\n/nimad\\n" > "$(echo /nimad/.venv/lib/python3.*/site-packages)/here.pth" && '
    "/nimad/.venv/bin/python -c 'import sqlite3, sys; "
    'print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")\''
)
"""Makes the environment that the tests run in, and says what it is made of."""
SCRIPT = """#!/nimad/.venv/bin/python
import sys
from {module} import {function}
sys.exit({function}())
"""
"""A command of the project, as pip would install it."""


def install_tools(target: Target, place: Path) -> None:
    """Install what pyproject.toml asks for, development included, for the target's Python.

    Only wheels are taken; what is published as source alone is built here (it is pure Python).
    """
    told = project()
    extras = told["optional-dependencies"]
    wanted = [*told["dependencies"], *extras["dev"], *extras["kernels"]]
    wanted = [name for name in wanted if not name.startswith(told["name"])]
    with tempfile.TemporaryDirectory() as built:
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built]
        download([*wheel, "sdnotify"])
        install = [*pip, "install", "--target", str(place), "--find-links", built]
        download([*install, *target.pip_options(), *wanted])


def project() -> dict[str, Any]:
    """The table [project] of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)["project"]
    return table


def write_commands(place: Path) -> None:
    """Put the commands of the project into a directory."""
    for name, entry in project()["scripts"].items():
        module, _, function = entry.partition(":")
        script = place / name
        script.write_text(SCRIPT.format(module=module, function=function), encoding="utf-8")
        script.chmod(0o755)


def copy_checkout(place: Path) -> None:
    """Copy what git tracks, as it is in the working tree now."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, tracked.split("\0")):
        source = ROOT / name
        if source.exists() or source.is_symlink():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place / name, follow_symlinks=False)


def run_tests(target: Target, options: list[str]) -> int:
    """Run pytest in a root of the target's release; its exit code."""
    with tempfile.TemporaryDirectory(prefix="nimad-release-") as place:
        root, wheels, checkout = (Path(place) / name for name in ("root", "wheels", "nimad"))
        root.mkdir()
        subprocess.run(["tar", "-xf", cached_root(target.release), "-C", root], check=True)
        install_tools(target, wheels)
        copy_checkout(checkout)
        enter = [
            "systemd-nspawn",
            "--quiet",
            f"--directory={root}",
            "--register=no",
            "--keep-unit",
            "--as-pid2",
        ]
        enter += ["--pipe", "--chdir=/nimad", "--private-network", "--setenv=LC_ALL=C.UTF-8"]
        enter += [f"--bind={checkout}:/nimad", f"--bind-ro={wheels}:/wheels"]
        shared = ROOT.parent / "shared"
        if shared.is_dir():
            enter.append(f"--bind-ro={shared}:/shared")
        subprocess.run([*enter, "sh", "-c", SETUP], check=True)
        write_commands(checkout / ".venv" / "bin")
        command = ["/nimad/.venv/bin/python", "-m", "pytest", *options]
        return subprocess.run([*enter, *command]).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.set_defaults(release="trixie")
    parser.add_argument("pytest", nargs="*", help="options for pytest")
    options = parser.parse_args()
    target = Target(options.release, options.arch)
    if found := obstacles(target, TOOLS, "test-release"):
        print("\n".join(found), file=sys.stderr)
        return 1
    print(f"Testing on {target.release}", flush=True)
    return run_tests(target, options.pytest)


if __name__ == "__main__":
    sys.exit(main())
