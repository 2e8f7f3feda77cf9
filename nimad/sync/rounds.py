"""One round between a daemon and its hub: give what is new here, take what is new there.

Nothing of it is kept here.  How far the board's own rows came is kept on the hub, in the
transaction that stores them; how far the streams of others were read is kept by the daemon, in the
transaction that takes them.  So a round may end anywhere, and the next one goes on from there.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from nimad.client.connection import Connection
from nimad.errors import FrameTooLarge, HubUnusable, ParseError, RemoteError, UsageError
from nimad.hub.schema import KINDS
from nimad.hub.session import Hub

PUSH, PULL = ("both", "push"), ("both", "pull")
BATCH = 500
"""Number of rows of one transaction [rows]."""
MOST_REASONS = 20
"""Number of reasons that are told why rows were refused [reasons]."""

Row = tuple[int, str]
"""A number in a stream, and JSON."""


class Rounds:
    """Moves rows between a daemon and a hub.

    Attributes:
        state: what `fleet.state` told in this round.
        sent, received: rows that were moved since the start.
    """

    def __init__(
        self,
        daemon: Connection,
        hub: Hub,
        name: str,
        pace: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._daemon, self._hub, self._name, self._pace = daemon, hub, name, pace
        self._looked: dict[tuple[str, str], tuple[int, int | None]] = {}
        self._acknowledged: dict[tuple[str, str], int] = {}
        self._names: dict[str, str] = {}
        self.state: dict[str, Any] = {}
        self.sent = self.received = 0
        self.refused: dict[str, int] = {}

    def begin(self) -> None:
        """Learn who this board is and what it shares, and register it."""
        self._daemon.call("fleet.confirm", epoch=self._hub.epoch)
        known, self.state = self.state, self._daemon.call("fleet.state")
        if known.get("stores") != self.state["stores"]:
            self._hub.join(self.state["stores"], self._name)

    def is_due(self) -> bool:
        """Whether the daemon has changed since the last round, or was configured anew."""
        state = self._daemon.call("fleet.state")
        return any(state[name] != self.state[name] for name in ("mark", "namespaces", "stores"))

    def spaces(self, directions: tuple[str, str]) -> list[str]:
        """Namespaces that are shared so, here and by the hub's rules."""
        rights, place = self._hub.rights(), int(directions is PUSH)
        return [
            space
            for space, direction in self.state["namespaces"].items()
            if direction in directions and rights.get(space, (False, False))[place]
        ]

    # --- giving -----------------------------------------------------------------------------------

    def push(self) -> None:
        """Give all that is new but vectors."""
        spaces = self.spaces(PUSH)
        now = self._hub.now() if spaces else 0
        with self.each() as attempt:
            for space in spaces:
                with attempt():
                    for kind in KINDS:
                        self._push_kind(space, kind, now)

    def push_vectors(self, seconds: float) -> bool:
        """Give vectors of memories that are on the hub, for some time: its index takes longer than
        all the rest.  Whether there are more."""
        spaces, until = self.spaces(PUSH), time.monotonic() + seconds
        embedder = self.state["embedder"]
        signature = f"{embedder['name']} {embedder['revision']}"
        place = self._hub.vector_table(signature, embedder["dims"]) if spaces else None
        if place is None:
            return False
        left = False
        with self.each() as attempt:
            for space in spaces:
                with attempt():
                    left |= self._push_kind(space, "vectors", 0, place, until)
        return left

    @contextmanager
    def each(self) -> Iterator[Callable[[], AbstractContextManager[None]]]:
        """Tries things one by one: what the hub refuses for one namespace, whose server is away,
        does not keep the others from going on; it is raised in the end."""
        failed: list[HubUnusable] = []

        @contextmanager
        def attempt() -> Iterator[None]:
            try:
                yield
            except HubUnusable as error:
                if self._hub.closed:
                    raise
                failed.append(error)

        yield attempt
        for error in failed:
            raise error

    def _push_kind(
        self, space: str, kind: str, now: int, place: str = "", until: float = math.inf
    ) -> bool:
        """Give what is new of one kind; True where something was left, because of the time."""
        writer, mark = self.state["store"], self.state["mark"]
        after, seen = self._looked.get((space, kind), (0, None))
        if seen == mark:  # nothing has changed here since
            return False
        label = f"{kind} {place}" if place else kind
        pushed = self._hub.pushed(space, writer).get(label, 0)
        after = max(after, pushed)
        while time.monotonic() < until:
            found = self._daemon.call(
                "fleet.changes",
                kind=kind,
                namespace=space,
                after=after,
                limit=BATCH,
                below=self._looked.get((space, "memories"), (0, None))[0],
                now=now,
            )
            entries = found["entries"]
            if entries:
                if place:
                    self._hub.push_vectors(place, space, entries)
                rows = [] if place else entries
                if not self._hub.push(space, writer, label, pushed, found["next"], rows):
                    self._looked.pop((space, kind), None)
                    return True  # another nimad-sync of this board was quicker
                self.sent += len(rows)
                pushed = found["next"]
                self._pace(self._hub.bytes)
            after = found["next"]
            if not found["more"]:
                self._looked[space, kind] = (after, mark)
                return False
        return True

    # --- taking -----------------------------------------------------------------------------------

    def pull(self) -> None:
        """Take all that is new: memories of all boards first, then what refers to them."""
        spaces = self.spaces(PULL)
        own = set(self.state["stores"])
        heads = {at: n for at, n in self._hub.heads(spaces).items() if at[1] not in own}
        cursors: dict[tuple[str, str, str], int] = {
            (space, writer, kind): seq for space, writer, kind, seq in self.state["cursors"]
        }
        news = {at: n for at, n in heads.items() if self._acknowledged.get(at) != n}
        with self.each() as attempt:
            for space in spaces:
                with attempt():
                    mine = {writer: n for (name, writer), n in heads.items() if name == space}
                    if self._pull_space(space, mine, cursors):
                        self.state = self._daemon.call("fleet.state")
                    read = {at: n for at, n in news.items() if at[0] == space}
                    if read and not self.state["purging"]:
                        self._hub.acknowledge(self.state["store"], read)
                        self._acknowledged.update(read)

    def _pull_space(
        self, space: str, heads: dict[str, int], cursors: dict[tuple[str, str, str], int]
    ) -> bool:
        """Take a namespace up to the heads of its streams; whether there was anything new."""
        behind = False
        for kind in KINDS:
            for writer, head in heads.items():
                after = cursors.get((space, writer, kind), 0)
                if after > head:  # the hub was restored from an older backup
                    after = 0
                while after < head:
                    behind = True
                    found = self._hub.pull(space, writer, kind, after, head, BATCH)
                    after = found[-1][0] if len(found) == BATCH else head
                    self._apply(space, writer, kind, after, found)
                    self.received += len(found)
                    self._pace(self._hub.bytes)
        return behind

    def _apply(self, space: str, writer: str, kind: str, upto: int, found: list[Row]) -> None:
        """Hand rows to the daemon: in halves what no frame can hold, because it is too large or no
        Unicode; such a row is left out."""
        waiting = [(found, upto)]
        while waiting:
            part, until = waiting.pop()
            try:
                self._apply_part(space, writer, kind, until, part)
            except (FrameTooLarge, UsageError, RemoteError) as error:
                if not part or (isinstance(error, RemoteError) and error.code != ParseError.code):
                    raise
                half = len(part) // 2
                if half:
                    waiting += [(part[half:], until), (part[:half], part[half - 1][0])]
                else:
                    self._refuse("no frame can hold it")
                    waiting.append(([], until))

    def _apply_part(self, space: str, writer: str, kind: str, upto: int, part: list[Row]) -> None:
        entries = []
        for _, body in part:
            try:
                entries.append(json.loads(body))
            except (ValueError, RecursionError):
                self._refuse("it is no JSON")
        stores = {each["key"][0] for each in entries if has_key(each)}
        if not stores <= self._names.keys():
            self._names = self._hub.names()
        names = {store: self._names[store][:100] for store in stores & self._names.keys()}
        told = self._daemon.call(
            "fleet.apply",
            namespace=space,
            writer=writer,
            kind=kind,
            upto=upto,
            names={store: name for store, name in names.items() if name.strip()},
            entries=entries,
        )
        for *_, reason in told["refused"]:
            self._refuse(reason)

    def _refuse(self, reason: str) -> None:
        if len(self.refused) < MOST_REASONS or reason in self.refused:
            self.refused[reason] = self.refused.get(reason, 0) + 1

    # --- telling ----------------------------------------------------------------------------------

    def tell(self) -> None:
        """Tell the daemon how it went, for `nimactl status`."""
        spaces, own = list(self.state["namespaces"]), self.state["store"]
        heads, names = self._hub.heads(spaces), self._hub.names()
        read: dict[str, dict[tuple[str, str], int]] = {}
        peers: dict[str, dict[str, Any]] = {}
        for space, reader, writer, seq, ago in self._hub.acks(spaces):
            name = f"{names.get(reader, 'board')}@{reader[:8]}"
            peer = peers.setdefault(name, {"behind": 0, "seconds": ago})
            peer["behind"] += max(heads.get((space, writer), 0) - seq, 0)
            peer["seconds"] = round(min(ago, peer["seconds"]), 1)
            if reader not in self.state["stores"]:
                read.setdefault(space, {})[name, writer] = seq
        purges: list[dict[str, Any]] = []  # of this board's: which others have purged it, too
        for space in spaces:
            readers = {name for name, _ in read.get(space, {})}
            seen = {name: read[space].get((name, own), 0) for name in readers}
            least = min(seen.values(), default=2**62)
            for seq, store, number in self._hub.purges(space, own, least):
                each = {"key": [store, number], "namespace": space}
                each["done"] = sorted(name for name in readers if seen[name] >= seq)
                each["pending"] = sorted(name for name in readers if seen[name] < seq)
                purges.append(each)
        told = {
            "state": "connected",
            "epoch": self._hub.epoch,
            "sent": self.sent,
            "received": self.received,
            "refused": self.refused,
            "peers": peers,
            "purges": purges,
            "at": int(time.time()),
        }
        self._daemon.call("fleet.confirm", told=told)


def has_key(entry: Any) -> bool:
    """Whether what a hub says has a global key, as far as the name of its board needs it."""
    key = entry.get("key") if isinstance(entry, dict) else None
    return isinstance(key, list) and bool(key) and isinstance(key[0], str)
