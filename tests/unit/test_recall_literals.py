"""Identifiers, paths, options and versions: the memory that holds one to the letter comes first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.recall.literals import find_literals, holds

HELD = (
    *("/tmp/search.txt", "--no-recursive", "images.tar.gz", "v2.11.0", "snake_case_name"),
    *("max-lines=1", "db01.example.org:5432", "C++17", "$HOME/.profile", "a.b.c", "libfoo2-dev"),
    *("user@host", "#4711", "-iname", "naïve_tag", "src/main.rs", "10.0.0.7", "s/old/new/"),
)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    """Each literal once, among memories that hold its parts more often."""
    config = Config().replace(graph__engine="none")
    with closing(MemoryStore.open(tmp_path_factory.mktemp("literals") / "state", config)) as store:
        for held in HELD:
            parts = " and ".join("".join(c if c.isalnum() else " " for c in held).split())
            near = [f"{parts}; again {parts}, number {n}, then {parts}" for n in range(6)]
            if held[:1].isalnum() and held[-1:].isalnum():
                near += [f"x{held} is another thing than {parts}", f"nor is {held}x: {parts}"]
            store.remember_many(
                [Memory(text, timestamp=1) for text in (*near, f"Somebody ran it with {held} once")]
            )
        yield store


@pytest.mark.parametrize("mode", ["hybrid", "words"])
@pytest.mark.parametrize("literal", HELD)
def test_what_stands_in_one_memory_comes_first(
    commands: MemoryStore, literal: str, mode: str
) -> None:
    for asked in (literal, f"What was it with {literal}?", literal.upper()):
        (hit, *_) = commands.query(asked, 3, mode).hits
        assert hit.memory.text == f"Somebody ran it with {literal} once", asked


def test_a_literal_is_found_among_many_that_hold_its_parts(tmp_path: Path) -> None:
    """More hold the parts than are read: those that score best are."""
    config = Config().replace(graph__engine="none")
    with closing(MemoryStore.open(tmp_path / "state", config)) as store:
        store.remember_many(
            [Memory(f"log of tmp, {n} lines of log in tmp", timestamp=1) for n in range(400)]
        )
        number = store.remember(Memory("see /tmp/log there", timestamp=1))
        assert store.query("/tmp/log", 1, "words").hits[0].memory.id == number


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Where is /etc/nimad/nimad.yaml?", ["/etc/nimad/nimad.yaml"]),
        ("Run \"find . -name '*.png'\" with --max-depth.", ["-name", ".png", "--max-depth"]),
        ("Anna's well-known e-mail - again, isn't it?", []),
        ("It costs 300 euros in 2019.", []),
        ("安装的是2.5.1版吗", ["2.5.1"]),
        ("a 3rd-and-9 of GA4 (v1.0)", ["3rd-and-9", "ga4", "v1.0"]),
        ("", []),
    ],
)
def test_what_is_a_literal(text: str, found: list[str]) -> None:
    assert find_literals(text) == found


def test_a_part_of_a_word_is_none() -> None:
    assert holds("use V1.2, not v1.25", "v1.2") and not holds("use v1.25", "v1.2")
    assert holds("a v1.25 and v1.2", "v1.2") and not holds("rev1.2", "v1.2")
    assert holds("x--serial", "--serial")
