"""The plug is pulled in the middle of a migration, twice: it goes on, and all is there once."""

from __future__ import annotations

import time

from tests.system.machine.conftest import FEWER, Ask, wait_until_done
from tests.system.machine.emulated import Emulated


def cut_when(board: Emulated, ask: Ask, stage: str) -> dict[str, int]:
    """Pull the plug as soon as a stage has begun; how far the source said it was."""
    deadline = time.monotonic() + 600
    while True:
        (source,) = ask("migrate --status fewer")["sources"]
        if source[stage] > 0:
            break
        assert time.monotonic() < deadline, source
    board.cut_power()
    print(f"cut at {source['state']}: copied {source['copied']}, encoded {source['encoded']}")
    board.boot()
    return {name: source[name] for name in ("copied", "encoded")}


def test_two_power_cuts(board: Emulated, ask: Ask) -> None:
    before = ask("status")["memories"]
    ask("migrate /home/maya/fewer.sqlite --strategy full")
    for stage in ("copied", "encoded"):
        told = cut_when(board, ask, stage)
        (now,) = ask("migrate --status fewer")["sources"]
        assert now["copied"] >= told["copied"], "what was told is durable"
    source = wait_until_done(ask, "fewer", 900)
    assert source["state"] == "verified" and source["verified"] == FEWER, source
    assert ask("status")["memories"] == before + FEWER
    assert ask("doctor", timeout=900)["problems"] == []
