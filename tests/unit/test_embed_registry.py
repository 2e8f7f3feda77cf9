"""Embedders by name, and what importing and loading them costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from nimad.config import KEYS
from nimad.embed.absent import AbsentEmbedder
from nimad.embed.base import Embedder
from nimad.embed.registry import ALWAYS_THERE, embedder_class, get_embedder
from nimad.embed.static import TABLE, StaticEmbedder
from nimad.errors import ConfigError
from nimad.keys import EMBEDDERS


@pytest.mark.parametrize("name", ALWAYS_THERE)
def test_each_name_gives_one_shared_embedder(name: str) -> None:
    embedder = get_embedder(name)
    assert embedder is get_embedder(name)
    assert (embedder.name, embedder.dims) == (name, 256)
    assert embedder.revision and ":" not in embedder.revision
    assert embedder.embed(["a sentence"]).shape == (1, 256)


@pytest.mark.parametrize("name", EMBEDDERS)
def test_each_name_of_the_configuration_has_a_class_with_its_traits(name: str) -> None:
    assert KEYS["embedder"].check(name) == name
    made_by = embedder_class(name)
    assert made_by.name == name
    assert made_by.quick == (name in ALWAYS_THERE)
    assert 0 < made_by.scale.near < 1
    assert all(0 < share < 1 for share in made_by.neighbour_shares)


def test_an_absent_embedder_keeps_the_traits_of_the_one_that_made_the_vectors() -> None:
    absent = AbsentEmbedder("minilm:1-0123456789abcdef:384", "it is not installed")
    made_by = embedder_class("minilm")
    assert (absent.scale, absent.neighbour_shares) == (made_by.scale, made_by.neighbour_shares)
    later = AbsentEmbedder("later:1:512", "unknown")
    assert (later.name, later.dims, later.scale) == ("later", 512, Embedder.scale)


def test_another_name_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match="'other' is none of static, hash"):
        get_embedder("other")


def test_importing_the_registry_loads_neither_numpy_nor_the_table() -> None:
    code = "import sys, nimad.embed.registry; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


MEMORY = """
import json, nimad.embed.static as static
def resident():
    lines = dict(line.split(":") for line in open("/proc/self/status") if ":" in line)
    return {name: int(lines[name].split()[0]) for name in ("RssAnon", "RssFile")}
before = resident()
embedder = static.StaticEmbedder()
for n in range(200):  # some at a time: the texts and the vectors are not the embedder's
    embedder.embed([f"word{n * 100 + i} and some more of a chat sentence" for i in range(100)])
after = resident()
print(json.dumps({name: after[name] - before[name] for name in before}))
"""


def test_the_static_embedder_is_small() -> None:
    assert TABLE.stat().st_size <= 8_000_000
    run = [sys.executable, "-c", MEMORY]
    found = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    # kB, with the cache full and its working space: its own, and with what it used of the table
    assert found["RssAnon"] <= 8_000
    assert found["RssAnon"] + found["RssFile"] <= 12_000


def test_the_static_embedder_loads_fast() -> None:
    best = 9.0
    for _ in range(3):  # the best of three: other programs run here too
        start = time.process_time()
        StaticEmbedder()
        best = min(best, time.process_time() - start)
    assert best <= 0.1
