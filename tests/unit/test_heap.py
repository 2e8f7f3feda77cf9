"""How much memory the kernel keeps for the process."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from nimad import heap


def test_huge_pages_are_off_for_the_process() -> None:
    code = "from nimad import heap; heap.keep_small(); print(open('/proc/self/status').read())"
    run = [sys.executable, "-c", code]
    text = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    shown = [line.split()[1] for line in text.splitlines() if line.startswith("THP_enabled:")]
    if not shown:
        pytest.skip("this kernel does not tell whether huge pages are on")
    assert shown == ["0"]


def test_garbage_is_looked_for_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="one"), heap.without_cycles():
        assert not gc.isenabled()
        raise ValueError("one")
    assert gc.isenabled()
