"""`make test-deb`: installs the package on a small Debian under a real systemd and uses it.

    python packaging/test_deb.py [--release bookworm|trixie] [-- options of pytest]

Tests dist/nimad_VERSION_ARCH.deb of the release (made first when it is missing) for this machine's
architecture.  Needs root: systemd-nspawn boots the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from make_root import cached_root
from targets import ROOT, Target, add_arguments, obstacles

TOOLS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "lintian": "lintian",
    "nsenter": "util-linux",
    "mandoc": "mandoc",
    "dpkg-deb": "dpkg",
}
TESTS = ("tests/system/installed", "tests/system/test_package_contents.py")


def find_package(target: Target) -> Path | None:
    """The newest package of the target in dist/."""
    pattern = f"nimad_*{target.version_suffix}_{target.arch}.deb"
    found = sorted((ROOT / "dist").glob(pattern), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("pytest", nargs="*", help="options for pytest")
    options = parser.parse_args()
    target = Target(options.release, options.arch)
    if found := obstacles(target, TOOLS, "test-deb"):
        print("\n".join(found), file=sys.stderr)
        return 1
    if find_package(target) is None:
        build = [sys.executable, str(ROOT / "packaging/build_deb.py")]
        subprocess.run([*build, "--release", target.release, "--arch", target.arch], check=True)
    package = find_package(target)
    print(f"Testing {package} on a fresh {target.release}", flush=True)
    settings = {
        "NIMAD_DEB": str(package),
        "NIMAD_ROOT": str(cached_root(target.release)),
        "NIMAD_RELEASE": target.release,
    }
    # -rP also shows what the passing tests measured.
    command = [sys.executable, "-m", "pytest", "-vv", "-rP", *TESTS, *options.pytest]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}).returncode


if __name__ == "__main__":
    sys.exit(main())
