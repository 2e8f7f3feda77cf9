"""Programs that a test needs and a machine may lack."""

from __future__ import annotations

import os
import shutil

import pytest


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
