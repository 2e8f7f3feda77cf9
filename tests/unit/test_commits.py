"""Several threads write in one COMMIT: a part is whole or not there, an error has its owner."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nimad.config import Config
from nimad.core.capture import CapturedTurn
from nimad.core.documents import Documents
from nimad.core.store import MemoryStore
from nimad.errors import DiskReadOnly
from nimad.model import Memory
from nimad.serve.lanes import Lane
from nimad.store import commits as commits_module
from nimad.store import records as records_module
from nimad.store.records import Records
from nimad.store.writer_lock import WriterLock, work_for
from tests.threads import PATIENCE, Background, side_by_side

THREADS = 6


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(Records.open(tmp_path / "records.sqlite")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, whoever waits joins."""
    monkeypatch.setattr(commits_module, "JOINT_SECONDS", PATIENCE)


def commits(records: Records) -> int:
    """The transactions in the WAL: its frames that tell a size of the database."""
    data = records.path.with_name("records.sqlite-wal").read_bytes()
    (page,) = struct.unpack(">I", data[8:12])
    return sum(data[at + 4 : at + 8] != b"\0\0\0\0" for at in range(32, len(data), page + 24))


def remember(records: Records, text: str) -> int:
    with records.write_jointly() as tx:
        return tx.add_memories([Memory(text=text)])[0]


def together(records: Records, *works: Callable[[], object]) -> list[object]:
    """Let each do its work in a thread, all of them waiting for the writer in this order; what each
    returned or raised."""
    outcomes: list[object] = [None] * len(works)

    def do(place: int) -> None:
        try:
            outcomes[place] = works[place]()
        except Exception as error:
            outcomes[place] = error

    threads = [Background(do, place) for place in range(len(works))]
    with records.exclusive():
        for thread in threads:
            before = records.waiting_writers
            thread.start()
            while records.waiting_writers == before:
                time.sleep(0.001)
    for thread in threads:
        thread.finish()
    return outcomes


def test_those_who_wait_are_committed_together(records: Records) -> None:
    before = commits(records)
    works = [lambda text=f"note {n}": remember(records, text) for n in range(THREADS)]
    assert together(records, *works) == list(range(1, THREADS + 1))
    assert commits(records) == before + 1
    remember(records, "alone")
    assert commits(records) == before + 2
    assert [memory.text for memory in records.get([1, 6, 7]).values()] == [
        *("note 0", "note 5", "alone")
    ]
    assert [(c.first, c.last) for c in records.changes(0, 9)] == [(n, n) for n in range(1, 8)]


