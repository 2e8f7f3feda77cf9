"""The same for asyncio: each call runs in a thread of its own, so none holds the loop up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, Unpack, cast

from nimad.client.client import Client
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

CALLS = 8
"""Number of calls under way at once; more wait for their turn.  The daemon answers 16 of a user."""

Given = ParamSpec("Given")
Got = TypeVar("Got")


class AsyncClient:
    """Asks nimad from a coroutine; its methods are those of `Client`.

    A call that is cancelled is not waited for, and may still be done.  Use it in `async with`.
    """

    def __init__(self, socket: str | None = None, *, timeout: float | None = None) -> None:
        """As `Client`."""
        self._client = Client(socket, timeout=timeout)
        self._threads = ThreadPoolExecutor(CALLS, "nimad-client")

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for the calls under way, and close the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    async def _run(
        self, method: Callable[Given, Got], *given: Given.args, **named: Given.kwargs
    ) -> Got:
        work = partial(method, *given, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def call(self, verb: str, **params: Any) -> dict[str, Any]:
        """Any verb of docs/protocol.md; see `Client.call`."""
        return await self._run(self._client.call, verb, **params)

    # --- memories -----------------------------------------------------------------------------

    async def remember(self, text: str, **fields: Unpack[Fields]) -> int:
        """Store a memory; its id."""
        return await self._run(self._client.remember, text, **fields)

    async def capture(self, *turns: Turn) -> list[StoredTurn]:
        """Store turns of a conversation, each whole and never twice."""
        return await self._run(self._client.capture, *turns)

    async def query(self, text: str, **asked: Unpack[Asked]) -> Answer:
        """The memories that answer a text, best first; none when nothing fits."""
        return await self._run(self._client.query, text, **asked)

    async def get(self, memory_id: int) -> Memory:
        """One memory."""
        return await self._run(self._client.get, memory_id)

    async def similar(self, memory_id: int, k: int | None = None) -> list[Result]:
        """The memories nearest in meaning to one, itself left out."""
        return await self._run(self._client.similar, memory_id, k)

    async def related(
        self, memory_id: int, depth: int | None = None, limit: int | None = None
    ) -> list[Related]:
        """What relations and turns connect with a memory, nearest first."""
        return await self._run(self._client.related, memory_id, depth, limit)

    async def forget(
        self, ids: Sequence[int], *, purge: bool = False, dry_run: bool = False
    ) -> Receipt:
        """Delete memories; with `purge` no trace of them is left on the disk."""
        return await self._run(self._client.forget, ids, purge=purge, dry_run=dry_run)

    async def export(self, namespace: str | None = None) -> AsyncIterator[Memory]:
        """Every memory, by id, a page at a time."""
        after: int | None = 0
        while after is not None:
            page = await self.call("export", after=after, namespace=namespace)
            for memory in cast(list[Memory], page["memories"]):
                yield memory
            after = page["next"]

    async def status(self) -> dict[str, Any]:
        """Counts, sizes, and how each part is."""
        return await self._run(self._client.status)

    # --- documents ----------------------------------------------------------------------------

    async def put(self, *documents: NewDocument) -> None:
        """Store documents in place of those with their keys; one whose value is None goes."""
        await self._run(self._client.put, *documents)

    async def find(self, **sought: Unpack[Sought]) -> list[Document]:
        """Documents by their keys, or of a tree of namespaces: as many as `limit` says."""
        return await self._run(self._client.find, **sought)

    async def namespaces(self, tree: str | None = None) -> list[str]:
        """The namespaces that have documents, by name."""
        return await self._run(self._client.namespaces, tree)
