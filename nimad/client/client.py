"""The daemon's verbs as methods, for threads: a connection for each call under way."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Unpack, cast

from nimad.client.connection import Connection
from nimad.client.types import (
    Answer,
    Asked,
    Document,
    Fields,
    Memory,
    NewDocument,
    Receipt,
    Related,
    Result,
    Sought,
    StoredTurn,
    Turn,
)
from nimad.closing import Closing
from nimad.errors import DaemonAbsent
from nimad.limits import MAX_KEYS, MAX_RESULTS

REPEATABLE = frozenset(
    {
        *("ping", "status", "query", "get", "similar", "related", "export", "capture"),
        *("documents.put", "documents.find", "documents.namespaces"),
    }
)
"""Verbs that may be sent twice: when the connection breaks, nobody knows whether one was done."""


class Client(Closing):
    """Asks nimad; safe to use from many threads.

    Connections are made when they are needed, kept, and made anew when the daemon was restarted.
    Every method raises what `call` raises.  Use it in `with`, or `close` it.
    """

    def __init__(self, socket: str | None = None, *, timeout: float | None = None) -> None:
        """`socket` is where nimad listens; None: $NIMAD_SOCKET, else where nimactl looks.

        `timeout` bounds each call [seconds]; None: 60, and no bound for what takes long.
        """
        self._given, self._timeout = socket, timeout
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that no call uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def call(self, verb: str, **params: Any) -> dict[str, Any]:
        """Any verb of docs/protocol.md; parameters that are None are left out.

        Raises NimadError: RemoteError for what the daemon refused (its `code` tells what), and
        DaemonAbsent, NotPermitted, OwnerOnly, NoAnswer, FrameTooLarge, UsageError for what did not
        get there.  Each has a `message` and a `next_step`.
        """
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or Connection(self._given, self._timeout)
        try:
            return connection.call(verb, **params)
        except DaemonAbsent:
            if verb not in REPEATABLE:
                raise
            return connection.call(verb, **params)  # it may have been restarted just then
        finally:
            with self._lock:
                self._idle.append(connection)

    # --- memories -----------------------------------------------------------------------------

    def remember(self, text: str, **fields: Unpack[Fields]) -> int:
        """Store a memory; its id.  It is durable when this returns."""
        return int(self.call("remember", text=text, **fields)["id"])

    def capture(self, *turns: Turn) -> list[StoredTurn]:
        """Store turns of a conversation, each whole and never twice."""
        return cast(list[StoredTurn], self.call("capture", turns=list(turns))["turns"])

    def query(self, text: str, **asked: Unpack[Asked]) -> Answer:
        """The memories that answer a text, best first; none when nothing fits."""
        return cast(Answer, self.call("query", text=text, **asked))

    def get(self, memory_id: int) -> Memory:
        """One memory; RemoteError with the code not_found where there is none."""
        return cast(Memory, self.call("get", id=memory_id)["memory"])

    def similar(self, memory_id: int, k: int | None = None) -> list[Result]:
        """The memories nearest in meaning to one, itself left out."""
        return cast(list[Result], self.call("similar", id=memory_id, k=k)["results"])

    def related(
        self, memory_id: int, depth: int | None = None, limit: int | None = None
    ) -> list[Related]:
        """What relations and turns connect with a memory, nearest first."""
        found = self.call("related", id=memory_id, depth=depth, limit=limit)
        return cast(list[Related], found["results"])

    def forget(self, ids: Sequence[int], *, purge: bool = False, dry_run: bool = False) -> Receipt:
        """Delete memories; with `purge` no trace of them is left on the disk."""
        done = self.call("forget", ids=list(ids), purge=purge, dry_run=dry_run)
        return cast(Receipt, done)

    def export(self, namespace: str | None = None) -> Iterator[Memory]:
        """Every memory, by id, a page at a time."""
        after: int | None = 0
        while after is not None:
            page = self.call("export", after=after, namespace=namespace)
            yield from cast(list[Memory], page["memories"])
            after = page["next"]

    def status(self) -> dict[str, Any]:
        """Counts, sizes, and how each part is."""
        return self.call("status")

    # --- documents ----------------------------------------------------------------------------

    def put(self, *documents: NewDocument) -> None:
        """Store documents in place of those with their keys; one whose value is None goes."""
        self.call("documents.put", documents=list(documents))

    def find(self, **sought: Unpack[Sought]) -> list[Document]:
        """Documents by their keys, or of a tree of namespaces: as many as `limit` says."""
        found: list[Document] = []
        if (keys := sought.get("keys")) is not None:
            while keys:
                asked = list(keys[:MAX_KEYS])
                space = sought.get("namespace")
                reply = self.call("documents.find", namespace=space, keys=asked)
                page = cast(list[Document], reply["documents"])
                found += page
                done = 1 + asked.index(page[-1]["key"]) if reply["more"] else len(asked)
                keys = keys[done:]
            return found
        limit, offset = sought.get("limit", 10), sought.get("offset", 0)
        while limit > len(found):  # a frame may hold fewer
            part = {"limit": min(limit - len(found), MAX_RESULTS), "offset": offset + len(found)}
            reply = self.call("documents.find", **{**sought, **part})
            found += cast(list[Document], reply["documents"])
            if not reply["more"] and len(reply["documents"]) < part["limit"]:
                break
        return found

    def namespaces(self, tree: str | None = None) -> list[str]:
        """The namespaces that have documents, by name."""
        found: list[str] = []
        while page := self.call("documents.namespaces", tree=tree, offset=len(found))["namespaces"]:
            found += page
        return found
