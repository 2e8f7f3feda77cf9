"""Makes what the tests of the fleet run: PostgreSQL 17 with pgvector in a root of Debian trixie.

    python packaging/make_postgres.py

Its directory is printed; it is made once, in ~/.cache/nimad/rig.  Needs root: the servers are
started in it by chroot, as its user postgres.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from make_root import make_root

PACKAGES = "postgresql-17,postgresql-17-pgvector,openssl"


def place() -> Path:
    """The directory, whether it is there or not."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nimad" / "rig" / "postgres"


def main() -> int:
    """Make it where it is not there."""
    made = place()
    if not made.exists():
        tar, half = made.with_suffix(".tar"), made.with_suffix(".part")
        make_root("trixie", tar, also=PACKAGES)
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        subprocess.run(["tar", "-C", str(half), "-xf", str(tar)], check=True)
        tar.unlink()
        half.rename(made)
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
