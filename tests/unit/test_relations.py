"""`related` from the records: against a walk over plain dicts, and turns told apart by session."""

from __future__ import annotations

import itertools
import math
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nimad.errors import RecordsDamaged
from nimad.model import Memory, Relation
from nimad.store import schema
from nimad.store.records import Records
from nimad.store.relations import neighbours
from tests.old_schema import take_back

Way = tuple[int, str, float | None, str, int]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(Records.open(tmp_path / "records.sqlite")) as opened:
        yield opened


def walk(records: Records, start: int, depth: int, limit: int) -> list[Way]:
    """What `related` promises, in plain Python."""
    edges = [
        (source, target, relation, weight if weight is not None and math.isfinite(weight) else None)
        for source, target, relation, weight in records.rows(
            "SELECT r.origin, r.target, n.name, r.weight FROM relations r"
            " JOIN names n ON n.id = r.relation"
        )
    ]
    turns = records.rows("SELECT input, contemplation, output FROM turns WHERE listed")
    seen, frontier, found = {start}, {start}, list[Way]()
    for distance in range(1, depth + 1):
        if len(found) >= limit:
            break
        heaviest: dict[tuple[int, str, str], float | None] = {}
        for source, target, relation, weight in edges:
            for near, far, direction in ((source, target, "out"), (target, source, "in")):
                if near in frontier and far not in seen:
                    key = (far, relation, direction)
                    known = heaviest.get(key)
                    better = known is None or (weight is not None and weight > known)
                    heaviest[key] = weight if better else known
        later: dict[int, bool] = {}
        for turn in turns:
            placed = [(role, member) for role, member in enumerate(turn) if member is not None]
            for here, there in itertools.product(placed, placed):
                if here[1] in frontier and there[1] not in seen:
                    later[there[1]] = later.get(there[1], False) or there > here
        level = [
            (number, relation, weight, direction, distance)
            for (number, relation, direction), weight in heaviest.items()
        ]
        level.sort(key=lambda w: (w[2] is None, -(w[2] or 0.0), w[0], w[1], w[3]))
        level += [
            (number, "same_turn", None, "out" if after else "in", distance)
            for number, after in sorted(later.items())
        ]
        found += level[: limit - len(found)]
        frontier = {way[0] for way in level}
        seen |= frontier
    return found


def ways(records: Records, start: int, depth: int = 1, limit: int = 50) -> list[Way]:
    return [
        (n.id, n.relation, n.weight, n.direction, n.distance)
        for n in neighbours(records, start, depth, limit)
    ]


