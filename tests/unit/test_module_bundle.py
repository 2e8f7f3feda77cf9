"""A bundle of modules gives what Python would have found, and never what is not right."""

from __future__ import annotations

import inspect
import subprocess
import sys
import unittest
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import pytest

from nimad.module_bundle import LATE, annotations_of, is_coroutine_function

ROOT = Path(__file__).parents[2]
HEAD = f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); sys.path.append({{place!r}});"
MADE = "from nimad.module_bundle import write_bundle; write_bundle({bundle!r}, {made});"
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


def run(place: Path, code: str, made: str = "[], ['garden.shed']") -> str:
    """What a Python of its own prints, which takes nothing from its surroundings."""
    told = {"place": str(place), "bundle": str(place / "garden.modules"), "made": made}
    for name, value in told.items():
        code = code.replace(f"{{{name}!r}}", repr(value)).replace(f"{{{name}}}", value)
    command = [sys.executable, "-IS", "-c", HEAD.replace("{place!r}", repr(str(place))) + code]
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


@pytest.mark.parametrize("made", ["['garden.shed'], []", "['garden'], ['garden.shed']"])
def test_what_is_always_used_is_read_in_one_piece(place: Path, made: str) -> None:
    run(place, MADE, made)
    (place / "garden" / "shed.py").unlink()
    again = "del sys.modules['garden.shed']; import garden.shed; print(garden.shed.TOOL)"
    assert run(place, USED + SHOWN + ";" + again).split()[0] == "rake"
    assert run(place, USED + SHOWN + ";" + again).split()[-1] == "rake"


LATER = """
import textwrap
print("dedent" in vars(textwrap), hasattr(textwrap, "nothing"), textwrap.dedent(" a"))
from textwrap import dedent
print("dedent" in vars(sys.modules["textwrap"]), dedent is textwrap.dedent, textwrap.__name__)
"""


@pytest.mark.parametrize("made", ["['garden.shed'], []", "[], ['garden.shed']"])
def test_a_late_module_is_loaded_when_it_is_used(place: Path, made: str) -> None:
    (place / "garden" / "shed.py").write_text("import textwrap\nTOOL = 'rake'\n")
    run(place, MADE, made)
    assert run(place, LATER).splitlines() == ["True False a", "True True textwrap"]
    assert run(place, USED + LATER).splitlines() == ["False False a", "True True textwrap"]


def test_threads_wait_for_a_late_module(place: Path) -> None:
    (place / "garden" / "shed.py").write_text("import inspect\nTOOL = 'rake'\n")
    run(place, MADE)
    asked = (
        "import garden.shed, threading; from concurrent.futures import ThreadPoolExecutor;"
        "at = threading.Barrier(8); pool = ThreadPoolExecutor(8);"
        "ask = lambda: at.wait() >= 0 and garden.shed.inspect.unwrap(id) is id;"
        "print(all([f.result() for f in [pool.submit(ask) for _ in range(8)]]))"
    )
    assert run(place, USED + asked) == "True\n"


def test_what_is_known_of_a_late_module_is_right() -> None:
    for name, known in LATE.items():
        for attribute, value in known.items():
            real = getattr(import_module(name), attribute)
            assert value == real or callable(real)

    async def waits() -> None: ...

    def marked() -> None: ...

    getattr(inspect, "markcoroutinefunction", lambda function: function)(marked)
    case = unittest.IsolatedAsyncioTestCase()
    methods = (case.debug, case.asyncSetUp, case.__init__)
    for each in (waits, marked, partial(waits), len, str, lambda: waits, object(), *methods):
        assert is_coroutine_function(each) == inspect.iscoroutinefunction(each), each

    class Bed:
        rows: int
        kind: ClassVar[str] = "leek"

    class Box(Bed): ...

    for thing in (Bed, Box, int, waits, annotations_of, inspect):
        assert annotations_of(thing) == inspect.get_annotations(thing), thing
    hints = {"rows": int, "kind": ClassVar[str]}
    assert annotations_of(Bed, eval_str=True, locals={"ClassVar": ClassVar}) == hints


START = """
from nimad import module_bundle
import nimad.heap, numpy
def loaded():
    known = module_bundle.LATE.keys() & sys.modules.keys()
    return {name for name in known if "__getattr__" not in vars(sys.modules[name])}
bundle = sys.meta_path[0]
find, asked, before = bundle.find_spec, [], loaded()
bundle.find_spec = lambda name, *rest: asked.append(name) or find(name, *rest)
module_bundle.load_ahead()
own = [name for name in asked if name.startswith("nimad")]
from nimad.daemon import main
import nimad.systemd
def ready(self, line):
    print("LATE", *(loaded() - before))
    print("NESTED", *(a for a, b in zip(own, [n for n in bundle._order if n in own]) if a != b))
    print("SOUGHT", *(n for n, m in sys.modules.items() if n.startswith("nimad")
        and type(m.__loader__).__name__ != "_Loader"))
    sys.stdout.flush()
    os._exit(0)
nimad.systemd.Notifier.ready = ready
main(["--state", state, "--socket", state + "/socket"])
"""


def test_a_start_loads_what_it_needs_and_each_of_it_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    head = f"sys.path += {sys.path!r}; state = {str(state)!r}; sys.modules['ssl'] = None;"
    run(tmp_path, head + MADE, "['nimad.heap', 'nimad.daemon'], []")
    told = run(tmp_path, head + USED + START).splitlines()
    sought = "nimad nimad.module_bundle nimad.options"  # the unit gives no options
    assert told == ["LATE", "NESTED", f"SOUGHT {sought}"]
