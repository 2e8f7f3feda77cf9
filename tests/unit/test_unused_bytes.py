"""No byte of what was deleted stays in a database, and nothing that SQLite reads changes."""

from __future__ import annotations

import os
import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nimad.store import unused_bytes
from nimad.store.unused_bytes import Strange, UnusedBytes

SIZES = (0, 1, 30, 200, 480, 900, 4000, 4100, 4200, 9000, 40_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.sqlite"


@pytest.fixture
def descriptor(path: Path) -> Iterator[int]:
    path.touch()
    opened = os.open(path, os.O_RDWR)  # to be closed after SQLite: its locks would go
    yield opened
    os.close(opened)


def made(path: Path, page_size: int = 4096, vacuum: str = "INCREMENTAL") -> sqlite3.Connection:
    """A database with trees of all kinds, which keeps what it deletes."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in (f"page_size = {page_size}", f"auto_vacuum = {vacuum}", "secure_delete = FAST"):
        connection.execute(f"PRAGMA {pragma}")
    connection.executescript(
        "CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT, data BLOB);"
        "CREATE INDEX by_text ON rows (text);"
        "CREATE TABLE pairs (a TEXT, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;"
    )
    return connection


def word(number: int) -> str:
    """One that stands nowhere else."""
    return f"<{number:09}>"


def words(path: Path) -> set[int]:
    """The numbers of those that stand in a file."""
    return {int(found) for found in re.findall(rb"<(\d{9})>", path.read_bytes())}


def change(connection: sqlite3.Connection, chance: random.Random, alive: set[int]) -> set[int]:
    """Add, replace and delete rows; those that are gone now, of whose words none may stay."""
    gone = set(chance.sample(sorted(alive), len(alive) // 3))
    first = max(alive, default=chance.choice((0, 900_000_000))) + 1
    with connection:
        connection.execute("BEGIN")
        for number in range(first, first + 120):
            size = chance.choice(SIZES)
            filled = word(number) * (size // 11 + 1)
            connection.execute("INSERT INTO rows VALUES (?, ?, ?)", (number, filled, filled))
            connection.execute("INSERT INTO pairs VALUES (?, ?)", (filled[:600], filled))
        for number in gone:
            connection.execute("DELETE FROM pairs WHERE a >= ?1 AND a < ?1 || 'x'", (word(number),))
            connection.execute("DELETE FROM rows WHERE id = ?", (number,))
    alive.difference_update(gone)
    alive.update(range(first, first + 120))
    return gone


def content(connection: sqlite3.Connection) -> list[object]:
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return [connection.execute(f"SELECT * FROM {name}").fetchall() for name in ("rows", "pairs")]


def clear(descriptor: int) -> int:
    """Clear all; the number of steps."""
    last: int | None = 0
    steps = 0
    while last is not None:
        before, (last, _) = last, UnusedBytes(descriptor).clear(last)
        assert last is None or last > before
        steps += 1
    return steps


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
@pytest.mark.parametrize("many", [1, 128])
def test_nothing_of_what_is_gone_stays(
    path: Path,
    descriptor: int,
    page_size: int,
    many: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unused_bytes, "MANY", many)
    chance = random.Random(page_size + many)
    alive: set[int] = set()
    gone: set[int] = set()
    with closing(made(path, page_size)) as connection:
        for _ in range(2):
            for _ in range(3):
                gone |= change(connection, chance, alive)
            assert gone & words(path), "or there is nothing to find"
            before = content(connection)
            clear(descriptor)
            assert not gone & words(path) and alive <= words(path)
            with closing(sqlite3.connect(path)) as other:
                assert content(other) == before
            assert UnusedBytes(descriptor).clear(0)[1] is False, "what is clear is not written"


def test_a_step_is_of_few_pages_and_few_of_long_values(
    path: Path, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    pread = os.pread

    def counted(*given: int) -> bytes:
        reads.append(1)
        return pread(*given)

    with closing(made(path)) as connection:
        with connection:
            connection.execute("BEGIN")
            for number in range(40):
                text = word(number) * (1 << 15)
                connection.execute("INSERT INTO rows VALUES (?, ?, '')", (number, text))
        monkeypatch.setattr(os, "pread", counted)
        monkeypatch.setattr(unused_bytes, "LONG", 512)
        assert clear(descriptor) > 10
        reads.clear()
        UnusedBytes(descriptor).clear(0)
        assert len(reads) < 2 * 512


def test_what_has_no_pointer_map_or_is_damaged_is_not_written_to(
    path: Path, descriptor: int, tmp_path: Path
) -> None:
    with closing(made(tmp_path / "other", vacuum="NONE")) as connection:
        change(connection, random.Random(1), set())
    other = os.open(tmp_path / "other", os.O_RDWR)
    with pytest.raises(Strange):
        UnusedBytes(other)
    os.close(other)

    chance = random.Random(2)
    with closing(made(path)) as connection:
        change(connection, chance, set())
    whole = path.read_bytes()
    refused = 0
    for _ in range(60):  # in the header of a page, or what it says first
        at = chance.randrange(len(whole) // 4096) * 4096 + chance.randrange(16)
        path.write_bytes(whole[:at] + chance.randbytes(1) + whole[at + 1 :])
        before = read(path)
        try:
            clear(descriptor)
        except Strange:
            refused += 1
        assert before is None or read(path) == before
    assert 10 < refused < 60


def read(path: Path) -> list[object] | None:
    """All rows; None where SQLite finds damage."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            return [connection.execute(f"SELECT * FROM {n}").fetchall() for n in ("rows", "pairs")]
        except (sqlite3.Error, UnicodeError):
            return None
