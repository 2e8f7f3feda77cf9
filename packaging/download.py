"""Commands that fetch something from a network: what failed once is tried again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAUSES = (5.0, 20.0, 60.0)
"""Times between one attempt and the next [s]."""


def download(command: Sequence[str | Path], **options: Any) -> None:
    """`subprocess.run`, up to four times.  Raises CalledProcessError when the last one fails."""
    for pause in PAUSES:
        if subprocess.run(command, **options).returncode == 0:
            return
        print(f"{command[0]} failed; again in {pause:g} s", file=sys.stderr, flush=True)
        time.sleep(pause)
    subprocess.run(command, check=True, **options)
