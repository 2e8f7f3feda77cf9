"""A hub that lies, and what goes over the wire: nothing but what is shared, in either direction."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import RemoteFailure
from tests.fleet.boards import Board, make_hub
from tests.fleet.postgres import Postgres, need_postgres
from tests.threads import Background, Callers, hang_up, until_hung_up

pytestmark = pytest.mark.fleet
OTHER = uuid.UUID(int=7)
"""A board that only the hub knows of."""
LONE = '"\\ud800"'


class Wire(Callers):
    """A proxy on a port of 127.0.0.1 that keeps every byte."""

    def __init__(self, port: int) -> None:
        self.seen = bytearray()
        listener = socket.create_server(("127.0.0.1", 0))
        super().__init__(listener, self._hand_on)
        self._target = port
        self.port: int = listener.getsockname()[1]

    def _hand_on(self, near: socket.socket) -> None:
        far = socket.create_connection(("127.0.0.1", self._target))
        with far, Background(self._copy, near, far):
            self._copy(far, near)

    def _copy(self, one: socket.socket, two: socket.socket) -> None:
        with until_hung_up():
            while data := one.recv(1 << 16):
                self.seen += data
                two.sendall(data)
        for each in (one, two):
            hang_up(each)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    need_postgres()
    made = Postgres(fsync="off").start()
    yield made
    made.finish()


@pytest.fixture
def wire(postgres: Postgres) -> Iterator[Wire]:
    with Wire(postgres.port) as made:
        yield made


@pytest.fixture
def board(postgres: Postgres, wire: Wire, tmp_path: Path) -> Iterator[Board]:
    postgres.execute("DROP DATABASE IF EXISTS nimad WITH (FORCE)", database="postgres")
    postgres.execute("DROP ROLE IF EXISTS home", database="postgres")
    passwords = make_hub(postgres, {"home": {"family": "both", "garden": "push", "other": "both"}})
    url = postgres.url("home", passwords["home"]).replace(str(postgres.port), str(wire.port))
    spaces = {"family": "both", "garden": "push"}
    made = Board(tmp_path / "home", "home", url, spaces, max_memories=50, max_mb=1).start()
    yield made
    made.finish()


def say(postgres: Postgres, kind: str, bodies: list[str], namespace: str = "family") -> None:
    """Let the hub claim rows of another board's stream."""
    key = f"'{namespace}', '{OTHER}'"
    postgres.execute(
        f"INSERT INTO nimad.streams (namespace, writer) VALUES ({key}) ON CONFLICT DO NOTHING"
    )
    for body in bodies:
        quoted = body.replace("'", "''")
        postgres.execute(
            f"UPDATE nimad.streams SET head = head + 1 WHERE (namespace, writer) = ({key})",
            f"INSERT INTO nimad.{kind} (namespace, store, number, writer, seq, body) SELECT"
            f" '{namespace}', gen_random_uuid(), head, writer, head, '{quoted}'"
            f" FROM nimad.streams WHERE (namespace, writer) = ({key})",
        )


def memory(number: int, store: str = OTHER.hex, **fields: Any) -> str:
    body = {"text": f"told by the hub {number}", "origin": "owner", "timestamp": None, **fields}
    return json.dumps({"key": [store, number], "body": body, "stamp": 0})


def test_only_shared_namespaces_are_on_the_wire(board: Board, wire: Wire) -> None:
    board.remember("zebra", "family")
    for space in ("private", "default", "other", "family.sub", "famil"):
        board.remember("xyzzy", space, who="xyzzy", tags=["xyzzy"])
    board.call("forget", ids=[board.remember("xyzzy", "private")], purge=True)
    board.round()
    assert b"zebra" in wire.seen and b"xyzzy" not in wire.seen
    assert b"private" not in wire.seen


def test_a_board_at_rest_is_silent(board: Board, wire: Wire) -> None:
    """A round is made every ten minutes, and the hub is listened to every minute."""
    board.remember("zebra", "family")
    for _ in range(3):
        board.round()
    before = len(wire.seen)
    board.round()
    each_round = len(wire.seen) - before
    before = len(wire.seen)
    assert board.rounds_hub().listen(0.01) is False
    each_minute = len(wire.seen) - before
    print(f"{each_round} bytes a round, {each_minute} bytes a minute")
    assert each_round / 10 + each_minute < 1000


