"""Programs that a test needs and a machine may lack."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

_ROOT = str(Path(__file__).resolve().parents[2])
START_NIMACTL = f"import sys; sys.path.insert(0, {_ROOT!r}); from nimad.ctl.start import main"
NIMACTL = [sys.executable, "-I", "-S", "-c", f"{START_NIMACTL}; sys.exit(main(sys.argv[1:]))"]
"""nimactl as the launcher of the package runs it: nothing but the standard library on the path."""


def need(program: str, package: str) -> str:
    """The path of a program; without it the test is skipped, or fails where CI is set.

    There everything was installed on purpose, and a silent skip would hide a broken machine.
    """
    found = shutil.which(program)
    if found is None:
        reason = f"{program} is not here: sudo apt install {package}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found
