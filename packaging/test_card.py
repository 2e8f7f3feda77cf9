"""`make test-card`: nimad on cards that lose, tear, reorder, fail, refuse or lie.

    python packaging/test_card.py [--rounds N] [--images N] [--seed N] [-- options of pytest]

A round uses a card for some seconds while all that the kernel writes to it is recorded, makes so
many cards of that as power cuts would have left, and starts a nimad on each.  It needs root, FUSE
and loop devices; without these it is skipped.  Prints a table, and writes it to build/card.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from targets import ROOT, Target, host_arch, host_release, obstacles

TOOLS = {"mkfs.ext4": "e2fsprogs", "filefrag": "e2fsprogs", "losetup": "mount"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="cards that are used")
    parser.add_argument("--images", type=int, default=60, help="power cuts of each")
    parser.add_argument("--seed", type=int, default=1, help="number of the first card")
    parser.add_argument("pytest", nargs="*", help="options for pytest")
    options = parser.parse_args()
    if found := obstacles(Target(host_release(), host_arch()), TOOLS, "test-card"):
        print("\n".join(found), file=sys.stderr)
        return 1
    settings = {
        "NIMAD_CARD_REPORT": str(ROOT / "build" / "card.json"),
        "NIMAD_CARD_ROUNDS": str(options.rounds),
        "NIMAD_CARD_IMAGES": str(options.images),
        "NIMAD_CARD_SEED": str(options.seed),
    }
    command = [sys.executable, "-m", "pytest", "-vv", "-s", "-rs", "tests/system/card"]
    return subprocess.run(
        [*command, *options.pytest], cwd=ROOT, env={**os.environ, **settings}
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
