"""The shape of the house: layers, circles, owners of libraries, sizes.

Each test lists all offenders. Layers are those of docs/architecture.md. An import counts wherever
it stands: at the top of a file, inside a function or under TYPE_CHECKING, because a reader needs
the other file anyway.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

from tests.measure_code import ROOT, SourceFile, SourceTree, length_of

TREE = SourceTree()


def modules() -> list[SourceFile]:
    return [file for name, file in TREE.files.items() if name != "nimad"]


# Higher numbers may import lower ones (and their own); equal numbers of different units may not.
LEVELS = {
    "errors": 0,
    "dataclass": 0.01,
    "closing": 0.05,
    "module_bundle": 1.02,
    "signals": 0.05,
    "limits": 0.05,
    "helper_line": 0.055,
    "checks": 0.06,
    "namespaces": 0.08,
    "model": 0.1,
    "fingerprint": 0.12,
    "heap": 0.25,
    "patterns": 0.26,
    "zone_name": 0.27,
    "times": 0.28,
    "datewords": 0.3,
    "locks": 0.32,
    "human": 0.33,
    "text": 0.35,
    "when": 0.4,
    "selection": 0.42,
    "keys": 0.45,
    "config": 0.46,
    "prompt": 0.5,
    "openclaw": 0.6,
    "disk": 1,
    "probe": 1.05,
    "vsa": 1.1,
    "embed": 1.2,
    "legacy": 1.3,
    "importers": 1.4,
    "store": 2,
    "index": 2.1,
    "dense": 2.15,
    "graph": 2.2,
    "words": 2.3,
    "recall": 3.1,
    "core": 3.2,
    "reflection": 3.22,
    "audit": 3.23,
    "background": 3.25,
    "migrate": 3.3,
    "check": 3.4,
    "backup": 3.45,
    "cognition": 3.5,
    "retrieval": 3.6,
    "nima_episodic_integration": 3.65,
    "serve": 4,
    "systemd": 4.85,
    "logs": 5.1,
    "options": 5.12,
    "endpoint": 5.15,
    "hub": 5.16,
    "sync": 5.17,
    "lifecycle": 5.2,
    "daemon": 5.3,
    "client": 4.9,
    "web": 4.95,
    "ctl": 5,
    "health_check": 5.4,
    "migrate_to_ladybug": 5.5,
}
FORBIDDEN_PAIRS = {("index", "store"), ("graph", "store"), ("graph", "index"), ("dense", "store")}
FORBIDDEN_PAIRS |= {("dense", "index"), ("graph", "dense")}
CTL_MAY_USE = {
    "client",
    "dataclass",
    "errors",
    "closing",
    "limits",
    "signals",
    "model",
    "keys",
    "config",
    "when",
    "times",
    "patterns",
    "zone_name",
    "prompt",
    "openclaw",
    "legacy",
    "importers",
    "fingerprint",
    "disk",
    "human",
    "web",
    "ctl",
}

OWNERS = {
    "yaml": {"config"},
    "sqlite3": {"store", "legacy"},
    "numba": {"index"},
    "llvmlite": {"index"},
    "ladybug": {"graph"},
    "kuzu": {"graph"},
    "psutil": {"probe"},
    "tenacity": {"ctl", "endpoint", "migrate"},
    "sdnotify": {"systemd"},
    "psycopg": {"hub"},
    "pickle": set(),
    "torch": set(),
    "http": {"endpoint", "web"},
    "ssl": {"endpoint"},
    "socket": {
        "helper_line",
        "endpoint",
        "serve",
        "systemd",
        "lifecycle",
        "ctl",
        "client",
        "web",
        "sync",
    },
}

FACES = {"nimad", "nimad.cognition"}
"""Packages whose own names people import: `from nimad.cognition import ...` (loaded when asked)."""

MAX_FILE = 500
"""Length of a file, docstring included [lines]."""
MAX_FUNCTION = 60
"""Length of a function from `def` to its end, docstring included [lines]."""
SHORT = 5
"""Length below which a private function that is called once belongs into its caller [lines]."""

KNOWN_OFFENDERS = Path(__file__).with_name("known_offenders.txt")
"""What broke a rule before the rule was made: `rule unit name` a line. It may only shrink."""


def none_of(offenders: Iterable[str]) -> None:
    """Fail with all offenders at once, a line each."""
    lines = sorted(offenders)
    assert not lines, "\n" + "\n".join(lines)


def only_known(rule: str, offenders: Iterable[str]) -> None:
    """Fail for a new offender, and for a known one that is mended and still listed."""
    listed = KNOWN_OFFENDERS.read_text().splitlines() if KNOWN_OFFENDERS.is_file() else []
    known = {line for line in listed if line.split()[:1] == [rule]}
    found = {f"{rule} {offender}" for offender in offenders}
    none_of([f"new: {line}" for line in found - known])
    none_of([f"mended, delete from {KNOWN_OFFENDERS.name}: {line}" for line in known - found])


def named_in_glossary() -> set[str]:
    """The names in backticks of the glossary in docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    _, _, glossary = text.partition("\n## Glossary\n")
    return set(re.findall(r"`(\w+)`", glossary.partition("\n## ")[0]))


