"""A flipped bit in any region of a segment: found, set aside, made anew; answers stay right."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.disk.container import Container
from nimad.index.blocks import BlockParams
from nimad.index.segment import FORMAT, VERSION
from nimad.model import Memory

WORDS = [
    *("garden", "gate", "oil", "basil", "water", "meter"),
    *("bicycle", "brake", "heating", "winter", "cake", "plum"),
]
TEXTS = [f"the {a} and the {b} of the {c}" for a in WORDS for b in WORDS for c in WORDS[:6]]
REGIONS = [
    *("meta", "mean", "blocks", "block_start", "cell_codes", "cell_start"),
    *("fit", "added", "ids", "order", "codes", "rows"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    """864 memories in one segment with blocks."""
    opened = MemoryStore.open(tmp_path / "state", Config().replace(graph__engine="none"))
    opened.blocks.params = BlockParams(blocks=4, learn_rows=100)
    opened.remember_many([Memory(text=text) for text in TEXTS])
    opened.semantic.flush()
    yield opened
    opened.close()


def flip(path: Path, region: str, rng: random.Random) -> None:
    """Flip one bit of a region, in a copy that takes the file's place, as a card would."""
    entry = Container.open(path, FORMAT, VERSION, VERSION).regions[region]
    assert entry.length > 0, region
    raw = bytearray(path.read_bytes())
    raw[entry.offset + rng.randrange(entry.length)] ^= 1 << rng.randrange(8)
    path.unlink()
    path.write_bytes(raw)


def answers(store: MemoryStore) -> list[int]:
    asked = ["words", "hybrid", "hybrid"]
    return [
        store.query(text, k=1, mode=mode).hits[0].memory.id
        for mode, text in zip(asked, TEXTS[::300], strict=True)
    ]


@pytest.mark.parametrize("region", REGIONS)
def test_a_start_finds_it(store: MemoryStore, region: str) -> None:
    before = answers(store)
    store.close()
    (segment,) = (store.state / "blocks").iterdir()
    flip(segment, region, random.Random(region))
    again = MemoryStore.open(store.state, store.config)
    assert list(again.degraded()) == ["blocks"]
    assert answers(again) == before
    assert [path.name for path in (again.state / "aside").iterdir()] == [segment.name]
    maintenance.finish(again)
    assert again.degraded() == {}
    assert len(again.blocks.ids()) == len(TEXTS)
    assert answers(again) == before
    assert {problem.part for problem in check(again)} <= {"aside"}
    again.close()


def test_a_start_without_room_to_set_it_aside(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers(store)
    store.close()
    (segment,) = (store.state / "blocks").iterdir()
    flip(segment, "codes", random.Random(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("nimad.core.semantic.set_aside", full)
        again = MemoryStore.open(store.state, store.config)
        assert list(again.degraded()) == ["blocks"] and answers(again) == before
        maintenance.finish(again)
        assert list(again.setbacks.reasons()) == ["blocks"] and segment.exists()
    again.forget([1], purge=True)
    assert not segment.exists() and not list((again.state / "aside").iterdir())
    again.setbacks.clear()  # a minute later
    maintenance.finish(again)
    assert again.degraded() == {} and check(again) == []
    again.close()


def test_doctor_finds_it_in_the_rows_of_a_large_segment(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which a start does not read."""
    monkeypatch.setattr("nimad.index.segment._CHECK_ROWS_UP_TO", 0)
    before = answers(store)
    store.close()
    (segment,) = (store.state / "blocks").iterdir()
    flip(segment, "rows", random.Random(1))
    again = MemoryStore.open(store.state, store.config)
    assert again.degraded() == {}
    found = [problem for problem in check(again) if problem.part == "blocks"]
    assert "region rows" in found[0].what
    assert "set aside" in found[0].fix
    assert list(again.degraded()) == ["blocks"]
    assert segment.exists(), "doctor only reads"
    while segment.exists():
        assert maintenance.step(again)
    assert list(again.degraded()) == ["blocks"]
    assert answers(again) == before
    again = reopened(again)  # a crash now changes nothing
    assert answers(again) == before
    maintenance.finish(again)
    assert again.degraded() == {}
    assert len(again.blocks.ids()) == len(TEXTS)
    assert answers(again) == before
    assert {problem.part for problem in check(again)} <= {"aside"}
    again.close()


def reopened(store: MemoryStore) -> MemoryStore:
    store.close()
    return MemoryStore.open(store.state, store.config)
