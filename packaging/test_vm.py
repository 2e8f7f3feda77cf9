"""`make test-vm`: a whole machine of its own with little memory, on which nimad is put to the test.

    python packaging/test_vm.py [--release bookworm|trixie] [-- options of pytest]

A container shares this machine's kernel; this rig has its own: limits of control groups hold, and
the power can be cut.  Tests dist/nimad_VERSION_ARCH.deb of the release (made first when it is
missing) in qemu without acceleration, so that it runs anywhere, slowly: some minutes.  The machine
without nimad is kept in ~/.cache/nimad/rig.  Needs root, to unpack it with its owners.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys

from make_root import cached_root
from targets import ROOT, Target, add_arguments, host_arch
from test_deb import find_package

TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "dpkg-deb": "dpkg",
}
TESTS = "tests/system/machine"


def obstacles(target: Target) -> list[str]:
    """What keeps this machine from running the tests, each with its remedy."""
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    found = []
    if missing:
        found.append(
            f"Tools are missing: sudo apt install --no-install-recommends {' '.join(missing)}"
        )
    if os.geteuid() != 0:
        found.append("Only root may unpack the machine: sudo make test-vm")
    if (target.arch, host_arch()) != ("amd64", "amd64"):
        found.append("The machine is an amd64 one, made on amd64")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("pytest", nargs="*", help="options for pytest")
    options = parser.parse_args()
    target = Target(options.release, options.arch)
    if found := obstacles(target):
        print("\n".join(found), file=sys.stderr)
        return 1
    if find_package(target) is None:
        build = [sys.executable, str(ROOT / "packaging/build_deb.py")]
        subprocess.run([*build, "--release", target.release, "--arch", target.arch], check=True)
    package = find_package(target)
    print(f"Testing {package} on a {target.release} with little memory", flush=True)
    settings = {
        "NIMAD_VM_DEB": str(package),
        "NIMAD_VM_ROOT": str(cached_root(target.release, kernel="linux-image-cloud-amd64")),
    }
    # -rP also shows what the passing tests measured.
    command = [sys.executable, "-m", "pytest", "-vv", "-rP", TESTS, *options.pytest]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}).returncode


if __name__ == "__main__":
    sys.exit(main())
