"""Memory goes back to the system, and what is given back comes again."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nimad import heap


def resident(part: str) -> int:
    """KiB of the mappings with `part` in their path that are in memory."""
    total, mine = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if not line.split()[0].endswith(":"):
            mine = part in line
        elif mine and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


def count() -> int:
    database = sqlite3.connect(":memory:")
    try:
        return int(database.execute("SELECT count(*) FROM json_each('[1, 2, 3]')").fetchone()[0])
    finally:
        database.close()


def test_huge_pages_are_off_for_the_process() -> None:
    code = "from nimad import heap; heap.keep_small(); print(open('/proc/self/status').read())"
    run = [sys.executable, "-c", code]
    text = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    shown = [line.split()[1] for line in text.splitlines() if line.startswith("THP_enabled:")]
    if not shown:
        pytest.skip("this kernel does not tell whether huge pages are on")
    assert shown == ["0"]


def test_code_is_given_back_and_comes_again() -> None:
    assert count() == 3
    before = resident("libsqlite3")
    if not before:
        pytest.skip("SQLite is no library of its own here")
    heap.give_back_code("/libsqlite3")
    assert resident("libsqlite3") < before / 2
    assert count() == 3


def test_what_relocation_changed_is_never_given_back() -> None:
    """Those pages differ from the file: who reads them again would get the file's."""
    for first, end in heap._unchanged("/"):
        assert first < end
    text = Path("/proc/self/maps").read_text()
    writable = {int(line.split("-")[0], 16) for line in text.splitlines() if "w" in line.split()[1]}
    assert not writable & {first for first, _ in heap._unchanged("/")}
