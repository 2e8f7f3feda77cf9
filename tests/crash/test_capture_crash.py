"""kill -9 while turns are captured, at any moment: sent again, each is there once, and whole."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from nimad.core.capture import RELATIONS
from nimad.model import TURN_ROLES
from tests.client import Client
from tests.process import DaemonProcess


def turn(n: int) -> dict[str, Any]:
    texts = {role: f"{role} number {n} of the kettle in room {n % 17}" for role in TURN_ROLES}
    return {"session": f"s{n % 3}", "turn": f"t{n}", "affect": {"CARE": 0.5}, **texts}


def half(n: int) -> dict[str, Any]:
    """The same turn before its output came."""
    return {name: value for name, value in turn(n).items() if name != "output"}


@pytest.mark.disk
@pytest.mark.parametrize(
    ("captures", "kills"),
    [(24, 2), pytest.param(1000, 200, marks=pytest.mark.slow)],
)
def test_each_turn_is_there_once_and_whole(
    make_daemon: Callable[..., DaemonProcess], captures: int, kills: int
) -> None:
    daemon = make_daemon(config="embedder: hash\n").start()
    chance = random.Random(captures)
    doomed = set(chance.sample(range(captures), kills))
    again = 0
    for n in range(captures):
        first, *more = [half(n), turn(n)] if n % 2 else [turn(n)]
        for sent in (first, *more):
            if n in doomed:
                doomed.discard(n)
                began = time.monotonic()
                with Client(daemon.socket) as client:
                    client.send("capture", turns=[sent])
                    time.sleep(max(0.0, chance.uniform(-0.002, 0.02) - (time.monotonic() - began)))
                    daemon.kill()
                daemon.start()
            (done,) = daemon.call("capture", turns=[sent])["turns"]
            again += done["state"] == "unchanged"
            assert done["state"] != "conflict"
    assert daemon.call("doctor")["problems"] == []
    told = daemon.call("status")
    assert (told["turns"], told["memories"]) == (captures, 3 * captures)
    assert told["relations"] == 3 * captures
    ids = {}
    for n in range(captures):
        (done,) = daemon.call("capture", turns=[turn(n)])["turns"]
        assert done["state"] == "unchanged" and list(done["ids"]) == list(TURN_ROLES)
        ids[n] = done["ids"]
    if kills > 50:
        assert again, "no kill came after a commit"
    near = daemon.call("related", id=ids[captures - 1]["input"])["results"]
    assert {(m["id"], m["relation"], m["direction"]) for m in near} >= {
        (ids[captures - 1]["contemplation"], "triggered", "out"),
        (ids[captures - 1]["output"], "responded_to", "in"),
    }
    assert daemon.stop() == 0
    with closing(sqlite3.connect(daemon.state / "records.sqlite")) as records:
        edges = records.execute(
            "SELECT r.origin, n.name, r.target FROM relations r JOIN names n ON n.id = r.relation"
        ).fetchall()
    assert sorted(edges) == sorted(
        (one[origin], name, one[target])
        for one in ids.values()
        for name, origin, target in RELATIONS
    )
