"""Random operations on three boards, with partitions, kills and clock jumps, against plain sets.

Each round is made from a seed that it prints; ROUNDS=200 makes more of them, SEED=n begins at n.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nimad.errors import NimadError
from tests.fleet.boards import Board, make_hub, settle
from tests.fleet.postgres import Postgres, need_postgres
from tests.threads import PATIENCE

pytestmark = pytest.mark.fleet
ROUNDS, SEED = int(os.environ.get("ROUNDS", "3")), int(os.environ.get("SEED", "1"))
NAMES = ("home", "car", "shed")
STEPS = 40
KEYS = ("lamp", "door")
JUMPS = (0, 0, 3600, -86_400 * 400, 86_400 * 900, -3600)
"""By how much a clock is wrong after a restart [seconds]."""
CLOCK = """
import os, time
ahead = int(os.environ.get("AHEAD", "0"))
now, now_ns = time.time, time.time_ns
time.time = lambda: now() + ahead
time.time_ns = lambda: now_ns() + ahead * 10**9
"""
"""A sitecustomize that sets the daemon's clock; time itself is the one thing that is mocked."""


class World:
    """Boards, their hub, and what a set says that they hold."""

    def __init__(self, seed: int, folder: Path, postgres: Postgres) -> None:
        self.random, self.postgres = random.Random(seed), postgres
        spaces = {name: {"family": "both"} for name in NAMES}
        postgres.execute("DROP DATABASE IF EXISTS nimad WITH (FORCE)", database="postgres")
        for name in NAMES:
            postgres.execute(f"DROP ROLE IF EXISTS {name}", database="postgres")
        passwords = make_hub(postgres, spaces)
        (folder / "sitecustomize.py").write_text(CLOCK)
        self.boards = [
            Board(
                folder / name,
                name,
                postgres.url(name, passwords[name]),
                spaces[name],
                {"PYTHONPATH": f"{folder}:{Path.cwd()}"},
            )
            for name in NAMES
        ]
        self.alive: set[str] = set()
        self.values: dict[str, set[int]] = {key: set() for key in KEYS}
        self.purged: set[str] = set()
        self.number = 0

    def text(self) -> str:
        self.number += 1
        words = self.random.choices(("kettle", "garden", "Zoë", "müde", "漢字", "rain"), k=3)
        return f"memory-{self.number}x {' '.join(words)}"

    # --- operations -------------------------------------------------------------------------------

    def remember(self, board: Board) -> None:
        text = self.text()
        more: dict[str, Any] = {"who": "Anna"} if self.random.random() < 0.5 else {}
        board.remember(text, origin=self.random.choice(["owner", "agent", "untrusted"]), **more)
        self.alive.add(text)

    def capture(self, board: Board) -> None:
        turn = {"turn": f"t{self.number}", "session": "s", "namespace": "family"}
        parts = {role: self.text() for role in ("input", "output")}
        board.call("capture", turns=[{**turn, **parts}])
        self.alive |= set(parts.values())

    def put(self, board: Board) -> None:
        key = self.random.choice(KEYS)
        self.number += 1
        document = {"namespace": "family", "key": key, "value": {"n": self.number}}
        board.call("documents.put", documents=[document])
        self.values[key].add(self.number)

    def forget(self, board: Board, purge: bool = False) -> None:
        page = board.call("export", namespace="family", limit=5000)["memories"]
        if chosen := [m for m in page if m["key"] is None]:
            memory = self.random.choice(chosen)
            board.call("forget", ids=[memory["id"]], purge=purge)
            self.alive.discard(memory["text"])
            if purge:
                self.purged.add(memory["text"])

    def purge(self, board: Board) -> None:
        self.forget(board, purge=True)

    def sync(self, board: Board) -> None:
        with contextlib.suppress(NimadError):  # the hub may be away
            board.round()

    def restart(self, board: Board, ahead: int | None = None) -> None:
        wrong = self.random.choice(JUMPS) if ahead is None else ahead
        board.daemon.environment["AHEAD"] = str(wrong)
        board.daemon.restart()

    def kill_daemon(self, board: Board) -> None:
        helper = board.start_sync("--once")
        time.sleep(self.random.uniform(0.2, 0.7))
        board.daemon.kill()
        helper.wait(PATIENCE)
        self.restart(board)

    def kill_helper(self, board: Board) -> None:
        helper = board.start_sync("--once")
        time.sleep(self.random.uniform(0.2, 0.7))
        helper.kill()
        helper.wait(PATIENCE)

    def kill_hub(self, board: Board) -> None:
        helper = board.start_sync("--once")
        time.sleep(self.random.uniform(0.2, 0.6))
        self.postgres.kill()
        if self.random.random() < 0.5:  # a partition: some go on without it
            for _ in range(5):
                self.remember(self.random.choice(self.boards))
            self.sync(self.random.choice(self.boards))
        self.postgres.start()
        helper.wait(PATIENCE)

    # --- what must hold ---------------------------------------------------------------------------

    def heal(self) -> None:
        for board in self.boards:
            self.restart(board, ahead=0)
            self.sync(board)  # the first one meets the end of an old connection
        settle(self.boards, 4)

    def check(self) -> None:
        exports = [board.export() for board in self.boards]
        for other in exports[1:]:
            assert exports[0] == other, Counter(map(str, exports[0])) - Counter(map(str, other))
        texts = Counter(line["text"] for line in exports[0] if line["key"] is None)
        assert texts == Counter(self.alive)
        held = {line["key"]: line["extra"]["n"] for line in exports[0] if line["key"]}
        assert held.keys() == {key for key, values in self.values.items() if values}
        assert all(number in self.values[key] for key, number in held.items())
        ways = [connected(board) for board in self.boards]
        assert ways[0] == ways[1] == ways[2]
        for board in self.boards:
            board.daemon.stop()
            data = (board.daemon.state / "records.sqlite").read_bytes()
            assert not [text for text in self.purged if text.encode() in data]


def connected(board: Board) -> set[tuple[str, str, str]]:
    """The relations of a board, by the texts of their memories."""
    sql = "SELECT a.text, n.name, b.text FROM relations r JOIN memories a ON a.id = r.origin"
    sql += " JOIN memories b ON b.id = r.target JOIN names n ON n.id = r.relation"
    with contextlib.closing(sqlite3.connect(board.daemon.state / "records.sqlite")) as records:
        return set(records.execute(sql).fetchall())


OPERATIONS = {
    "remember": 12,
    "capture": 4,
    "put": 4,
    "forget": 5,
    "purge": 2,
    "sync": 12,
    "restart": 1,
    "kill_daemon": 2,
    "kill_helper": 2,
    "kill_hub": 1,
}
"""Operations, and how often each is drawn."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    need_postgres()
    made = Postgres().start()
    yield made
    made.finish()


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_after_healing_all_boards_hold_what_a_set_holds(
    seed: int, tmp_path: Path, postgres: Postgres
) -> None:
    world = World(seed, tmp_path, postgres)
    done: list[tuple[str, str]] = []
    try:
        for board in world.boards:
            board.start()
        for _ in range(STEPS):
            name = world.random.choices(list(OPERATIONS), list(OPERATIONS.values()))[0]
            board = world.random.choice(world.boards)
            done.append((name, board.name))
            getattr(world, name)(board)
        world.heal()
        world.check()
    except BaseException:
        print(f"seed {seed}: {json.dumps(done)}")
        raise
    finally:
        for board in world.boards:
            board.finish()
