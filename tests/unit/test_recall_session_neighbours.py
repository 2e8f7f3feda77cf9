"""Talk without sessions: who is whose neighbour, and that it stays true as memories come and go."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.model import Memory
from nimad.recall import session_neighbours
from nimad.recall.columns import NONE
from nimad.recall.session_neighbours import BURST, GAP
from nimad.words.index import TermIndex
from tests.plain import FollowedColumns

START = 1_700_000_000_000
MINUTE = 60_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    config = Config().replace(graph__engine="none", embedder="hash")
    with closing(MemoryStore.open(tmp_path / "state", config)) as made:
        yield made


@pytest.fixture
def columns(store: MemoryStore) -> Iterator[FollowedColumns]:
    with closing(TermIndex(store.records)) as terms:
        yield FollowedColumns(store.records, terms)


def said(who: str | None, minutes: float, **more: object) -> Memory:
    return Memory(text="...", who=who, timestamp=START + round(minutes * MINUTE), **more)  # type: ignore[arg-type]


def stretches(columns: FollowedColumns) -> list[list[int]]:
    """The ids of each chain of two and more."""
    first = np.flatnonzero((columns.before == NONE) & (columns.after != NONE))
    found = []
    for row in first.tolist():
        found.append([int(columns.id[row])])
        while (row := int(columns.after[row])) != NONE:
            found[-1].append(int(columns.id[row]))
    return found


def chained(
    store: MemoryStore, columns: FollowedColumns, memories: Sequence[Memory]
) -> list[list[int]]:
    store.remember_many(list(memories))
    columns.sync()
    return stretches(columns)


def test_talk_until_a_silence(store: MemoryStore, columns: FollowedColumns) -> None:
    times = [0, 1, 11, 21.1, 22]
    spoken = [said("Anna" if n % 2 else "Ben", t) for n, t in enumerate(times)]
    assert chained(store, columns, spoken) == [[1, 2, 3], [4, 5]]


def test_what_comes_late_goes_where_its_time_is(
    store: MemoryStore, columns: FollowedColumns
) -> None:
    assert chained(store, columns, [said("Anna", 0), said("Ben", 15)]) == []
    assert chained(store, columns, [said("Ben", 6)]) == [[1, 3, 2]]
    store.forget([3])
    columns.sync()
    assert stretches(columns) == []


def test_one_speaker_is_no_talk(store: MemoryStore, columns: FollowedColumns) -> None:
    assert chained(store, columns, [said("Anna", n) for n in range(9)]) == []


def test_nor_is_what_has_no_speaker(store: MemoryStore, columns: FollowedColumns) -> None:
    notes = [said(None, 0), said("Anna", 1), said(None, 2), said("", 3)]
    assert chained(store, columns, notes) == []


def test_a_burst_belongs_to_the_talk(store: MemoryStore, columns: FollowedColumns) -> None:
    spoken = [said("Anna", n / 10) for n in range(BURST + 3)] + [said("Ben", 1)]
    assert chained(store, columns, spoken) == [list(range(3, BURST + 5))]
    store.forget([BURST + 4])  # what Ben said
    columns.sync()
    assert stretches(columns) == []


def test_speakers_in_the_text(store: MemoryStore, columns: FollowedColumns) -> None:
    spoken = ["Anna: hi", "Ben: hello", "Anna: well?", "Ben: no", "Tea: brew it", "Jam: cook it"]
    assert chained(store, columns, [Memory(text=text) for text in spoken]) == [[1, 2, 3, 4]]


def test_without_times_by_arrival(store: MemoryStore, columns: FollowedColumns) -> None:
    spoken = [Memory(text="...", who=who) for who in ("Anna", "Ben", "Anna")]
    assert chained(store, columns, spoken) == [[1, 2, 3]]


def test_namespaces_and_conversations_apart(store: MemoryStore, columns: FollowedColumns) -> None:
    spoken = [
        said("Anna", 0, namespace="a"),
        said("Ben", 1, namespace="b"),
        said("Ben", 2, namespace="a", conversation="c"),
        said("Anna", 3, namespace="a", session="s"),
        said("Ben", 4, namespace="a"),
        said("Anna", 900, namespace="a", conversation="c"),
    ]
    assert chained(store, columns, spoken) == [[1, 5], [3, 6]]  # a conversation has its order


def speaks(columns: FollowedColumns, rows: list[int], place: int, close: list[bool]) -> bool:
    """Whether the row at a place is by a speaker; a head must recur close by."""
    who = columns.who[rows[place]]
    low, high = place, place
    while low > max(0, place - BURST) and close[low - 1]:
        low -= 1
    while high < min(len(rows) - 1, place + BURST) and close[high]:
        high += 1
    return bool(who > NONE) or sum(columns.who[row] == who for row in rows[low : high + 1]) > 1


def by_definition(columns: FollowedColumns) -> list[tuple[int, int]]:
    """(before, after) of each row, one pair after the other."""
    made = [(NONE, NONE)] * columns.count
    for code in set(columns.session[:].tolist()) - {NONE}:
        rows = np.flatnonzero((columns.session[:] == code) & columns.alive[:]).tolist()
        rows.sort(key=lambda r: (int(columns.time[r]), r))
        pairs = list(itertools.pairwise(rows))
        close = [code > NONE or columns.time[b] - columns.time[a] <= GAP for a, b in pairs]
        spoken = [code > NONE or speaks(columns, rows, n, close) for n in range(len(rows))]
        fit = [near and all(spoken[n : n + 2]) for n, near in enumerate(close)]
        other = [code > NONE or columns.who[a] != columns.who[b] for a, b in pairs]
        for n, (a, b) in enumerate(pairs):
            near = range(max(0, n - BURST), min(len(pairs), n + BURST + 1))
            if any(other[m] and all(fit[min(m, n) : max(m, n) + 1]) for m in near):
                made[a] = (made[a][0], b)
                made[b] = (a, made[b][1])
    return made


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_come_and_go(store: MemoryStore, columns: FollowedColumns, seed: int) -> None:
    chance = random.Random(seed)

    def some() -> Memory:
        session = "s" if chance.random() < 0.2 else None
        who = chance.choice(["Anna", "Anna", "Anna", "Ben", None])
        text = chance.choice(["...", "Carl: yes", "Dora: no", "Tea: brew it", "Jam: cook it"])
        space = chance.choice(["a", "a", "b"])
        when = START + chance.randrange(300) * MINUTE
        return Memory(text=text, who=who, timestamp=when, session=session, namespace=space)

    for _ in range(25):
        store.remember_many([some() for _ in range(chance.choice([1, 1, 1, 5, 20]))])
        columns.sync()
        known = columns.id[columns.alive[:]].tolist()
        if chance.random() < 0.5:
            store.forget(chance.sample(known, min(len(known), chance.choice([1, 1, 8]))))
            columns.sync()
        columns.length[:] = 1
        now = list(zip(columns.before.tolist(), columns.after.tolist(), strict=True))
        assert now == by_definition(columns)
        session_neighbours.link_all_rows(columns)
        assert not (columns.length == 0).any(), "nobody has other neighbours after a sort"


def test_who_gets_another_neighbour_is_measured_anew(
    store: MemoryStore, columns: FollowedColumns
) -> None:
    chained(store, columns, [said("Anna", 0), said("Ben", 1), said("Anna", 2), said("Ben", 99)])
    columns.length[:] = 1
    chained(store, columns, [said("Ben", 1.5)])
    assert (columns.length == 0).tolist() == [False, True, True, False, True]
