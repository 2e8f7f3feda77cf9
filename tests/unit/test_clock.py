"""A board without a battery for its clock: what was remembered before it was set is set right."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance
from nimad.core.clock import RELEASED, Clock
from nimad.core.store import MemoryStore
from nimad.model import Filter, Memory, now_ms
from nimad.serve import wire
from nimad.serve.query_verb import QueryVerb
from nimad.serve.verbs import Call
from nimad.store.records import Records
from tests.old_schema import take_back

TRUE = RELEASED + 90 * 86_400_000
HOUR = 3_600_000


class Board:
    """A store whose clock and uptime the test moves; `off` is how wrong the clock is."""

    def __init__(self, state: Path) -> None:
        self.state, self.off, self.up, self.boot = state, 0, 60_000, "first"
        self.store = self._open()

    def _open(self) -> MemoryStore:
        store = MemoryStore.open(self.state, Config().replace(graph__engine="none"))
        store.clock = Clock(store.records, self.now, lambda: self.up, self.boot)
        store.writer.clock = store.clock
        return store

    def now(self) -> int:
        return TRUE + self.up + self.off

    def restart(self, boot: str = "first") -> None:
        self.store.close()
        self.boot = boot
        self.store = self._open()

    def remember(self, text: str, **fields: Any) -> int:
        self.up += 1000
        return self.store.remember(Memory(text, **fields))

    def told(self) -> list[tuple[str, str]]:
        return [(p.what, p.severity) for p in check(self.store) if p.part == "clock"]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    made = Board(tmp_path / "state")
    yield made
    made.store.close()


def test_memories_before_the_clock_was_set_are_set_right(board: Board) -> None:
    board.off = -TRUE  # January 1970
    first = board.remember("The pump was set to level 2.", session="s", turn="t", layer="input")
    dated = board.remember("The pump is from 2020.", timestamp=1_577_836_800_000)
    undated = board.remember("The pump is old.", timestamp=None)
    at = TRUE + 61_000
    assert (
        board.store.get(first).timestamp == 61_000 and board.store.clock.describe()["waiting"] == 3
    )
    assert [severity for _, severity in board.told()] == ["warning", "warning"]
    board.off = 0
    assert [hit.memory.id for hit in board.store.query("pump", where=Filter(after=at)).hits] == [
        first
    ]
    found = board.store.records.get([first, dated, undated])
    assert (found[first].timestamp, found[first].created) == (at, at)
    assert (found[dated].timestamp, found[dated].created) == (1_577_836_800_000, at + 1000)
    assert (found[undated].timestamp, found[undated].created) == (None, at + 2000)
    assert board.store.records.rows("SELECT timestamp FROM turns") == [(at,)]
    told = board.store.clock.describe()
    (note,) = told.pop("notes")
    assert told == {"set": True, "waiting": 0, "lost": 0, "set_right": 3, "by_ms": TRUE}
    ((what, severity),) = board.told()
    assert (
        what == note
        and severity == "note"
        and re.search(r"when 3 memories were stored; set right by \+\d+ days", what)
    )


def test_each_jump_is_told_from_the_boot(board: Board) -> None:
    """Lifted to systemd's build date first, then set back two days, then right."""
    board.off = -TRUE
    ids = [board.remember("one")]
    board.off = RELEASED - 10 * HOUR - TRUE
    ids.append(board.remember("two"))
    board.off = 0
    ids.append(board.remember("three"))
    board.off = -48 * HOUR
    ids.append(board.remember("four"))
    board.off = 5
    maintenance.finish(board.store)
    found = board.store.records.get(ids)
    assert [found[i].timestamp for i in ids] == [
        TRUE + 61_000,
        TRUE + 62_000,
        TRUE + 63_000,
        TRUE + 64_005,
    ]


def test_it_outlasts_a_restart_but_not_a_boot(board: Board) -> None:
    board.off = -TRUE
    first = board.remember("before the restart")
    board.restart()
    board.off = 0
    assert board.store.get(first).timestamp == TRUE + 61_000
    board.off = -TRUE
    second = board.remember("before the boot")
    board.restart("second")
    board.off, board.up = 0, 5000
    assert board.store.get(second).timestamp == 62_000
    assert board.store.clock.describe()["lost"] == 1
    assert [severity for _, severity in board.told()] == ["note", "note"]


def test_what_is_forgotten_needs_no_clock(board: Board) -> None:
    board.off = -TRUE
    board.store.forget([board.remember("one")])
    assert board.store.clock.describe()["waiting"] == 0
    board.off = 0
    board.store.clock.set_right()


