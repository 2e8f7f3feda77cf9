"""kill -9 while several clients remember, capture and forget: nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.client import Client
from tests.process import DaemonProcess
from tests.threads import PATIENCE, side_by_side

CLIENTS = 8


@pytest.mark.disk
@pytest.mark.parametrize("kills", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_what_is_acknowledged_in_a_common_commit_is_there(
    make_daemon: Callable[..., DaemonProcess], kills: int
) -> None:
    daemon = make_daemon(config="blocks:\n  flush_rows: 100\n").start()
    acknowledged: dict[int, str] = {}
    given: list[int] = []
    forgotten: set[int] = set()
    doubtful: set[int] = set()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        mine: list[int] = []
        with contextlib.suppress(OSError, AssertionError), Client(daemon.socket) as client:
            for step in range(10_000):
                text = f"client {seed} saw kettle {step}"
                if chance.random() < 0.2:
                    turn = {"session": f"s{seed}", "turn": f"t{step}", "input": text}
                    number = client.call("capture", turns=[turn])["turns"][0]["ids"]["input"]
                else:
                    number = client.call("remember", text=text)["id"]
                given.append(number)
                acknowledged[number] = text
                mine.append(number)
                if chance.random() < 0.1:
                    gone = mine.pop(chance.randrange(len(mine)))
                    doubtful.add(gone)
                    client.call("forget", ids=[gone])
                    forgotten.add(gone)

    for kill in range(kills):
        with side_by_side(partial(work, kill * CLIENTS + n) for n in range(CLIENTS)):
            enough, until = len(acknowledged) + 20, time.monotonic() + PATIENCE
            while len(acknowledged) < enough:
                assert time.monotonic() < until
                time.sleep(0.01)
            time.sleep(random.Random(kill).uniform(0.2, 0.8))
            daemon.kill()
        daemon.start()
        assert daemon.call("doctor")["problems"] == []
        if kill % 10 == 0 or kill == kills - 1:  # what was there before, too
            checked = 0
        with daemon.client() as client:
            found: dict[int, str] = {}
            while page := client.call("export", after=max(found, default=checked))["memories"]:
                found |= {memory["id"]: memory["text"] for memory in page}
        assert len(given) == len(set(given)), "an id was given twice"
        kept = {number for number in acknowledged.keys() - doubtful if number > checked}
        assert kept and {number: found.get(number) for number in kept} == {
            number: acknowledged[number] for number in kept
        }
        assert not forgotten & found.keys()
        checked = max(given)
