"""What a user may take: costs counted beforehand, connections, requests, bytes."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import pytest

from nimad.errors import ParseError
from nimad.limits import MAX_FRAME, MAX_NODES, count_nodes
from nimad.serve import accounts, protocol
from nimad.serve.accounts import ALL_BYTES, USER_BYTES, USER_REQUESTS, Account, Accounts, cost_of

ROOT, MEMBER, OTHER = 0, 1001, 1002

PARTS = {
    "lists": "[]",
    "nested": "[" * 60 + "]" * 60,
    "objects": "{}",
    "pairs": '{"a":1}',
    "letters": '"ä"',
    "words": '"abcdefgh"',
    "numbers": "1e5",
    "whole": "123456789",
}


def frame_of(part: str, size: int) -> bytes:
    parts = ",".join([part] * (size // (len(part.encode()) + 1)))
    return f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":[{parts}]}}}}'.encode()


def most_of(part: str) -> bytes:
    """A frame of as many parts as it may hold."""
    each = count_nodes(f"{part},".encode())
    return frame_of(part, (MAX_NODES - 10) // each * (len(part.encode()) + 1))


FRAMES = {
    **{name: most_of(part) for name, part in PARTS.items()},
    "keys": b'{"a":{' + b",".join(b'"k%d":1' % n for n in range(19_000)) + b"}}",
    "text": b'{"a":"' + b"x" * (MAX_FRAME - 10) + b'"}',
    "wide": b'{"a":"' + "x😀".encode() * (MAX_FRAME // 5 - 10) + b'"}',
    "one wide letter": b'{"a":"' + b"x" * (MAX_FRAME - 20) + "😀".encode() + b'"}',
    "one escaped letter": b'{"a":"' + b"x" * (MAX_FRAME - 20) + rb"\ud83d\ude00" + b'"}',
    "escapes": b'{"a":"' + rb"\ud83d\ude00" * (MAX_FRAME // 12 - 10) + b'"}',
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_parsed_frame_takes_no_more_than_was_counted(name: str) -> None:
    frame = FRAMES[name]
    tracemalloc.start()
    try:
        message = protocol.decode(frame)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert message
    assert taken + len(frame) <= cost_of(frame) - MAX_FRAME + 4096


@pytest.mark.parametrize("name", PARTS)
def test_more_values_than_allowed_are_not_even_parsed(name: str) -> None:
    frame = frame_of(PARTS[name], MAX_FRAME - 100)
    with pytest.raises(ParseError, match=f"{MAX_NODES} values"):
        protocol.decode(frame)


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("a, [b] {c}, " * 40_000, 1),
        ('\\", [' * 60_000, 1),
        ("\\\\" * 100_000, 1),
        ("x,", 2),
    ],
)
def test_what_stands_in_a_text_is_no_value(text: str, nodes: int) -> None:
    frame = b'{"a":"' + text.encode() + b'"}'
    assert count_nodes(frame) == nodes and protocol.decode(frame)


class Connection:
    """What an account needs of one."""

    def __init__(self, account: Account, active: float = 0.0, *, idle: bool = True) -> None:
        self.account, self.active, self.idle = account, active, idle
        self.stuck_since = math.inf
        self.ended: bool | None = None
        account.connections.add(self)

    def wake(self) -> None:
        self.account.waiting.remove(self)

    def stop(self, *, at_once: bool = False) -> None:
        self.ended = at_once


@pytest.fixture
def made() -> Accounts:
    return Accounts(frozenset({ROOT}), most=8, most_of_one=4)


def test_a_user_has_so_many_connections_and_the_longest_idle_one_goes(made: Accounts) -> None:
    member = made.of(MEMBER)
    open_ = []
    for number in range(4):
        assert made.make_room(member)
        open_.append(Connection(member, active=number))
    open_[0].idle = False
    assert made.make_room(member) and open_[1].ended is False
    for connection in open_:
        connection.idle = False
    Connection(member, idle=False)
    assert not made.make_room(member), "none is idle"
    assert made.make_room(made.of(OTHER)), "others are not concerned"


def test_where_all_are_taken_one_of_the_greediest_goes(made: Accounts) -> None:
    first, second = made.of(MEMBER), made.of(OTHER)
    for account, count in ((first, 4), (second, 3)):
        for number in range(count):
            Connection(account, active=number, idle=False)
    Connection(made.of(ROOT))
    assert not made.make_room(second), "none of the greediest is idle"
    assert made.make_room(made.of(ROOT)), "root is let in all the same"
    assert [c.ended for c in [*first.connections, *second.connections]].count(True) == 0
    assert len(first.connections) == 3


def test_a_flood_of_connections_is_turned_away(made: Accounts) -> None:
    member, root = made.of(MEMBER), made.of(ROOT)
    taken = sum(made.make_room(member) for _ in range(1000))
    assert accounts.MOST_ARRIVALS <= taken < accounts.MOST_ARRIVALS + 50
    assert all(made.make_room(root) for _ in range(1000))
    assert sum(made.must_tell(member) for _ in range(1000)) < 50


def test_requests_and_bytes_have_an_end_for_one_user_and_for_all(made: Accounts) -> None:
    member, other, third, root = (made.of(uid) for uid in (MEMBER, OTHER, 1003, ROOT))
    for _ in range(USER_REQUESTS):
        assert made.has_room(member)
        made.add(member, 10)
    assert not made.has_room(member) and made.has_room(other)
    for account in (other, third, made.of(1004)):
        made.add(account, USER_BYTES)
    assert not made.has_room(other)
    fifth = made.of(1005)
    assert ALL_BYTES == 3 * USER_BYTES and made.has_room(fifth), "one request always may begin"
    made.add(fifth, 10)
    assert not made.has_room(fifth)
    made.add(root, 10)
    assert made.has_room(root)


def test_the_one_that_waited_longest_goes_on_first(made: Accounts) -> None:
    member = made.of(MEMBER)
    waiting: list[Any] = [Connection(member), Connection(member)]
    for _ in range(USER_REQUESTS):
        made.add(member, 10)
    member.waiting.extend(waiting)
    made.remove(member, 10)
    assert list(member.waiting) == waiting[1:]


def test_a_reply_that_is_not_taken_is_in_nobody_elses_way_and_has_an_end(made: Accounts) -> None:
    member = made.of(MEMBER)
    first, second = Connection(member), Connection(member)
    for _ in range(USER_REQUESTS):
        made.add(member, USER_BYTES // USER_REQUESTS)
    assert not made.has_room(member)
    first.stuck_since, second.stuck_since = 2.0, 1.0
    for _ in range(USER_REQUESTS):
        made.set_aside(member, USER_BYTES // USER_REQUESTS)
    assert made.has_room(member) and member.requests == member.held == 0
    assert first.ended is second.ended is None
    made.add(member, 10)
    made.set_aside(member, 10)
    assert second.ended is True and first.ended is None, "the one that has waited longest goes"
    for size in [USER_BYTES // USER_REQUESTS] * USER_REQUESTS + [10]:
        made.remove_aside(member, size)
    assert member.stuck == 0