def units_used(file: SourceFile) -> set[str]:
    """Packages and top-level modules of nimad, other than its own, that a file imports."""
    names = {name.split(".")[1] for name in file.imported_names if name.startswith("nimad.")}
    return names - {file.unit, "__version__"}


def test_every_unit_has_a_layer() -> None:
    units = {file.unit for file in modules()}
    none_of(f"{unit}: add it here and to docs/architecture.md" for unit in units - LEVELS.keys())


def test_imports_go_down() -> None:
    none_of(
        f"{file.module} must not import {other}"
        for file in modules()
        for other in units_used(file)
        if LEVELS[other] >= LEVELS[file.unit] or (file.unit, other) in FORBIDDEN_PAIRS
    )


def test_nimactl_imports_few_units() -> None:
    none_of(
        f"{file.module} must not import {other}"
        for file in modules()
        if file.unit == "ctl"
        for other in units_used(file) - CTL_MAY_USE
    )


def test_no_import_circle() -> None:
    inside = [TREE.files[name] for circle in TREE.circles() for name in circle]
    only_known("circle", (f"{f.unit} {f.module.rpartition('.')[2]}" for f in inside))


def test_circles_are_noticed(tmp_path: Path) -> None:
    """Also through a third module, through TYPE_CHECKING and from inside a function."""
    for name, text in {
        "__init__": "",
        "one": "from nimad import two",
        "two": "if TYPE_CHECKING:\n    from nimad.three import Three",
        "three": "def call() -> None:\n    import nimad.one",
        "four": "from nimad.one import One",
    }.items():
        (tmp_path / "nimad").mkdir(exist_ok=True)
        (tmp_path / "nimad" / f"{name}.py").write_text(text)
    assert SourceTree(tmp_path).circles() == [["nimad.one", "nimad.three", "nimad.two"]]


def test_each_library_has_its_owner() -> None:
    none_of(
        f"{file.module} imports {library}, which belongs to {OWNERS[library] or 'no unit'}"
        for file in modules()
        for library in {name.split(".")[0] for name in file.imported_names} & OWNERS.keys()
        if file.unit not in OWNERS[library]
    )


def test_no_text_ends_at_a_nul() -> None:
    """It does in SQLite's functions of texts; `store/bounded.py` has some that go on."""
    ends = re.compile(r"(?<![\w.])(?:length|substr|trim|printf|format)\((?!CAST\()")
    fit = {
        "store.bounded": "it owns them",
        "store.rows": "a name of the configuration, and what begins with it",
        "store.records": "tells texts that are not all ASCII, or hold a NUL",
        "store.relations": "names too long to be shown, which are cut",
        "hub.schema": "PostgreSQL's, whose texts hold no NUL",
    }
    found = {
        (file.module.removeprefix("nimad."), line)
        for file in modules()
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for line in node.value.splitlines()
        if ends.search(line) and line.strip().isascii()
    }
    assert {module for module, _ in found} == set(fit), found


def test_package_docstrings_stand_alone() -> None:
    packages = [f for f in modules() if f.path.name == "__init__.py" and f.module not in FACES]
    none_of(
        f"{file.module}: one docstring and nothing else"
        for file in packages
        if len(file.tree.body) != 1 or not isinstance(file.tree.body[0], ast.Expr)
    )


def test_each_file_states_its_job() -> None:
    none_of(name for name, file in TREE.files.items() if not ast.get_docstring(file.tree))


def test_no_file_is_too_long() -> None:
    none_of(f"{f.path}: {f.lines} lines" for f in TREE.files.values() if f.lines > MAX_FILE)


def test_no_function_is_too_long() -> None:
    none_of(
        f"{file.path}:{function.lineno} {function.name}: {length_of(function)} lines"
        for file in TREE.files.values()
        for function in file.functions
        if length_of(function) > MAX_FUNCTION
    )


def test_no_short_private_function_is_called_once() -> None:
    """Inline it, or put its name into the glossary of docs/architecture.md if it is a term."""
    terms = named_in_glossary()
    only_known(
        "once",
        (
            f"{file.unit} {function.name}"
            for file in modules()
            for function in file.private_used_once()
            if length_of(function) < SHORT
            and function.name in file.called_names
            and function.name not in terms
        ),
    )