def test_who_took_long_is_not_joined(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else who came first would wait for the long parts of all others."""
    monkeypatch.setattr(commits_module, "JOINT_SECONDS", 0.0)
    before = commits(records)
    works = [lambda text=f"note {n}": remember(records, text) for n in range(THREADS)]
    assert together(records, *works) == list(range(1, THREADS + 1))
    assert commits(records) == before + THREADS


def test_one_that_fails_takes_none_along(records: Records) -> None:
    def fail(error: Exception) -> None:
        with records.write_jointly() as tx:
            tx.add_memories([Memory(text="lost", session="only here", turn="t1")])
            tx.after_commit(lambda: pytest.fail("it was not committed"))
            raise error

    first, middle = ZeroDivisionError(), sqlite3.IntegrityError("a fault")
    outcomes = together(
        records,
        lambda: fail(first),
        lambda: remember(records, "a"),
        lambda: fail(middle),
        lambda: remember(records, "b"),
    )
    assert outcomes[0] is first and outcomes[2] is middle
    found = records.get([1, 2])
    assert [found[n].text for n in (outcomes[1], outcomes[3])] == ["a", "b"]  # type: ignore[index]
    assert records.counts() == {"memories": 2, "turns": 0, "relations": 0}
    assert records.rows("SELECT * FROM names WHERE name = 'only here'") == []
    assert [(c.op, c.first, c.last) for c in records.changes(0, 9)] == [
        *(("add", 1, 1), ("add", 2, 2))
    ]


def test_what_sqlite_rolls_back_as_a_whole_is_told_to_all(records: Records) -> None:
    def fail() -> None:
        with records.write_jointly() as tx:
            tx.execute("ROLLBACK")  # as SQLite does by itself when the disk is full
            raise ZeroDivisionError

    outcomes = together(records, *[lambda: remember(records, "gone")] * 2, fail)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 3
    assert len(records.ids()) == 0 and remember(records, "next") == 1


def test_an_error_of_the_commit_is_everybodys(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    looks: list[Path] = []

    def write() -> None:
        with records.write_jointly() as tx:
            tx.add_memories([Memory(text="not acknowledged")])
            tx.after_commit(lambda: done.append("shown"))

    def refuse(path: Path) -> None:
        looks.append(path)
        if len(looks) == 2:  # after the COMMIT; the first one is before BEGIN
            raise DiskReadOnly(detail="a fault")

    monkeypatch.setattr(records_module, "check_writable", refuse)
    outcomes = together(records, write, write)
    assert [type(outcome) for outcome in outcomes] == [DiskReadOnly] * 2 and done == []
    assert remember(records, "next") > 0


def test_what_follows_a_commit_comes_before_the_next_writer(records: Records) -> None:
    shown: set[int] = set()

    def write() -> int:
        with records.write_jointly() as tx:
            (number,) = tx.add_memories([Memory(text="x")])
            tx.after_commit(lambda: shown.add(number))
        assert number in shown
        return number

    def look() -> bool:
        with records.exclusive():
            return shown == set(records.ids().tolist())

    def plain() -> bool:
        with records.write() as tx:
            return shown == {number for (number,) in tx.rows("SELECT id FROM memories")}

    outcomes = together(records, write, write, look, write, plain, write, write)
    assert outcomes == [1, 2, True, 3, True, 4, 5]


def test_any_mixture_of_writers_loses_nothing(records: Records) -> None:
    acknowledged: dict[int, str] = {}

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for step in range(40):
            text = f"{seed} {step}"
            try:
                with records.write() if chance.random() < 0.2 else records.write_jointly() as tx:
                    (number,) = tx.add_memories([Memory(text=text, session=f"s{step}")])
                    if chance.random() < 0.2:
                        raise ZeroDivisionError
                acknowledged[number] = text
            except ZeroDivisionError:
                pass
            if chance.random() < 0.1:
                with records.exclusive():
                    assert set(acknowledged) <= set(records.ids().tolist())

    with side_by_side(partial(work, seed) for seed in range(THREADS)):
        pass
    found = records.get(records.ids().tolist())
    assert {number: memory.text for number, memory in found.items()} == acknowledged
    assert all(memory.session == f"s{memory.text.split()[1]}" for memory in found.values())


class Counted:
    """A connection that counts the calls of SQLite: after each, its thread waits for the others
    that compute.  `executemany` comes back after every row."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self.calls = connection, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, *given: Any) -> sqlite3.Cursor:
        self.calls += 1
        return self._connection.execute(*given)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
        rows = [*parameters]
        self.calls += len(rows)
        return self._connection.executemany(sql, rows)


def test_who_writes_much_does_not_come_back_from_sqlite_for_each_memory(tmp_path: Path) -> None:
    """Others wait for the lock meanwhile: a few statements, however many memories there are."""
    with closing(MemoryStore.open(tmp_path / "state", Config().replace(embedder="hash"))) as store:
        put = Documents(store).put

        def documents(count: int) -> list[Memory]:
            return [Memory(f"note {n}", key=f"k{n}", namespace="a") for n in range(count)]

        def turns(count: int) -> list[CapturedTurn]:
            return [
                CapturedTurn(
                    f"t{n}",
                    "a",
                    f"s{count}",
                    {
                        role: Memory(
                            role, namespace="a", session=f"s{count}", turn=f"t{n}", layer=role
                        )
                        for role in ("input", "output")
                    },
                )
                for n in range(count)
            ]

        works: dict[str, Callable[[int], object]] = {
            "new documents": lambda count: put(documents(count), []),
            "the same ones": lambda count: put(documents(count), []),
            "other dates": lambda count: store.clock.redate(
                store.records.ids()[-count:].tolist(), 10**12
            ),
            "scattered": lambda count: store.clock.redate(
                store.records.ids()[-count::2].tolist(), 10**11
            ),
            "gone": lambda count: put([], [("a", f"k{n}") for n in range(count)]),
            "turns": lambda count: store.capture(turns(count)),
            "forgotten": lambda count: store.forget(store.records.ids()[-count:].tolist()),
        }
        few, many = 150, 450
        calls: dict[str, list[int]] = {}
        for count in (few, many):
            for name, work in works.items():
                with store.records.exclusive():
                    commits = store.records._commits
                    plain = commits.writer
                    commits.writer = counted = Counted(plain)  # type: ignore[assignment]
                    work(count)
                    commits.writer = plain
                    calls.setdefault(name, []).append(counted.calls)
        grown = {name: (after - before) / (many - few) for name, (before, after) in calls.items()}
        assert grown.pop("turns") < 1.5, "each is compared with what is stored of it"
        assert all(found < 0.25 for found in grown.values()), grown


def test_the_lock_is_given_in_order_and_may_be_held_twice() -> None:
    lock, order = WriterLock(), list[int]()

    def take(number: int) -> None:
        with lock, lock:
            assert lock.depth == 2
            order.append(number)

    threads = [Background(take, number) for number in range(THREADS)]
    with lock:
        for number, thread in enumerate(threads):
            thread.start()
            while lock.waiting <= number:
                time.sleep(0.001)
        dismissed = lock.queue()
        lock.dismiss(dismissed)
        assert not lock.wait(dismissed) and lock.depth == 1
    for thread in threads:
        thread.finish()
    assert order == list(range(THREADS)) and lock.waiting == lock.depth == 0


def test_users_take_turns() -> None:
    """Whoever has many threads waiting is called no more often than who has one."""
    lock, order = WriterLock(), list[str]()

    def take(name: str) -> None:
        work_for(ord(name[0]))
        with lock:
            order.append(name)

    names = ["a1", "a2", "a3", "a4", "b1", "a5", "c1", "b2"]
    threads = [Background(take, name) for name in names]
    with lock:
        for number, thread in enumerate(threads):
            thread.start()
            while lock.waiting <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.finish()
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3", "a4", "a5"] and lock.waiting == 0


def test_a_request_works_for_its_user(records: Records) -> None:
    """One with four requests that write, then one with one: that is the second to write."""
    order: list[int] = []

    def write(uid: int) -> None:
        with records.write():
            order.append(uid)

    async def ask() -> None:
        lane = Lane("a test", 8)
        jobs = []
        with records.exclusive():
            for number, uid in enumerate((7, 7, 7, 7, 8)):
                jobs.append(asyncio.ensure_future(lane.run(uid, partial(write, uid))))
                while records.waiting_writers <= number:
                    await asyncio.sleep(0.001)
        await asyncio.gather(*jobs)
        lane.close()

    asyncio.run(ask())
    assert order == [7, 8, 7, 7, 7]
