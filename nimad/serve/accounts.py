"""What each user has under way: one account per uid, for connections, requests and bytes.

A user who has more than its share waits, alone; everybody else goes on.  Bytes count what a request
becomes when it is parsed, and the largest reply it may have until that is known; both until the
reply is sent.  A user with nothing under way may always begin one request, whatever others hold.

A reply that a client does not take is set aside: it stands in the way of no other program of that
user, and of these there is a limit, too, at which the connection that waits longest ends.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import field
from typing import Protocol

from nimad.dataclass import dataclass
from nimad.limits import MAX_FRAME, MAX_NODES, count_separators

USER_REQUESTS = 16
"""Number of requests of one user under way [requests]."""
USER_BYTES = 16 << 20
"""Size of one user's requests and replies under way at which its next request waits [bytes]."""
ALL_BYTES = 48 << 20
"""The same of all users together; root and the daemon's own user do not wait for it [bytes]."""
REST_BYTES = 4 << 20
"""Size of requests and replies after which freed memory is given back to the system [bytes]."""
YOUNG_SECONDS = 1.0
"""Time for which a connection is not closed for another one of its user [seconds]."""
MOST_ARRIVALS = 100
"""Number of new connections of one user in a second; more are turned away [connections]."""
MOST_ACCOUNTS = 1000
"""Number of accounts from which on those without connections are forgotten [accounts]."""
TELL_SECONDS = 0.05
"""Time between two connections that are turned away with a reason [seconds]."""
NODE_BYTES = 100
"""What a value of a parsed frame takes beside its text: objects of Python, measured [bytes]."""


class Connection(Protocol):
    """What an account needs of one; `active` is when it last did something [seconds]."""

    account: Account
    active: float
    stuck_since: float
    """When the first of the replies that it does not take was set aside [seconds]; infinite while
    there is none."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        ...

    def wake(self) -> None:
        """Look again whether there is room."""
        ...

    def stop(self, *, at_once: bool = False) -> None:
        """End; `at_once` even if replies are under way."""
        ...


def cost_of(data: bytes) -> int:
    """What a frame may take until it is answered: its text, its values, its reply [bytes].  Text
    with other letters than ASCII takes up to four bytes a character in Python."""
    text = len(data) * (1 if data.isascii() and b"\\u" not in data else 4)
    nodes = min(count_separators(data), MAX_NODES)  # with more of them it is not even parsed
    return len(data) + text + NODE_BYTES * nodes + MAX_FRAME


@dataclass
class Account:
    """One user's: its open connections, and those that wait for room, longest first."""

    uid: int
    trusted: bool
    connections: set[Connection] = field(default_factory=set)
    waiting: deque[Connection] = field(default_factory=deque)
    requests: int = 0
    held: int = 0
    stuck: int = 0
    """Size of the replies that were set aside [bytes]; not in `held`."""
    told: float = 0.0
    """When the user was last told why a connection was turned away [seconds]."""
    arrivals: float = 0.0
    """Connections made, less those of a second times the seconds since [connections]."""
    seen: float = 0.0
    """When `arrivals` was counted [seconds]."""


class Accounts:
    """All accounts; lives on the event loop.  `trusted` are the uids of root and the owner, `most`
    the connections of all users together, `most_of_one` those of any other user."""

    def __init__(self, trusted: frozenset[int], most: int, most_of_one: int) -> None:
        self._trusted = trusted
        self._most = most
        self._most_of_one = most_of_one
        self._accounts: dict[int, Account] = {}
        self._held = self._most_held = 0
        self.rest: Callable[[], object] = lambda: None
        """Called when nothing is under way any more after `REST_BYTES` were."""

    def of(self, uid: int) -> Account:
        """The account of a user."""
        if uid not in self._accounts:
            if len(self._accounts) >= MOST_ACCOUNTS:
                kept = {u: each for u, each in self._accounts.items() if each.connections}
                self._accounts = kept
            self._accounts[uid] = Account(uid, uid in self._trusted)
        return self._accounts[uid]

    def make_room(self, account: Account) -> bool:
        """Whether the user may have one more connection; the longest idle one may go for it.

        That is one of the user's own when it has as many as it may, and where all are taken, one of
        the user who has most.  None goes in its first second, so that a flood of connections only
        costs turning them away.  For root and the owner one goes in any case.
        """
        now = time.monotonic()
        account.arrivals = max(0.0, account.arrivals - (now - account.seen) * MOST_ARRIVALS)
        account.seen = now
        if not account.trusted and account.arrivals > MOST_ARRIVALS:
            return False
        account.arrivals += 1
        if not account.trusted and len(account.connections) >= self._most_of_one:
            greediest = account
        elif sum(len(each.connections) for each in self._accounts.values()) < self._most:
            return True
        else:
            greediest = max(self._accounts.values(), key=lambda each: len(each.connections))
        old = now - YOUNG_SECONDS
        found = [each for each in greediest.connections if each.idle and each.active <= old]
        by_force = not found and account.trusted and greediest is not account
        if by_force:
            found = list(greediest.connections)
        if not found:
            return False
        oldest = min(found, key=lambda connection: connection.active)
        greediest.connections.discard(oldest)
        oldest.stop(at_once=by_force)
        return True

    def must_tell(self, account: Account) -> bool:
        """Whether to say why a connection is turned away: in a flood of them, one in a while is."""
        now = time.monotonic()
        due = now - account.told > TELL_SECONDS
        if due:
            account.told = now
        return due

    def leave(self, account: Account, connection: Connection) -> None:
        """A connection has ended."""
        account.connections.discard(connection)
        self.wake()

    def has_room(self, account: Account) -> bool:
        """Whether one more request of the user may begin."""
        if not account.requests:
            return True
        free = account.requests < USER_REQUESTS and account.held < USER_BYTES
        return free and (account.trusted or self._held < ALL_BYTES)

    def add(self, account: Account, size: int) -> None:
        """A request begins that may take `size` bytes."""
        account.requests += 1
        self.resize(account, size)

    def resize(self, account: Account, difference: int) -> None:
        """It takes more than was counted, or less."""
        account.held += difference
        self._held += difference
        self._most_held = max(self._most_held, self._held)

    def set_aside(self, account: Account, size: int) -> None:
        """A reply is not taken: it counts for itself from now on, not with the user's others."""
        account.requests -= 1
        account.held -= size
        account.stuck += size
        if account.stuck > USER_BYTES:
            min(account.connections, key=lambda each: each.stuck_since).stop(at_once=True)
        self.wake()

    def remove_aside(self, account: Account, size: int) -> None:
        """A reply that was set aside is sent or lost."""
        account.stuck -= size
        self._release(size)

    def remove(self, account: Account, size: int) -> None:
        """A request is answered, and its reply is sent or lost."""
        account.requests -= 1
        account.held -= size
        self._release(size)

    def _release(self, size: int) -> None:
        self._held -= size
        self.wake()
        if not self._held and self._most_held > REST_BYTES:
            self._most_held = 0
            self.rest()

    def wake(self) -> None:
        """Let the connection that has waited longest go on, for each user who has room again."""
        for account in self._accounts.values():
            if account.waiting and self.has_room(account):
                account.waiting[0].wake()
