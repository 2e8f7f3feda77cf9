"""One hostile user against one honest one: each attack of tests/benchmarks/hostile_client.py.

A new attack is a function there.  The honest client's waits are compared with those it has alone,
because other work may share the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.benchmarks.hostile_client import (
    ATTACKS,
    HOSTILE,
    OUTSIDER,
    SLACK,
    WATCHDOG_SECONDS,
    Arena,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it takes two other users"),
]

SECONDS = 3.0
"""Length of an attack [seconds]."""
WAIT = 0.05
"""Time in which 95 of 100 requests of the honest client are answered [seconds]."""
SLOWER = 10
"""Factor of its waits alone that is as good: the machine may be busy."""
GROWTH = 100 << 20
"""What the daemon may hold more during an attack [bytes]."""


def check(arena: Arena, name: str, uid: int) -> None:
    """Once more, beside fresh figures of the quiet, where other work may have been in the way."""
    figures = arena.run(name, SECONDS, uid)
    if figures.busy > max(WAIT, SLOWER * figures.quiet):
        print(figures)
        arena.measure_quiet()
        figures = arena.run(name, SECONDS, uid)
    print(figures)
    assert figures.asked and not figures.failed
    assert figures.busy <= max(WAIT, SLOWER * figures.quiet)
    assert figures.silence < WATCHDOG_SECONDS
    assert figures.most - figures.rest <= GROWTH
    assert figures.after - figures.rest <= SLACK + (20 << 20), "and it is given back"


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    made = Arena()
    yield made
    made.close()


@pytest.fixture(scope="module")
def open_arena() -> Iterator[Arena]:
    """Where everyone may read."""
    made = Arena(read_group="")
    yield made
    made.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_honest_client_is_served_beside_a_hostile_member(arena: Arena, name: str) -> None:
    check(arena, name, HOSTILE)


@pytest.mark.parametrize("name", ["half_open", "nested_lists", "capital_words", "unread_replies"])
def test_and_beside_an_outsider_where_everyone_may_read(open_arena: Arena, name: str) -> None:
    check(open_arena, name, OUTSIDER)


def test_the_daemon_ends_in_time_after_all_that(arena: Arena) -> None:
    assert arena.daemon.stop() == 0
