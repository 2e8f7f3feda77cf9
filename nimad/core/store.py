"""The MemoryStore: everything a state directory holds, behind one object."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nimad.config import Config
from nimad.core import forgetting, recovery, status, vectors
from nimad.core.courtesy import Courtesy
from nimad.core.lock import StateLock, prepare_state
from nimad.core.validate import check_memory
from nimad.embed.registry import get_embedder
from nimad.errors import Degraded, NimadError, NotFound
from nimad.graph.feed import ChangeFeed
from nimad.model import Filter, Hit, Memory, now_ms
from nimad.recall.ranking import Recall
from nimad.store.records import Records

log = logging.getLogger(__name__)

ACCESS_FLUSH_SECONDS = 900
"""Reading must not wear the card: access counts wait for a write that happens anyway."""

PATIENCE = 0.5
"""How long `related` waits for the graph to follow, when something else is under way [seconds]."""


@dataclass(slots=True)
class Answer:
    """What a query found: hits, best first, and the parts that could not help (name → reason)."""

    hits: list[Hit]
    took_ms: float
    degraded: list[str]


@dataclass(slots=True)
class RelatedMemory:
    """A memory reached through the graph."""

    memory: Memory
    relation: str
    direction: str
    weight: float | None
    distance: int


@dataclass(slots=True)
class _Accesses:
    """Reads since the last flush: id → (count, last time)."""

    counts: dict[int, tuple[int, int]] = field(default_factory=dict)
    flushed: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)


class MemoryStore:
    """Records, words, blocks and graph of one state directory; safe to use from many threads.

    `maintenance` is held by whoever seals, merges, rebuilds or purges: one at a time, while reads
    and `remember` go on.  `wake` is called after each change, `seen` with the
    ids that somebody was given (a worker hangs itself there).
    """

    def __init__(self, state: Path, config: Config, lock: StateLock) -> None:
        self.state = state
        self.config = config
        self._lock = lock
        self.maintenance = threading.RLock()
        self.wake: Callable[[], None] = lambda: None
        self.seen: Callable[[Sequence[int]], None] = lambda ids: None
        self.out_of_service: dict[str, str] = {}
        self.started = time.monotonic()
        self._accesses = _Accesses()
        self.courtesy = Courtesy()
        self.records = Records.open(state / "records.sqlite")
        self.wanted_embedder = get_embedder(config["embedder"], config)
        self.embedder, self.embedder_due = recovery.open_embedder(
            self.records, self.wanted_embedder, config
        )
        self.blocks = recovery.open_blocks(self)
        self.lost_vectors = [] if self.embedder_due else recovery.missing_vectors(self)
        self.graph = recovery.open_graph(self)
        self.recall = Recall(self.records, lambda: (self.blocks, self.embedder))

    @classmethod
    def open(cls, state: Path, config: Config) -> MemoryStore:
        """Take the directory (made when missing), recover what a crash left, warm up.

        Raises StateBusy when another process owns it, StateUnusable, StateTooNew, RecordsDamaged.
        """
        prepare_state(state)
        lock = StateLock(state)
        try:
            recovery.sweep(state)
            store = cls(state, config, lock)
        except BaseException:
            lock.release()
            raise
        store.recall.warm_up()
        return store

    def close(self) -> None:
        """Flush what is kept in RAM and give the directory free."""
        with self.maintenance:
            try:
                self._flush_accesses(force=True)
            except NimadError as error:  # a full disk must not keep the daemon from stopping
                log.warning("access counts were not saved: %s", error.message)
            if self.graph is not None:
                self.graph.close()
            self.recall.close()
            self.records.close()
            self._lock.release()

    # --- writing ------------------------------------------------------------------------------

    def remember(self, memory: Memory) -> int:
        """Store one memory; durable and findable when it returns. Raises UsageError, DiskFull."""
        return self.remember_many([memory])[0]

    def remember_many(self, memories: Sequence[Memory]) -> list[int]:
        """Store memories in one transaction: all of them, or (on an error) none; their ids."""
        now = now_ms()
        for memory in memories:
            check_memory(memory)
            memory.created = memory.created or now
            memory.timestamp = memory.timestamp or now
        if not memories:
            return []
        texts = [memory.text for memory in memories]
        embedder = self.embedder
        encoded = vectors.encode(embedder, texts)
        with self.records.exclusive():
            if self.embedder is not embedder:  # a rebuild swapped it meanwhile
                encoded = vectors.encode(self.embedder, texts)
            with self.records.write() as tx:
                ids = tx.add_memories(memories)
                tx.add_hot(vectors.to_hot(ids, encoded))
                self._flush_accesses_into(tx)
            self.blocks.append(np.array(ids, np.int64), encoded)
        self.wake()
        return ids

    def forget(
        self, ids: Sequence[int], *, purge: bool = False, dry_run: bool = False
    ) -> forgetting.Receipt:
        """Delete memories from every part; with `purge` no trace of them is left in the files."""
        return forgetting.forget(self, ids, purge=purge, dry_run=dry_run)

    # --- reading ------------------------------------------------------------------------------

    def get(self, memory_id: int) -> Memory:
        """The memory, with its blobs; raises NotFound."""
        found = self.records.get([memory_id])
        if memory_id not in found:
            raise NotFound(kind="memory", id=memory_id)
        self.seen([memory_id])
        return self.records.with_blobs([found[memory_id]])[0]

    def query(
        self,
        text: str,
        k: int = 10,
        mode: str = "hybrid",
        where: Filter | None = None,
        now: int | None = None,
    ) -> Answer:
        """The memories that answer a text, best first; see nimad.recall.ranking.

        Args:
            now: epoch milliseconds from which "yesterday" in the text counts; default: the clock.
        """
        began = time.perf_counter()
        with self.courtesy:
            hits = self.recall.query(text, k, mode, where or Filter(), now)
        self._accessed([hit.memory.id for hit in hits])
        took = (time.perf_counter() - began) * 1000
        return Answer(hits, took, sorted(self.degraded()))

    def similar(self, memory_id: int, k: int = 10) -> Answer:
        """The memories nearest in meaning to one, best first, itself left out; raises NotFound."""
        began = time.perf_counter()
        memory = self.get(memory_id)
        with self.courtesy:
            hits = self.recall.similar(memory, k)
        self._accessed([hit.memory.id for hit in hits])
        took = (time.perf_counter() - began) * 1000
        return Answer(hits, took, sorted(self.degraded()))

    def related(self, memory_id: int, depth: int = 1, limit: int = 50) -> list[RelatedMemory]:
        """What the graph connects with a memory, nearest first; what was just written included.

        While a rebuild or a merge runs, the answer is what the graph knew before it began.
        Raises NotFound, and Degraded when there is no graph.
        """
        self.get(memory_id)
        if self.graph is None:
            reason = self.out_of_service.get("graph", "graph.engine is none")
            raise Degraded(part="graph", detail=reason)
        if self.maintenance.acquire(timeout=PATIENCE):
            try:
                self.catch_up_graph()
            finally:
                self.maintenance.release()
        near = self.graph.related(memory_id, depth, limit)
        memories = self.records.get([neighbour.id for neighbour in near])
        return [
            RelatedMemory(memories[n.id], n.relation, n.direction, n.weight, n.distance)
            for n in near
            if n.id in memories
        ]

    def export(self, after: int, limit: int, namespace: str | None = None) -> list[Memory]:
        """Up to `limit` memories with ids above `after`, by id, blobs included."""
        return self.records.page(after, limit, namespace)

    def degraded(self) -> dict[str, str]:
        """The parts that are out of service: name → reason."""
        return dict(self.out_of_service)

    def status(self) -> dict[str, Any]:
        """The store's share of docs/protocol.md's status."""
        return status.status(self)

    # --- the graph ------------------------------------------------------------------------------

    def catch_up_graph(self, max_rows: int = 100_000, feed: ChangeFeed | None = None) -> bool:
        """Let the graph follow the records, read by way of `feed`; True when nothing is left."""
        feed = feed or self.records
        if self.graph is None:
            return True
        with self.maintenance:
            if "graph" in self.out_of_service:
                self.graph.rebuild(feed)
                del self.out_of_service["graph"]
                return True
            return self.graph.watermark >= self.records.head() or self.graph.catch_up(
                feed, max_rows
            )

    # --- access counts ----------------------------------------------------------------------------

    def _accessed(self, ids: Sequence[int]) -> None:
        self.seen(ids)
        now = now_ms()
        with self._accesses.lock:
            for number in ids:
                count = self._accesses.counts.get(number, (0, 0))[0]
                self._accesses.counts[number] = (count + 1, now)

    def _flush_accesses_into(self, tx: Any, force: bool = False) -> None:
        with self._accesses.lock:
            due = time.monotonic() - self._accesses.flushed > ACCESS_FLUSH_SECONDS
            if not self._accesses.counts or not (due or force):
                return
            tx.many(
                "UPDATE memories SET access_count = access_count + ?, last_accessed = ?"
                " WHERE id = ?",
                [(n, at, i) for i, (n, at) in self._accesses.counts.items()],
            )
            self._accesses.counts.clear()
            self._accesses.flushed = time.monotonic()

    def _flush_accesses(self, force: bool = False) -> None:
        if self._accesses.counts:
            with self.records.write() as tx:
                self._flush_accesses_into(tx, force)
