"""A hub over three servers, by postgres_fdw: a namespace lies on one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nimad.errors import HubUnusable
from nimad.hub.main import main as nimad_hub
from nimad.hub.schema import KINDS, PARTITIONS
from tests.fleet.boards import Board, make_hub
from tests.fleet.postgres import Postgres, need_postgres

pytestmark = pytest.mark.fleet
SHARDS = 3
SPACES = [f"space{n}" for n in range(12)]


@pytest.fixture
def servers() -> Iterator[list[Postgres]]:
    need_postgres()
    made = [Postgres(fsync="off").start() for _ in range(SHARDS + 1)]
    yield made
    for each in made:
        each.finish()


def spread(hub: Postgres, shards: list[Postgres]) -> None:
    """What docs/fleet.md says: each shard is a hub of its own, whose partitions are those here.

    Never the table that they are of: postgres_fdw deletes by a row's place in its file, which is
    that of other rows in other partitions.
    """
    for n, shard in enumerate(shards):
        shard.execute("CREATE DATABASE nimad", database="postgres")
        assert nimad_hub(["init", shard.url()]) == 0
        hub.execute(
            "CREATE EXTENSION IF NOT EXISTS postgres_fdw",
            f"CREATE SERVER shard{n} FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
            f" (host '127.0.0.1', port '{shard.port}', dbname 'nimad', batch_size '500')",
            f"CREATE USER MAPPING FOR PUBLIC SERVER shard{n} OPTIONS"
            " (user 'postgres', password_required 'false')",
        )
    for table in KINDS:
        for n in range(PARTITIONS):
            hub.execute(
                f"DROP TABLE nimad.{table}_{n}",
                f"CREATE FOREIGN TABLE nimad.{table}_{n} PARTITION OF nimad.{table} FOR VALUES"
                f" WITH (MODULUS {PARTITIONS}, REMAINDER {n}) SERVER shard{n % SHARDS}"
                f" OPTIONS (schema_name 'nimad', table_name '{table}_{n}')",
            )


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
    finally:
        home.finish()
        car.finish()