def fill(records: Records, chance: random.Random) -> int:
    """A random store; how many memories it got."""
    size = chance.randint(1, 60)
    with records.write() as tx:
        tx.add_memories(
            [
                Memory(
                    text=str(number),
                    layer=chance.choice(("input", "contemplation", "output", "note")),
                    turn=chance.choice((None, None, "1", "2", "3")),
                    session=chance.choice((None, "a", "b")),
                    namespace=chance.choice(("default", "other")),
                )
                for number in range(size)
            ]
        )
        tx.add_relations(
            [
                (
                    Relation(
                        chance.randint(1, size),
                        chance.randint(1, size),
                        chance.choice(("caused", "like", "")),
                        chance.choice((None, 0.0, 0.5, 1.0, -1.0, math.inf)),
                    ),
                    None,
                    None,
                )
                for _ in range(chance.randint(0, 3 * size))
            ]
        )
    doomed = chance.sample(range(1, size + 1), chance.randint(0, size // 4))
    if doomed:
        with records.write() as tx:
            tx.delete_memories(doomed)
    return size


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs_are_walked_as_promised(records: Records, seed: int) -> None:
    chance = random.Random(seed)
    size = fill(records, chance)
    for _ in range(25):
        start = chance.randint(1, size + 1)
        depth, limit = chance.randint(1, 5), chance.choice((1, 2, 5, 50, 1000))
        assert ways(records, start, depth, limit) == walk(records, start, depth, limit)


def test_a_chain_is_followed_as_far_as_asked(records: Records) -> None:
    with records.write() as tx:
        tx.add_memories([Memory(text=str(number)) for number in range(7)])
        tx.add_relations([(Relation(n, n + 1, "next", 1.0), None, None) for n in range(1, 7)])
    for depth in range(1, 6):
        assert [n.id for n in neighbours(records, 1, depth, 50)] == [*range(2, depth + 2)]
    assert neighbours(records, 1, 0, 50) == neighbours(records, 1, 3, 0) == []
    assert neighbours(records, 99, 5, 50) == []


def test_a_very_long_name_of_a_relation_is_cut(records: Records) -> None:
    with records.write() as tx:
        tx.add_memories([Memory(text="a"), Memory(text="b")])
        tx.add_relations([(Relation(1, 2, "y" * 100_000, None), None, None)])
    assert ways(records, 1) == [(2, "y" * 200, None, "out", 1)]


# --- turns ------------------------------------------------------------------------------------


def turn_of(session: str | None, **more: str) -> list[Memory]:
    return [
        Memory(text=f"{session} {layer}", layer=layer, turn="1", session=session, **more)
        for layer in ("input", "output")
    ]


def test_two_sessions_with_the_same_turn_name_have_two_turns(records: Records) -> None:
    with records.write() as tx:
        tx.add_memories([*turn_of("a"), *turn_of("b"), *turn_of(None)])
        tx.add_memories([*turn_of("a", namespace="work"), *turn_of("a", conversation="c")])
    assert records.counts()["turns"] == 5
    for first in range(1, 10, 2):
        assert ways(records, first) == [(first + 1, "same_turn", None, "out", 1)]
        assert ways(records, first + 1) == [(first, "same_turn", None, "in", 1)]


def as_version_two(path: Path) -> None:
    """Take a store back to the schema in which a turn was its source and its name."""
    with closing(sqlite3.connect(path)) as old:
        kept = old.execute("SELECT min(id), name, source FROM turns GROUP BY source, name")
        for number, name, source in kept.fetchall():
            twins = [
                row[0]
                for row in old.execute(
                    "SELECT id FROM turns WHERE source = ? AND name = ? AND id != ?",
                    (source, name, number),
                )
            ]
            for twin in twins:
                for role in ("input", "contemplation", "output"):
                    old.execute(
                        f"UPDATE turns SET {role} = coalesce({role}, (SELECT {role} FROM turns"
                        " WHERE id = ?)) WHERE id = ?",
                        (twin, number),
                    )
                old.execute("UPDATE memories SET turn = ? WHERE turn = ?", (number, twin))
                old.execute("DELETE FROM turns WHERE id = ?", (twin,))
        take_back(old, 2)
        old.execute("CREATE UNIQUE INDEX turns_name ON turns (source, name)")
        old.commit()


def test_a_store_of_version_two_gets_its_turns_taken_apart(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    asked = [1, 2, 3, 4, 5, 6, 7, 8]
    with closing(Records.open(path)) as records, records.write() as tx:
        tx.add_memories(turn_of("a"))
        tx.add_memories([Memory(text="noted", turn="1", session="a")])
        tx.add_memories(turn_of("b")[::-1])
        tx.add_memories([Memory(text="alone", layer="input", turn="2")])
        tx.add_memories([Memory(text="work", layer="input", turn="1", namespace="work")])
        tx.add_memories([Memory(text="noted", turn="1", session="c")])
    with closing(Records.open(path)) as records:
        due = [ways(records, number) for number in asked]
        memories = records.get(asked)
    as_version_two(path)

    with closing(Records.open(path)) as records:
        assert records.value("PRAGMA user_version") == schema.SCHEMA
        assert [ways(records, number) for number in asked] == due
        assert records.get(asked) == memories
        assert records.counts()["turns"] == 4
        assert records.value("PRAGMA integrity_check") == "ok"
        with records.write() as tx:  # and goes on as a new one would
            [late] = tx.add_memories(
                [Memory(text="more", layer="contemplation", turn="1", session="b")]
            )
        assert {way[0] for way in ways(records, late)} == {4, 5}


def test_an_upgrade_that_is_cut_short_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "records.sqlite"
    with closing(Records.open(path)) as records, records.write() as tx:
        tx.add_memories([*turn_of("a"), *turn_of("b")])
    as_version_two(path)
    broken = schema.UPGRADES[3] + "SELECT no_such_function();\n"
    monkeypatch.setitem(schema.UPGRADES, 3, broken)
    with pytest.raises(RecordsDamaged, match="no_such_function"):
        Records.open(path)
    with closing(sqlite3.connect(path)) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (2,)
    monkeypatch.undo()
    with closing(Records.open(path)) as records:
        assert ways(records, 3) == [(4, "same_turn", None, "out", 1)]
