"""Every crash point that the code names is armed by some test: none is only there for show."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DURABLE = ("before_fsync", "before_rename", "after_rename")
"""The points of `replacing`, behind the prefix that its caller gives."""


def named(path: Path) -> Iterator[str]:
    """The crash points that a file of the package names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = getattr(node.func, "id", getattr(node.func, "attr", ""))
        given = [*node.args, *(word.value for word in node.keywords if word.arg == "crash")]
        texts = [arg.value for arg in given if isinstance(arg, ast.Constant)]
        names = [text for text in texts if isinstance(text, str)]
        if called == "crash_point":
            yield from names
        elif called in ("replacing", "write_durable", "write_container") and names:
            yield from (f"{names[-1]}.{point}" for point in DURABLE)


def armed() -> set[str]:
    """What the tests mention between quotes, without the number of the passage."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        if path != Path(__file__):
            found.update(re.findall(r'["=]([a-z_]+\.[a-z_]+)(?::\d+)?"', path.read_text("utf-8")))
    return found


def test_a_test_kills_at_every_point() -> None:
    points = {name for path in (ROOT / "nimad").rglob("*.py") for name in named(path)}
    assert {"migrate.copied", "seal.written", "rollback.batch"} <= points
    assert sorted(points - armed()) == []
