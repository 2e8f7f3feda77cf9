"""Imports only go down the layers of docs/architecture.md, and each library has its owner."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "nimad"

# Higher numbers may import lower ones (and their own); equal numbers of different units may not.
LEVELS = {
    "errors": 0,
    "model": 0.1,
    "keys": 0.15,
    "config": 0.2,
    "heap": 0.25,
    "datewords": 0.3,
    "when": 0.4,
    "prompt": 0.5,
    "openclaw": 0.6,
    "disk": 1,
    "vsa": 1.1,
    "embed": 1.2,
    "legacy": 1.3,
    "store": 2,
    "index": 2.1,
    "dense": 2.15,
    "graph": 2.2,
    "probe": 3,
    "recall": 3.1,
    "core": 3.2,
    "background": 3.25,
    "migrate": 3.3,
    "check": 3.4,
    "cognition": 3.5,
    "serve": 4,
    "systemd": 5,
    "logs": 5.1,
    "endpoint": 5.15,
    "lifecycle": 5.2,
    "daemon": 5.3,
    "ctl": 5,
    "health_check": 5.4,
    "migrate_to_ladybug": 5.5,
}
FORBIDDEN_PAIRS = {("index", "store"), ("graph", "store"), ("graph", "index"), ("dense", "store")}
FORBIDDEN_PAIRS |= {("dense", "index"), ("graph", "dense")}
CTL_MAY_USE = {"errors", "model", "keys", "config", "when", "prompt", "legacy", "disk", "ctl"}

OWNERS = {
    "yaml": {"config"},
    "sqlite3": {"store", "legacy"},
    "numba": {"index"},
    "llvmlite": {"index"},
    "ladybug": {"graph"},
    "kuzu": {"graph"},
    "psutil": {"probe"},
    "tenacity": {"migrate", "ctl", "endpoint"},
    "sdnotify": {"systemd"},
    "pickle": set(),
    "http": {"endpoint"},
    "ssl": {"endpoint"},
    "socket": {"embed", "endpoint", "serve", "systemd", "lifecycle", "ctl"},
}


def unit_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module a file imports, wherever in the file the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py"))
MODULES = [path for path in FILES if path.parent != PACKAGE or path.name != "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    mine = unit_of(path)
    assert mine in LEVELS, f"{mine} has no layer: add it here and to docs/architecture.md"
    for name in imports(path):
        if not name.startswith("nimad."):
            continue
        other = name.split(".")[1]
        if other == mine or other == "__version__":
            continue
        assert LEVELS[other] < LEVELS[mine], f"{mine} must not import {name}"
        assert (mine, other) not in FORBIDDEN_PAIRS, f"{mine} must not import {name}"
        if mine == "ctl":
            assert other in CTL_MAY_USE, f"nimactl must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_each_library_has_its_owner(path: Path) -> None:
    mine = unit_of(path)
    for name in imports(path):
        library = name.split(".")[0]
        if library in OWNERS:
            assert mine in OWNERS[library], f"{library} belongs to {OWNERS[library]}, not to {mine}"


FACES = {PACKAGE, PACKAGE / "cognition"}
"""Packages whose own names people import: `from nimad.cognition import ...` (loaded when asked)."""


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.name == "__init__.py" and p.parent not in FACES]
)
def test_package_docstrings_stand_alone(path: Path) -> None:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert len(body) == 1 and isinstance(body[0], ast.Expr), "one docstring and nothing else"


CATALOGUES = {"errors.py"}
"""Files that are one long table: splitting them would only scatter it."""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "the first line states the file's job"
    specification = tree.body[0].end_lineno or 0  # a format's docstring may be as long as it must
    if path.name not in CATALOGUES:
        assert text.count("\n") - specification <= 310, "one job each: split the file"
