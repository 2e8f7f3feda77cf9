"""Three boards and one hub, all of them real: what is shared arrives, and nothing else does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nimad.ctl.main import main as nimactl
from tests.client import RemoteFailure
from tests.fleet.boards import Board, make_hub, settle
from tests.fleet.postgres import Postgres, need_postgres
from tests.threads import PATIENCE

pytestmark = pytest.mark.fleet
SPACES = {
    "home": {"family": "both", "garden": "push"},
    "car": {"family": "both"},
    "shed": {"family": "both", "garden": "pull"},
}
SECRET = "the canary sings xyzzy"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    need_postgres()
    made = Postgres(fsync="off").start()
    yield made
    made.finish()


@pytest.fixture
def boards(postgres: Postgres, tmp_path: Path) -> Iterator[dict[str, Board]]:
    postgres.execute("DROP DATABASE IF EXISTS nimad WITH (FORCE)", database="postgres")
    for name in SPACES:
        postgres.execute(f"DROP ROLE IF EXISTS {name}", database="postgres")
    passwords = make_hub(postgres, SPACES)
    made = {
        name: Board(tmp_path / name, name, postgres.url(name, passwords[name]), spaces).start()
        for name, spaces in SPACES.items()
    }
    yield made
    for board in made.values():
        board.finish()


def test_memories_reach_all_boards_once_and_say_where_they_are_from(
    boards: dict[str, Board],
) -> None:
    home, car, shed = boards.values()
    home.remember("the key is under the third pot", who="Anna", tags=["key"], origin="owner")
    home.remember("tomatoes were sown", "garden", importance=0.5)
    home.remember(SECRET, "private")
    car.remember("the tank is half full", timestamp="2026-03-01")
    turn = {"turn": "t1", "session": "s", "namespace": "family", "input": "Where is the jack?"}
    car.call("capture", turns=[{**turn, "output": "Under the seat.", "affect": "calm"}])
    settle([home, car, shed])
    assert len(home.export()) == 4
    assert home.export() == car.export() == shed.export()
    assert home.export("garden") == shed.export("garden") and not car.export("garden")
    (found,) = shed.call("query", text="third pot key", k=1)["results"]
    assert found["source"]["name"].startswith("home@") and found["origin"] == "owner"
    (asked,) = [m for m in shed.call("export")["memories"] if m["layer"] == "input"]
    near = shed.call("related", id=asked["id"])["results"]
    assert {(one["relation"], one["text"]) for one in near} >= {("responded_to", "Under the seat.")}
    stored = shed.call("capture", turns=[{**turn, "output": "Under the seat."}])["turns"]
    assert stored[0]["state"] == "unchanged"
    before = [board.call("status")["sequence"] for board in boards.values()]
    settle([home, car, shed], 1)
    assert before == [board.call("status")["sequence"] for board in boards.values()]


def test_what_one_forgets_all_forget(boards: dict[str, Board], postgres: Postgres) -> None:
    home, car, shed = boards.values()
    number = home.remember("a word that goes")
    home.remember("a word that stays")
    late = home.remember("a word that is purged")
    settle([home, car, shed])
    car.call("forget", ids=[m["id"] for m in car.call("export")["memories"] if "goes" in m["text"]])
    home.call("forget", ids=[late], purge=True)
    settle([home, car, shed])
    for board in boards.values():
        assert [line["text"] for line in board.export()] == ["a word that stays"]
        assert b"is purged" not in (board.daemon.state / "records.sqlite").read_bytes()
    with pytest.raises(RemoteFailure):
        home.call("get", id=number)
    assert postgres.execute("SELECT count(*) FROM nimad.memories") == [(1,)]
    assert postgres.execute("SELECT count(*) FROM nimad.vectors_0") == [(1,)]


def test_a_purge_has_a_receipt_of_each_board(
    boards: dict[str, Board], capsys: pytest.CaptureFixture[str]
) -> None:
    home, car, shed = boards.values()
    number = home.remember("to be purged")
    settle([home, car, shed])
    assert len(home.call("status")["fleet"]["peers"]) == 3
    home.call("forget", ids=[number], purge=True)
    home.round()
    (purge,) = home.call("status")["fleet"]["purges"]
    assert len(purge["pending"]) == 2 and purge["key"][1] == number
    car.round()
    home.round()
    (purge,) = home.call("status")["fleet"]["purges"]
    assert purge["pending"][0].startswith("shed@") and purge["done"][0].startswith("car@")
    assert nimactl(["--socket", str(home.daemon.socket), "fleet"]) == 0
    assert "still on shed@" in capsys.readouterr().out
    shed.round()
    home.round()
    assert home.call("status")["fleet"]["purges"] == []
    for board in boards.values():
        board.start_sync()
    number = home.remember("purged while all are there")
    arguments = ["forget", str(number), "--purge", "--fleet"]
    assert nimactl(["--socket", str(home.daemon.socket), *arguments]) == 0
    assert "all boards" in capsys.readouterr().out


def test_a_question_may_ask_the_hub_for_what_is_not_here(
    postgres: Postgres, boards: dict[str, Board], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = boards["home"]
    home.remember("The spare key of the boat lies in the blue tin")
    home.remember("Nothing about it")
    home.round()
    password = make_hub(postgres, {"hut": {"family": "both", "garden": "both"}})["hut"]
    hut = Board(tmp_path / "hut", "hut", postgres.url("hut", password), {"family": "push"}).start()
    try:
        here = hut.remember("Where the key of the hut hangs: behind the door")
        hut.remember("key", "private")
        asked = {"text": "where is the key of the boat", "fleet": True, "k": 5}
        alone = hut.call("query", **asked)
        assert [one["id"] for one in alone["results"]][:1] == [here]
        assert "does not run" in alone["fleet"]["why"]
        hut.start_sync()
        until = time.monotonic() + PATIENCE
        while (found := hut.call("query", **asked))["fleet"]["found"] != 1:
            assert time.monotonic() < until, found
            time.sleep(0.1)
        best = found["results"][0]
        assert best["id"] is None and best["source"]["name"].startswith("home@")
        assert "blue tin" in best["text"] and here in [one["id"] for one in found["results"]]
        assert not hut.call("query", **asked, who="Anna")["fleet"]["found"]
        command = ["--socket", str(hut.daemon.socket), "query", "--fleet", "boat key"]
        assert nimactl(command) == 0 and "home@" in capsys.readouterr().out
        postgres.kill()
        alone = hut.call("query", **asked)
        assert [one["id"] for one in alone["results"]][:1] == [here] and alone["fleet"]["why"]
        assert nimactl(command) == 0
        assert "this board alone has answered" in capsys.readouterr().err
    finally:
        postgres.start()
        hut.finish()
        postgres.execute("DROP OWNED BY hut", "DROP ROLE hut")


def test_of_two_documents_the_later_one_stays_on_all(boards: dict[str, Board]) -> None:
    home, car, shed = boards.values()

    def put(board: Board, value: int) -> None:
        document = {"namespace": "family", "key": "lamp", "value": {"level": value}}
        board.call("documents.put", documents=[document])

    put(home, 1)
    settle([home, car, shed])
    put(car, 2)
    put(shed, 3)  # neither knows of the other
    settle([home, car, shed])
    for board in boards.values():
        assert [line["extra"] for line in board.export()] == [{"level": 3}]
    goal = home.call("goal.add", text="Paint the fence", namespace="family")["id"]
    settle([home, car, shed])
    (there,) = [m["id"] for m in car.call("export")["memories"] if m.get("goal")]
    car.call("goal.done", id=there)
    settle([home, car, shed])
    assert goal and [line["goal"]["state"] for line in home.export() if "goal" in line] == ["done"]
    assert home.export() == car.export() == shed.export()


def test_nothing_else_is_on_the_hub_or_on_other_boards(
    boards: dict[str, Board], postgres: Postgres
) -> None:
    home, car, shed = boards.values()
    for space in ("private", "default", "gardens"):
        home.remember(SECRET, space)
    shed.remember(SECRET, "garden")  # which it only takes
    home.remember("shared")
    settle(list(boards.values()))
    dump = json.dumps(postgres.execute("SELECT body FROM nimad.memories"))
    assert "xyzzy" not in dump and "shared" in dump
    assert all(SECRET not in json.dumps(car.export(space)) for space in ("private", "garden"))


def test_a_role_reads_and_writes_only_what_it_may(
    boards: dict[str, Board], postgres: Postgres
) -> None:
    home, car, shed = boards.values()
    home.remember("for the family")
    home.remember("for the garden", "garden")
    settle([home, car, shed])
    url = car.daemon.config_file.read_text().split('"url": "')[1].split('"')[0]
    (store, own_store) = (
        postgres.execute(f"SELECT store FROM nimad.boards WHERE name = '{name}'")[0][0]
        for name in ("home", "car")
    )
    with psycopg.connect(url, autocommit=True) as thief:

        def refused(statement: str) -> None:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                thief.execute(statement)  # type: ignore[arg-type]

        seen = thief.execute("SELECT body FROM nimad.memories").fetchall()
        assert len(seen) == 1 and "for the family" in seen[0][0]
        columns = "(namespace, store, number, writer, seq, body)"
        for table in ("memories", "tombstones", "relations", "goals"):
            own = f"'{store}', 99, '{store}', 99, '{{}}'"
            refused(f"INSERT INTO nimad.{table} {columns} VALUES ('family', {own})")
            refused(f"INSERT INTO nimad.{table} {columns} VALUES ('garden', {own})")
            row = f"9, ARRAY['{store}']::uuid[], ARRAY[99::bigint], ARRAY['{{}}'], ARRAY['the']"
            for space, writer in (("family", store), ("garden", store), ("garden", own_store)):
                refused(f"SELECT nimad.store('{table}', '{space}', '{writer}', {row})")
            refused(f"SELECT nimad.store('members', 'family', '{own_store}', {row})")
            if table in ("memories", "relations"):  # those of another's store are left out
                give = f"SELECT nimad.store('{table}', 'family', '{own_store}', {row})"
                thief.execute(give)  # type: ignore[arg-type]
                assert not postgres.execute(f"SELECT FROM nimad.{table} WHERE number = 99")
            refused(f"DELETE FROM nimad.{table}")
            refused(f"SELECT * FROM nimad.{table}_3")
            refused(f"UPDATE nimad.{table} SET body = ''")
            refused(f"TRUNCATE nimad.{table}")
        for space, rows in (("family", 1), ("garden", 0)):
            find = f"SELECT * FROM nimad.candidates('{space}', ARRAY['the'], NULL, NULL, 10)"
            assert len(thief.execute(find).fetchall()) == rows  # type: ignore[arg-type]
        moved = thief.execute(f"UPDATE nimad.streams SET head = 0 WHERE writer = '{store}'")
        assert moved.rowcount == 0
        refused("INSERT INTO nimad.members VALUES ('garden', 'car', true, true)")
        refused("UPDATE nimad.boards SET role = 'car'")
        refused("CREATE TABLE nimad.mine (x integer)")
    assert postgres.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'car'") == [(False,)]


def test_a_restored_copy_gives_its_memories_no_second_key(
    boards: dict[str, Board], tmp_path: Path, postgres: Postgres
) -> None:
    home, car, shed = boards.values()
    home.remember("before the copy")
    settle([home, car, shed])
    home.daemon.stop()
    from nimad.store.identity import renew
    from nimad.store.records import Records

    records = Records.open(home.daemon.state / "records.sqlite")
    with records.write() as tx:
        renew(tx)
    records.close()
    home.daemon.start()
    home.remember("after it")
    settle([home, car, shed])
    assert home.export() == car.export() == shed.export() and len(car.export()) == 2
    assert postgres.execute("SELECT count(DISTINCT store) FROM nimad.memories") == [(2,)]