@pytest.mark.parametrize("year", [9999, 12_000])
def test_a_clock_beyond_the_calendar_is_not_set(
    board: Board, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    """Everything answers, and what was stored meanwhile is set right."""
    wrong = int((year + 0.99 - 1970) * 365.2425 * 86_400) * 10**9
    monkeypatch.setattr(board, "now", now_ms)
    board.restart()
    with monkeypatch.context() as clock:
        clock.setattr("nimad.model.time.time_ns", lambda: wrong)
        first = board.remember("The pump was set to level 2.")
        for said in ("pump", "pump yesterday", "pump last month", "pump 3 weeks ago", "pump today"):
            assert [hit.memory.id for hit in board.store.query(said).hits] == [first]
        (verb,) = QueryVerb(board.store).all()
        for name, said in (("as_of", "today"), ("after", "yesterday"), ("before", "2d")):
            verb.answer(Call({"text": "pump", name: said}, None))  # type: ignore[arg-type]
        assert [wire.exported(memory)["id"] for memory in board.store.export(0, 10)] == [first]
        assert ("clock", "warning") in [(p.part, p.severity) for p in check(board.store)]
    board.up += 1000
    clock_now = now_ms()
    assert clock_now - 60_000 < (board.store.get(first).timestamp or 0) < clock_now


def test_before_the_clock_is_set_nothing_is_alarmed_and_no_look_is_put_off(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute after the epoch is no minute after what never was."""
    number = board.remember("The pump was set to level 2.")
    harm = "UPDATE memories SET who = 'nobody' WHERE id = ?"
    for shown in (60_000, TRUE):
        monkeypatch.setattr("nimad.model.time.time_ns", lambda shown=shown: shown * 1_000_000)
        board.restart()
        assert board.store.degraded() == {}
        with board.store.records.write() as tx:
            tx.execute(harm, (number,))
        maintenance.finish(board.store)
        assert list(board.store.degraded()) == ["records"], shown
        with board.store.records.write() as tx:
            tx.execute(harm.replace("'nobody'", "NULL"), (number,))
        board.store.integrity.examine()
        assert board.store.degraded() == {}


def test_a_clock_that_is_right_costs_no_row(board: Board) -> None:
    board.remember("one")
    board.off = -HOUR + 5000  # set back a little: still set
    board.remember("two")
    assert board.store.clock.describe()["waiting"] == 0 and board.told() == []


def test_neighbours_follow_their_times(board: Board) -> None:
    """Memories that come with a date lie between those that the clock dates."""
    board.off = -TRUE
    one = board.remember("one", session="s", who="Ada")
    old = board.remember("old", session="s", who="Ben", timestamp=TRUE - HOUR)
    assert board.store.query("one").hits
    board.off = 0
    board.remember("three", session="s", who="Ada")
    board.store.query("one")
    chain = board.store.recall._columns
    rows = {int(number): row for row, number in enumerate(chain.id[:])}
    assert chain.after[rows[old]] == rows[one], "what was 1970 is later now"


def test_a_question_as_of_now_says_that_the_clock_is_behind(board: Board) -> None:
    board.remember("The kettle is red.")
    (verb,) = QueryVerb(board.store).all()

    def notes() -> list[str]:
        asked = {"text": "kettle", "as_of": "now"}
        found: dict[str, Any] = verb.answer(Call(asked, None))  # type: ignore[arg-type]
        return found.get("notes", [])

    assert notes() == []
    board.off = -48 * HOUR
    (note,) = notes()
    assert "the clock is not set, or behind the memories" in note


def test_the_release_is_that_of_the_newest_changelog_entry() -> None:
    changelog = (Path(__file__).parents[2] / "debian/changelog").read_text("utf-8")
    (stamp, *_) = re.findall(r"^ -- .*>  (.*)$", changelog, re.MULTILINE)
    released = datetime.datetime.strptime(stamp, "%a, %d %b %Y %H:%M:%S %z")
    assert released.timestamp() * 1000 == RELEASED


def test_older_rows_in_another_unit_are_read_once(tmp_path: Path) -> None:
    """What version 6 took over from a graph as it stood: seconds, microseconds, nothing."""
    records = Records.open(tmp_path / "records.sqlite")
    with records.write() as tx:
        tx.insert(
            "sources",
            name="g",
            kind="nima-sqlite",
            path="p",
            fingerprint="f",
            format=1,
            sha256="0",
            bytes=1,
            strategy="full",
            stage="verified",
            attached=1,
        )
        times = [1_715_162_400, 1_715_162_400_250_000, 1_715_162_400_000, 0]
        ids = tx.add_memories(
            [Memory(f"m{n}", timestamp=at, source=("g", n)) for n, at in enumerate(times)], 1
        )
        take_back(tx.connection, 6)
    records.close()
    records = Records.open(tmp_path / "records.sqlite")
    found = records.get(ids)
    assert [found[i].timestamp for i in ids] == [
        1_715_162_400_000,
        1_715_162_400_250,
        1_715_162_400_000,
        None,
    ]
    assert [found[i].extra for i in ids] == [
        {"timestamp": times[0]},
        {"timestamp": times[1]},
        None,
        None,
    ]
    assert [(c.op, c.first, c.last) for c in records.changes(0, 9)][-1] == (
        "change",
        ids[0],
        ids[1],
    )
    records.close()
