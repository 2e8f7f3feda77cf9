"""A bundle of modules gives what Python would have found, and never what is not right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.path.append({{place!r}});"
MADE = "from nimad.module_bundle import write_bundle; write_bundle({bundle!r}, ['garden.shed']);"
USED = "from nimad.module_bundle import use_bundle; use_bundle({bundle!r});"
SHOWN = (
    "import garden.shed as m, garden;"
    "print(m.TOOL, m.__file__, m.__cached__, m.__package__, garden.__path__,"
    " type(m.__loader__).__name__)"
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A package of which a bundle was made."""
    package = tmp_path / "garden"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shed.py").write_text("import json\nTOOL = 'rake'\n")
    run(tmp_path, MADE)
    return tmp_path


def run(place: Path, code: str) -> str:
    """What a Python of its own prints, which takes nothing from its surroundings."""
    told = {"place": str(place), "bundle": str(place / "garden.modules")}
    command = [sys.executable, "-IS", "-c", (HEAD + code).format(**told)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_modules_are_what_they_are_without_it(place: Path) -> None:
    usual, bundled = run(place, SHOWN).split(), run(place, USED + SHOWN).split()
    assert usual[-1] == "SourceFileLoader" and bundled[-1] == "_Loader"
    assert bundled[:-1] == usual[:-1] and bundled[0] == "rake"


def test_what_came_along_is_in_it_but_nothing_of_python_itself(place: Path) -> None:
    names = run(place, USED + "import json, os; print(json.__loader__, os.__loader__)")
    assert "_Loader" in names and "FrozenImporter" in names, names


def test_it_is_read_instead_of_the_modules(place: Path) -> None:
    (place / "garden" / "shed.py").write_text("TOOL = 'a spade that is longer'\n")
    assert run(place, USED + SHOWN).startswith("rake ")


@pytest.mark.parametrize("damage", ["gone", "empty", "another Python", "cut off", "not one"])
def test_one_that_does_not_fit_is_passed_over(place: Path, damage: str) -> None:
    file = place / "garden.modules"
    whole = file.read_bytes()
    version = sys.version.encode()
    content = {
        "empty": b"",
        "another Python": whole.replace(version, version[:-1] + b"!"),
        "cut off": whole[:100],
        "not one": b"not a bundle of modules" * 20,
    }
    file.unlink() if damage == "gone" else file.write_bytes(content[damage])
    assert run(place, USED + SHOWN) == run(place, SHOWN)


def test_a_resource_beside_a_module_is_found(place: Path) -> None:
    (place / "garden" / "seeds.txt").write_text("radish")
    read = "print(files('garden').joinpath('seeds.txt').read_text())"
    assert run(place, USED + "from importlib.resources import files;" + read) == "radish\n"
