"""Names of 20,000 characters, one in each memory: kept whole, and nothing holds them all."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.model import EVERYTHING, MAX_KEPT, CutMemory, Filter, Memory
from nimad.recall.columns_cache import KEEP_ROWS
from nimad.recall.subjects import LONG, Subjects
from nimad.store.bounded import get_within, page_within
from tests.reopened import reopened

NAMES = 200
"""Memories with a long name: 4 MB of names of a kind."""
MIB = 1 << 20


def long_name(number: int) -> str:
    """A name as long as a name may be; another word for each number."""
    return f"{number:05}x" * (MAX_KEPT // 6)


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[[], MemoryStore]]:
    """Opens the store, closed before."""
    with reopened(tmp_path / "state", Config().replace(embedder="hash")) as opened:
        yield opened


def fill(store: MemoryStore) -> None:
    for number in range(NAMES):
        name = long_name(number)
        store.remember(Memory(f"memory {number} of the kettle", who=name, session=name))
    store.remember_many([Memory(f"another {n}", who=f"Maya {n % 9}") for n in range(KEEP_ROWS)])


def most_of(work: Callable[[], object]) -> int:
    """The most that Python's objects took meanwhile [bytes]."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def found(store: MemoryStore, who: str) -> list[str]:
    return [hit.memory.text for hit in store.query("kettle", 5, where=Filter(who=who)).hits]


def test_what_ranking_holds_of_long_names_is_small(
    open_store: Callable[[], MemoryStore],
) -> None:
    """New, written to the file of the columns, and read from it."""
    store = open_store()
    fill(store)
    assert most_of(lambda: store.query("kettle", 5)) < 2 * MIB
    saved = store.recall.columns_cache.save_when_due
    assert most_of(lambda: saved(nullcontext(), 0)) < MIB
    store = open_store()
    assert store.recall.columns_cache.position is not None  # the file counted
    store.semantic.settle()  # the vectors that the start left
    assert most_of(lambda: store.query("kettle", 5)) < 2 * MIB
    subjects = store.recall._columns.subjects
    assert max(map(len, [*subjects.codes, *subjects.spelled, *subjects.parts])) <= LONG


def test_long_names_are_found_whole_and_in_the_common_form(
    open_store: Callable[[], MemoryStore],
) -> None:
    store = open_store()
    fill(store)
    for _ in range(2):
        assert found(store, long_name(7)) == ["memory 7 of the kettle"]
        assert found(store, long_name(7).upper() + " ") == ["memory 7 of the kettle"]
        assert found(store, long_name(7) + "x") == []
        (number,) = store.records.matching(Filter(who=long_name(7).upper())).tolist()
        assert store.get(number).who == long_name(7)
        maintenance.finish(store)
        store = open_store()


def test_a_filter_reads_others_one_by_one(open_store: Callable[[], MemoryStore]) -> None:
    store = open_store()
    fill(store)
    for where in (Filter(who=long_name(3)), Filter(tags=("kettle",))):
        assert most_of(lambda where=where: store.records.matching(where)) < MIB


def test_an_answer_holds_few_of_them_at_a_time(open_store: Callable[[], MemoryStore]) -> None:
    """Nor of a text behind a NUL, at which SQLite's length of a text ends."""
    store = open_store()
    for number in range(NAMES):
        name = long_name(number)
        given = Memory(f"{number} kettle\0" + name, who=name, session=name, turn=name)
        store.remember(given)
    ids = store.records.matching(EVERYTHING).tolist()
    store.query("kettle", 5)
    assert most_of(lambda: store.query("kettle", NAMES)) < 20 * MIB
    assert most_of(lambda: page_within(store.records, 0, NAMES, EVERYTHING, MIB)) < 8 * MIB
    found = get_within(store.records, ids, MIB)
    assert sorted(found) == ids and isinstance(found[ids[-1]], CutMemory)
    assert sum(len(m.text + (m.who or "") + (m.turn or "")) for m in found.values()) < MIB + 2000
    whole = store.records.get(ids[:20])
    assert get_within(store.records, ids[:20], 20 * 4 * MAX_KEPT + 2000) == whole


def test_a_memory_that_needs_no_cut_is_not_called_so(
    open_store: Callable[[], MemoryStore],
) -> None:
    store = open_store()
    ids = store.remember_many([Memory("\u65e5" * (100 + n // 19 * 9999)) for n in range(20)])
    for room, cut in ((20_000, False), (12_000, True)):  # 10,099 characters, 30,297 bytes
        found = get_within(store.records, ids, room)
        assert [isinstance(found[n], CutMemory) for n in ids] == [False] * 19 + [cut]


def test_a_long_name_is_no_other_ones_spelling() -> None:
    subjects = Subjects()
    names = ["Maya", "maya", "x" * LONG, "X" * LONG, "x" * (LONG + 1), "X" * (LONG + 1), "ﬃ" * LONG]
    codes = [subjects.code(name) for name in names]
    assert codes == [0, 0, 1, 1, 2, 2, 3]
    assert [subjects.find(name.swapcase()) for name in names] == codes
    assert subjects.find("ffi" * LONG) == 3
    assert "ﬃ" * LONG in subjects.spelled and set(subjects.parts) == {"maya", "x" * LONG}
