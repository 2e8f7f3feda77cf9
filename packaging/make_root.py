"""Makes the smallest Debian that boots, as a tar file: the machine of the rigs of `make test-...`.

    python packaging/make_root.py [--release bookworm|trixie]

minbase, systemd and Python, nothing else: a dependency that the package forgot shows up there.
With a kernel it boots in an emulator, too; then it also has udev, which finds the disks.  The tar
file is cached (its path is printed).  apt's own sources and proxy settings of this machine are
used, so it works wherever `apt update` does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from download import download
from targets import add_arguments, host_arch

INCLUDED = "systemd,systemd-sysv,dbus,python3"
PASSED_ON = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")
"""apt settings of this machine that reaching its mirror may depend on."""


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sources(release: str) -> list[str]:
    """One-line sources of the release on the mirrors this machine uses; none on another system."""
    wanted = "$(REPO_URI)|$(ORIGIN)|$(LABEL)"
    lines = set(output("apt-get", "indextargets", "--format", wanted).splitlines())
    mirrors = sorted(line.split("|") for line in lines if "|Debian|" in line)
    made = []
    for uri, _origin, label in mirrors:
        if label == "Debian":
            made += [f"deb {uri} {suite} main" for suite in (release, f"{release}-updates")]
        elif label == "Debian-Security":
            made.append(f"deb {uri} {release}-security main")
    return made


def apt_settings() -> str:
    """The passed-on settings in the syntax of apt.conf."""
    lines = output("apt-config", "dump").splitlines()
    return "".join(f"{line}\n" for line in lines if line.startswith(PASSED_ON))


def make_root(
    release: str, place: Path, kernel: str | None = None, arch: str = "", also: str = ""
) -> None:
    """Runs mmdebstrap; the tar file appears under its name only when it is complete.

    Another architecture needs qemu-user-static, arch-test and some minutes; its kernel gets no
    initial RAM disk, for making one takes as long again.
    """
    if (arch or host_arch()) != host_arch():
        os.environ["INITRD"] = "No"  # read by the kernel's postinst.d/initramfs-tools
    included = f"{INCLUDED},udev,{kernel}" if kernel else also or INCLUDED
    place.parent.mkdir(parents=True, exist_ok=True)
    half = place.with_suffix(".part.tar")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as settings:
        settings.write(apt_settings())
        settings.flush()
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={included}"]
        command += [f"--architectures={arch or host_arch()}", f"--aptopt={settings.name}"]
        command += ['--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap']
        download([*command, release, str(half), *sources(release)])
    half.rename(place)


def cached_root(release: str, kernel: str | None = None, arch: str = "") -> Path:
    """The tar file of a release, made at the first call."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = "-".join(filter(None, (release, arch or host_arch(), kernel)))
    place = Path(base) / "nimad" / "rig" / f"{name}.tar"
    if not place.exists():
        make_root(release, place, kernel, arch)
    return place


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    print(cached_root(parser.parse_args().release))
    return 0


if __name__ == "__main__":
    sys.exit(main())
