"""docs/internals names files and crash points that exist, and every crash point there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "internals").glob("*.md"))
OTHERS = [ROOT / "docs" / name for name in ("architecture.md", "contributing.md")]
SOURCE = {path: path.read_text(encoding="utf-8") for path in (ROOT / "nimad").rglob("*.py")}
REPLACING = {"before_fsync", "before_rename", "after_rename"}
"""Crash points of every durable replacement: see nimad/disk/durable.py."""


def points_in_code() -> set[str]:
    return {
        name for text in SOURCE.values() for name in re.findall(r'crash_point\("(.+?)"\)', text)
    }


def points_in_docs() -> set[str]:
    works = "|".join({name.split(".")[0] for name in points_in_code()})
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    found = set(re.findall(rf"`((?:{works})\.[a-z_]+)`", text))
    return {name for name in found if name.split(".")[1] not in REPLACING} - {"columns.nrc"}


def test_every_crash_point_is_told() -> None:
    assert points_in_code() - points_in_docs() == set()


def test_no_crash_point_is_made_up() -> None:
    assert points_in_docs() - points_in_code() == set()


def test_files_that_are_named_exist() -> None:
    missing = [
        f"{page.name}: {name}"
        for page in [*PAGES, *OTHERS]
        for name in re.findall(
            r"`((?:nimad|tests|packaging|docs)/[\w./-]*)`", page.read_text(encoding="utf-8")
        )
        if not (ROOT / name).exists()
    ]
    assert missing == []


def test_pages_link_to_each_other() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
    index = (ROOT / "docs" / "internals" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"({page.name})" not in index] == ["README.md"]
