"""One round between a daemon and its hub: give what is new here, take what is new there.

Nothing of it is kept here.  How far the board's own rows came is kept on the hub, in the
transaction that stores them; how far the streams of others were read is kept by the daemon, in the
transaction that takes them.  So a round may end anywhere, and the next one goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nimad.client.connection import Connection
from nimad.errors import FrameTooLarge
from nimad.hub.schema import KINDS
from nimad.hub.session import Hub

PUSH, PULL = ("both", "push"), ("both", "pull")
BATCH = 500
"""Number of rows of one transaction [rows]."""
SMALLER = (100, 10, 1)
"""Numbers of rows that are tried in turn when a batch is larger than a frame [rows]."""


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
        """Give all that is new, the vectors of memories last."""
        spaces = self.spaces(PUSH)
        now = self._hub.now() if spaces else 0
        signature = "{name} {revision}".format(**self.state["embedder"])
        place = (
            self._hub.vector_table(signature, self.state["embedder"]["dims"]) if spaces else None
        )
        for space in spaces:
            for kind in (*KINDS, *(["vectors"] if place else [])):
                self._push_kind(space, kind, now, place or "")

    def _push_kind(self, space: str, kind: str, now: int, place: str) -> None:
        writer, mark = self.state["store"], self.state["mark"]
        after, seen = self._looked.get((space, kind), (0, None))
        if seen == mark:  # nothing has changed here since
            return
        label = f"{kind} {place}" if kind == "vectors" else kind
        pushed = self._hub.pushed(space, writer).get(label, 0)
        after = max(after, pushed)
        while True:
            found = self._daemon.call(
                "fleet.changes", kind=kind, namespace=space, after=after, limit=BATCH, now=now
            )
            entries = found["entries"]
            if entries:
                if kind == "vectors":
                    self._hub.push_vectors(place, space, entries)
                    self._hub.push(space, writer, label, pushed, found["next"], [])
                elif not self._hub.push(space, writer, kind, pushed, found["next"], entries):
                    self._looked.pop((space, kind), None)
                    return  # another nimad-sync of this board was quicker
                self.sent += len(entries)
                pushed = found["next"]
                self._pace(self._hub.bytes)
            after = found["next"]
            if not found["more"]:
                break
        self._looked[space, kind] = (after, mark)

    # --- taking -----------------------------------------------------------------------------------

    def pull(self) -> None:
        """Take all that is new: memories of all boards first, then what refers to them."""
        spaces = self.spaces(PULL)
        own = set(self.state["stores"])
        heads = {at: n for at, n in self._hub.heads(spaces).items() if at[1] not in own}
        cursors: dict[tuple[str, str, str], int] = {
            (space, writer, kind): seq for space, writer, kind, seq in self.state["cursors"]
        }
        behind = False
        for kind in KINDS:
            for (space, writer), head in heads.items():
                after = cursors.get((space, writer, kind), 0)
                if after > head:  # the hub was restored from an older backup
                    after = 0
                if after < head:
                    behind = True
                    self._pull_kind(space, writer, kind, after, head)
        if behind:
            self.state = self._daemon.call("fleet.state")
        news = {at: n for at, n in heads.items() if self._acknowledged.get(at) != n}
        if news and not self.state["purging"]:
            self._hub.acknowledge(self.state["store"], news)
            self._acknowledged.update(news)

    def _pull_kind(self, space: str, writer: str, kind: str, after: int, head: int) -> None:
        while after < head:
            found = self._hub.pull(space, writer, kind, after, head, BATCH)
            upto = found[-1][0] if len(found) == BATCH else head
            self._apply(space, writer, kind, upto, found)
            self.received += len(found)
            self._pace(self._hub.bytes)
            after = upto

    def _apply(
        self, space: str, writer: str, kind: str, upto: int, found: list[tuple[int, dict[str, Any]]]
    ) -> None:
        """Hand rows to the daemon, in parts that fit in a frame."""
        for size in (BATCH, *SMALLER):
            try:
                for start in range(0, max(len(found), 1), size):
                    part = found[start : start + size]
                    last = start + size >= len(found)
                    self._apply_part(space, writer, kind, upto if last else part[-1][0], part)
                return
            except FrameTooLarge:
                continue

    def _apply_part(
        self, space: str, writer: str, kind: str, upto: int, part: list[tuple[int, dict[str, Any]]]
    ) -> None:
        stores = {str(row["key"][0]) for _, row in part}
        if not stores <= self._names.keys():
            self._names = self._hub.names()
        names = {store: self._names[store][:100] for store in stores & self._names.keys()}
        told = self._daemon.call(
            "fleet.apply",
            namespace=space,
            writer=writer,
            kind=kind,
            upto=upto,
            names=names,
            entries=[row for _, row in part],
        )
        for *_, reason in told["refused"]:
            if len(self.refused) < 20 or reason in self.refused:
                self.refused[reason] = self.refused.get(reason, 0) + 1

    # --- telling ----------------------------------------------------------------------------------

    def tell(self) -> None:
        """Tell the daemon how it went, for `nimactl status`."""
        spaces = list(self.state["namespaces"])
        heads = self._hub.heads(spaces)
        peers: dict[str, dict[str, Any]] = {}
        names = self._hub.names()
        for space, reader, writer, seq, ago in self._hub.acks(spaces):
            peer = peers.setdefault(reader, {"name": names.get(reader, ""), "behind": 0})
            peer["behind"] += max(heads.get((space, writer), 0) - seq, 0)
            peer["seconds"] = round(min(ago, peer.get("seconds", ago)), 1)
        told = {
            "state": "connected",
            "epoch": self._hub.epoch,
            "sent": self.sent,
            "received": self.received,
            "refused": self.refused,
            "peers": peers,
            "at": int(time.time()),
        }
        self._daemon.call("fleet.confirm", told=told)
