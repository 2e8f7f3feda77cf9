"""Makes the Debian package: dist/nimad_VERSION_ARCH.deb and the same as dist/nimad.deb.

    python packaging/build_deb.py [--release bookworm|trixie] [--arch amd64|arm64] [--minilm]

With --minilm the package nimad-minilm is made as well; `make minilm` makes its model first.

Needs the network only for wheels that are not in the cache yet.  The tree is built from a copy, so
nothing is left in the checkout; the same sources and locks give the same bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from fetch_wheels import default_cache, fetch
from targets import ROOT, Target, add_arguments

TOOLS = {
    "dpkg-buildpackage": "dpkg-dev",
    "dh": "debhelper",
    "dh_bash-completion": "bash-completion",
    "readelf": "binutils",
    "git": "git",
}
STRIP = {"amd64": "binutils-x86-64-linux-gnu", "arm64": "binutils-aarch64-linux-gnu"}


def missing_tools(target: Target) -> list[str]:
    """The Debian packages that are still needed to build for the target."""
    tools = {**TOOLS, f"{target.machine}-linux-gnu-strip": STRIP[target.arch]}
    return sorted({package for tool, package in tools.items() if not shutil.which(tool)})


def copy_checkout(into: Path) -> None:
    """What git knows or would add, as it stands in the checkout now."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, listing.decode().split("\0")):
        source, place = ROOT / name, into / name
        if source.is_file() or source.is_symlink():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place, follow_symlinks=False)


def fresh_copy(target: Target) -> Path:
    """A copy of the checkout to build in; the last one for this target is removed."""
    work = ROOT / "build" / "deb" / target.name
    shutil.rmtree(work, ignore_errors=True)
    copy_checkout(work / "nimad")
    return work / "nimad"


def build(target: Target, sources: Path, wheels: Path, more: dict[str, str]) -> list[Path]:
    """Runs dpkg-buildpackage in a copy of the sources and returns the packages it made."""
    command = ["dpkg-buildpackage", "--build=binary", "--no-sign", f"--host-arch={target.arch}"]
    # Debian implies a compiler (for another architecture: a cross compiler), and nothing is
    # compiled; missing_tools() has looked for what is really needed.
    command.append("--no-check-builddeps")
    variables = {"NIMAD_RELEASE": target.release, "NIMAD_WHEELS": str(wheels), **more}
    # dpkg-buildpackage fails when PYTHONPATH or a virtualenv hides the system's modules.
    variables["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    subprocess.run(command, cwd=sources, env={**os.environ, **variables}, check=True)
    return sorted(sources.parent.glob("nimad*_*.deb"))


def for_minilm(target: Target) -> dict[str, str]:
    """The variables that make nimad-minilm, too; SystemExit when the model is missing."""
    model = default_cache().parent / "minilm.model"
    if not model.exists():
        raise SystemExit(f"build_deb.py: there is no {model}; `make minilm` makes it")
    return {
        "DEB_BUILD_PROFILES": "pkg.nimad.minilm",
        "NIMAD_MINILM_WHEELS": str(fetch(target, default_cache(), minilm=True)),
        "NIMAD_MODEL": str(model),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--into", type=Path, default=ROOT / "dist", help="where the package goes")
    parser.add_argument("--sources", type=Path, help="build here, not in a new copy")
    parser.add_argument("--minilm", action="store_true", help="make nimad-minilm, too")
    options = parser.parse_args()
    target = Target(options.release, options.arch)
    if packages := missing_tools(target):
        print(f"To build the package: sudo apt install {' '.join(packages)}", file=sys.stderr)
        return 1
    try:
        wheels = fetch(target, default_cache())
        more = for_minilm(target) if options.minilm else {}
        made = build(target, options.sources or fresh_copy(target), wheels, more)
    except subprocess.CalledProcessError as error:
        print(f"build_deb.py: {error}", file=sys.stderr)
        return 1
    options.into.mkdir(parents=True, exist_ok=True)
    for package in made:
        short = package.name.partition("_")[0] + ".deb"
        for name in (package.name, short):
            shutil.copyfile(package, options.into / name)
        size = package.stat().st_size / 1e6
        print(f"{options.into / package.name}: {size:.1f} MB (also as {short})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
