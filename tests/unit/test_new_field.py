"""A field that is added to a memory takes two lines: one in the model, one in the schema.

One of few values is a column of the ranking by itself; a third line makes a filter of it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MODEL = """    mood: str | None = field(
        default=None, metadata=_is("text", 20, **_option("--mood", "MOOD", "how it felt"))
    )
    weather: str | None = field(
        default=None, metadata=_is("choice", choices=("sun", "rain"))
    )
    created: int | None = field("""

SCRIPT = r'''
import importlib, importlib.util, io, sys
from pathlib import Path

import nimad.store


def patch(name, changes):
    """Load a module from its source with more lines."""
    spec = importlib.util.find_spec(name)
    source = Path(spec.origin).read_text()
    for old, new in changes.items():
        assert source.count(old) == 1, (name, old)
        source = source.replace(old, new)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    parent, _, tail = name.rpartition(".")
    setattr(sys.modules[parent], tail, module)


FILTERED = "    origin: tuple[str, ...] = ()\n"
patch(
    "nimad.model",
    {
        "    created: int | None = field(": sys.argv[2],
        FILTERED: FILTERED + "    weather: tuple[str, ...] = ()\n",
    },
)
ADDED = "  extra TEXT,\n  mood TEXT,\n  weather TEXT\n);"
patch("nimad.store.schema_versions", {"  extra TEXT\n);": ADDED})

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.ctl.main import build
from nimad.ctl.memories_text import show_memory
from nimad.ctl.screen import Screen
from nimad.errors import UsageError
from nimad.model import Filter
from nimad.serve import params, wire

options = build(["remember"]).parse_args(["remember", "the kettle sings", "--mood", "merry"])
assert options.mood == "merry"
store = MemoryStore.open(Path(sys.argv[1]), Config().replace(embedder="hash"))
given = params.read("remember", wire.REMEMBER, {"text": "the kettle sings", "mood": options.mood})
number = store.remember(wire.remembered(given))
found = wire.memory_json(store.get(number))
assert found["mood"] == "merry", found
again = store.remember(wire.imported(found, "default"))
assert store.get(again).mood == "merry"
try:
    store.remember(wire.imported({"text": "x", "mood": "y" * 21}, "default"))
except UsageError as error:
    assert "mood has 21 characters; at most 20 fit" in error.message
else:
    raise AssertionError("a bound that nobody keeps")
wet = store.remember(wire.imported({"text": "the kettle sings on", "weather": "rain"}, "default"))
everything = {number, again, wet}
for weather, ids in ((("rain",), {wet}), (("sun",), set()), (("rain", "none"), everything)):
    hits = store.query("the kettle sings", 10, where=Filter(weather=weather)).hits
    assert {i for hit in hits for i in (hit.memory.id, *hit.copies)} == ids, weather
store.close()
show_memory(Screen(), found)
'''


def test_a_field_of_a_memory_is_one_line_in_the_model_and_one_in_the_schema(
    tmp_path: Path,
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "state"), MODEL],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert "mood" in ran.stdout and "merry" in ran.stdout