def test_what_is_sound_is_taken_and_the_rest_refused(board: Board, postgres: Postgres) -> None:
    mine = board.remember("my own", "family")
    board.round()
    store = board.call("fleet.state")["store"]
    deep = '{"key": ["' + OTHER.hex + '", 90], "body": ' + "[" * 5000 + "]" * 5000 + "}"
    say(
        postgres,
        "memories",
        [
            memory(1),
            memory(mine, store, text="forged under a key of this board"),
            memory(mine + 5, store, text="a key that this board is to give later"),
            memory(2, namespace="private"),
            memory(3, source={"name": "graph", "id": 1}),
            memory(5, text=7),
            memory(6, text="x" * 300_000),
            memory(7, layer="kernel"),
            memory(8, importance=1e300),
            memory(9, tags=["t"] * 1000),
            memory(10, unknown=1),
            memory(11, timestamp=10**30),
            memory(-4),
            memory(2**70),
            memory(12, "not a uuid"),
            memory(13, extra={"a": list(range(25_000))}),
            memory(14, text=LONE).replace('"\\"\\\\ud800\\""', LONE),
            "not JSON",
            "[]",
            "null",
            '{"key": 1}',
            '{"key": [[], {}], "body": {}}',
            deep,
            memory(99),
        ],
    )
    board.round()
    held = [line["text"] for line in board.export()]
    assert held == ["my own", "told by the hub 1", "told by the hub 99"]
    assert not board.export("private")
    assert board.call("status")["fleet"]["refused"]
    assert board.call("doctor")["problems"] == []


def test_a_hub_cannot_reach_what_is_not_shared(board: Board, postgres: Postgres) -> None:
    private = board.remember("private", "private")
    garden = board.remember("roses", "garden")
    board.remember("shared", "family")
    board.round()
    store = board.call("fleet.state")["store"]
    gone = [json.dumps({"key": [store, n], "purge": True}) for n in (private, garden, 10**6)]
    say(postgres, "tombstones", [*gone, '{"key": 5, "purge": 1}'])
    say(postgres, "tombstones", gone, "garden")  # which this board only gives to
    say(postgres, "memories", [memory(1)], "garden")
    say(postgres, "memories", [memory(1)], "other")  # which the hub offers, and it did not ask for
    edge = {"key": [OTHER.hex, 1], "origin": [store, private], "target": [store, garden]}
    say(postgres, "relations", [json.dumps({**edge, "relation": "owns", "weight": 1})])
    goal = {"priority": 1, "since": 0, "state": "open"}
    stamped = {"key": [store, private], "goal": goal, "stamp": 2**60}
    say(postgres, "goals", [json.dumps(stamped)])
    board.round()
    assert board.call("get", id=private)["memory"]["text"] == "private"
    assert board.call("get", id=garden)["memory"]["text"] == "roses"
    assert not board.export("other") and len(board.export("garden")) == 1
    assert board.call("status")["relations"] == 0
    assert board.call("goal.list")["results"] == []
    for verb, params in {
        "fleet.changes": {"kind": "memories", "namespace": "private"},
        "fleet.apply": {
            "kind": "memories",
            "namespace": "garden",
            "writer": OTHER.hex,
            "upto": 1,
            "entries": [],
        },
    }.items():
        with pytest.raises(RemoteFailure) as refused:
            board.call(verb, **params)
        assert refused.value.code == "not_shared"


def test_a_quota_is_kept(board: Board, postgres: Postgres) -> None:
    say(postgres, "memories", [memory(n) for n in range(1, 61)])
    with pytest.raises(Exception, match="more than 50 memories or 1 MiB"):
        board.round()
    assert not board.export() and "50 memories" in board.call("status")["fleet"]["state"]
    postgres.execute("DELETE FROM nimad.memories WHERE number > 30")
    board.round()
    assert len(board.export()) == 30
    say(postgres, "memories", [memory(n, text="y" * 150_000) for n in range(100, 110)])
    with pytest.raises(Exception, match="1 MiB"):
        board.round()
    assert sum(len(line["text"]) for line in board.export()) < 1 << 20
    assert board.remember("own memories are not counted")
