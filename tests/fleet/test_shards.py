"""A hub over three servers, by postgres_fdw: a namespace lies on one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimad.errors import HubUnusable
from tests.fleet.boards import Board, make_hub, spread
from tests.fleet.postgres import Postgres, need_postgres

pytestmark = pytest.mark.fleet
SHARDS = 3
SPACES = [f"space{n}" for n in range(12)]


@pytest.fixture
def servers() -> Iterator[list[Postgres]]:
    need_postgres()
    made = [Postgres(fsync="off", log_statement="mod").start() for _ in range(SHARDS + 1)]
    yield made
    for each in made:
        each.finish()


def inserts(shards: list[Postgres]) -> int:
    """How many statements have put memories into the servers' partitions."""
    logs = ((shard.place / "log").read_text() for shard in shards)
    return sum(len(re.findall(r"execute \w+: INSERT INTO nimad\.memories_", log)) for log in logs)


def test_a_namespace_is_on_one_server_and_others_do_without_it(
    servers: list[Postgres], tmp_path: Path
) -> None:
    hub, *shards = servers
    rights = dict.fromkeys(SPACES, "both")
    passwords = make_hub(hub, {"home": rights, "car": rights})
    spread(hub, shards)
    home, car = (
        Board(tmp_path / name, name, hub.url(name, passwords[name]), rights).start()
        for name in ("home", "car")
    )
    try:
        ids = {space: home.remember(f"kept in {space}", space) for space in SPACES}
        home.round(0)
        car.round(0)
        assert all(home.export(space) == car.export(space) != [] for space in SPACES)
        held = [
            {space for (space,) in shard.execute("SELECT DISTINCT namespace FROM nimad.memories")}
            for shard in shards
        ]
        assert all(held) and sum(map(len, held)) == len(SPACES)
        for space in SPACES:
            plan = hub.execute(
                "EXPLAIN SELECT seq, body FROM nimad.memories WHERE"
                f" namespace = '{space}' AND writer = gen_random_uuid() AND seq > 0 ORDER BY seq"
            )
            assert str(plan).count("Foreign Scan") == 1
        shards[1].kill()
        for space in SPACES:
            home.remember(f"late in {space}", space)
            home.call("forget", ids=[ids[space]])
        for board in (home, car, home, car):
            with pytest.raises(HubUnusable):
                board.round(0)
        reached = {space for space in SPACES if len(car.export(space)) == 1}
        assert reached >= held[0] | held[2]
        assert all(car.export(space)[0]["text"].startswith("late") for space in held[0] | held[2])
        assert all("kept" in car.export(space)[0]["text"] for space in held[1])
        shards[1].start()
        for board in (home, car, home, car):
            try:
                board.round(0)
            except HubUnusable:  # the hub notices a connection that had ended
                board.round(0)
        assert all(home.export(space) == car.export(space) for space in SPACES)
        assert [line["text"] for line in car.export(SPACES[0])] == [f"late in {SPACES[0]}"]
        before = inserts(shards)
        lines = [{"text": f"one of {n}", "namespace": SPACES[0]} for n in range(50)]
        home.call("import", memories=lines)
        home.round(0)
        assert inserts(shards) == before + 1, "rows are not sent many at a time"
    finally:
        home.finish()
        car.finish()
