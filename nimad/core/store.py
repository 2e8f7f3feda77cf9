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
from nimad.core import recovery, segments, status
from nimad.core.accesses import Accesses
from nimad.core.health import Health
from nimad.core.hypervectors import Hypervectors
from nimad.core.lock import StateLock, prepare_state
from nimad.core.purge import Receipt, forget
from nimad.core.query_priority import QueryPriority
from nimad.core.reencoding import Reencoding
from nimad.core.validate import check_memory
from nimad.embed.base import Embedder, signature
from nimad.embed.registry import get_embedder
from nimad.errors import NimadError, NotFound
from nimad.graph.feed import ChangeFeed
from nimad.index.blocks import BlockIndex
from nimad.model import Filter, Hit, Memory, now_ms
from nimad.recall.query_context import Stopwatch
from nimad.recall.ranking import Recall
from nimad.store.bounded import get_within
from nimad.store.records import Records
from nimad.store.relations import neighbours

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Answer:
    """What a query found: hits, best first, the parts that could not help (name → reason), and what
    each step took (name → milliseconds)."""

    hits: list[Hit]
    took_ms: float
    degraded: list[str]
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class RelatedMemory:
    """A memory reached from another one: see nimad.store.relations.Neighbour."""

    memory: Memory
    relation: str
    direction: str
    weight: float | None
    distance: int


class MemoryStore:
    """Records, words, blocks and graph of one state directory; safe to use from many threads.

    `maintenance` is held by whoever seals, merges, rebuilds or purges: one at a time, while reads
    and `remember` go on.  The background worker registers two
    callbacks: `on_change` is called after each change, `on_returned` with the ids of memories that
    a caller was given.
    """

    def __init__(self, state: Path, config: Config, lock: StateLock) -> None:
        self.state = state
        self.config = config
        self._lock = lock
        self.maintenance = threading.RLock()
        self.on_change: Callable[[], None] = lambda: None
        self.on_returned: Callable[[Sequence[int]], None] = lambda ids: None
        self.health = Health(lambda: self.on_change())
        self.started = time.monotonic()
        self._accesses = Accesses()
        self.query_priority = QueryPriority()
        self.records = Records.open(state / "records.sqlite")
        self.wanted_embedder = recovery.wanted_embedder(self)
        embedder, self.embedder_due = recovery.open_embedder(
            self.records, self.wanted_embedder, config
        )
        self._serving = (recovery.open_blocks(self, embedder), embedder)
        self.reencoding: Reencoding | None = None
        self.lost_vectors = [] if self.embedder_due else recovery.missing_vectors(self)
        self.dense = Hypervectors(self)
        self.graph = recovery.open_graph(self)
        if self.graph is not None:
            self.graph.woken = lambda: self.on_change()
        self.recall = Recall(self.records, lambda: self._serving, file=state / "columns.nrc")

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
                self._accesses.save(self.records)
            except NimadError as error:  # a full disk must not keep the daemon from stopping
                log.warning("access counts were not saved: %s", error.message)
            if self.graph is not None:
                self.graph.close()
            self.recall.close()
            self.records.close()
            self._lock.release()

    @property
    def blocks(self) -> BlockIndex:
        """The index that serves now."""
        return self._serving[0]

    @property
    def embedder(self) -> Embedder:
        """The embedder that made the vectors in `blocks`."""
        return self._serving[1]

    # --- another embedder ---------------------------------------------------------------------

    def configure(self, config: Config) -> None:
        """Take a configuration that was read again; another embedder is changed to in idle time.

        Raises ConfigError, EmbedderMissing, TableDamaged: nothing has changed then.
        """
        wanted = get_embedder(config["embedder"], config)
        with self.maintenance:
            self.config = config
            self.health.restore("embedder")
            if signature(wanted) != signature(self.wanted_embedder):
                self.wanted_embedder, self.reencoding = wanted, None
                self.embedder_due = signature(wanted) != self.records.meta("embedder")
            elif wanted is not self.wanted_embedder:  # the same vectors, got in another way
                if self.embedder is self.wanted_embedder:
                    self._serving = (self.blocks, wanted)
                self.wanted_embedder, self.reencoding = wanted, None
        self.on_change()

    def begin_reencoding(self) -> Reencoding:
        """The work of encoding everything with the wanted embedder; one at a time.

        Raises DiskFull when there is not the room for a second index.
        """
        with self.maintenance:
            if self.reencoding is None:
                self.reencoding = Reencoding(self, self.wanted_embedder)
            return self.reencoding

    def swap(self, blocks: BlockIndex, embedder: Embedder) -> None:
        """Let another index serve, with the embedder that made it; the records know already."""
        self._serving = (blocks, embedder)
        self.reencoding = None
        self.embedder_due = signature(embedder) != signature(self.wanted_embedder)
        self.lost_vectors = []
        self.health.restore("blocks")

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
        encoded = segments.encode_if_possible(embedder, texts)
        with self.records.exclusive():
            if self.embedder is not embedder:  # a rebuild swapped it meanwhile
                encoded = segments.encode_if_possible(self.embedder, texts)
            with self.records.write() as tx:
                ids = tx.add_memories(memories)
                if encoded is not None:
                    tx.add_hot(segments.to_hot(ids, encoded))
                self._accesses.flush(tx)
            if encoded is None:  # found by words until the embedder is back
                self.lost_vectors = [*self.lost_vectors, *ids]
            else:
                self.blocks.append(np.array(ids, np.int64), encoded)
        self.on_change()
        return ids

    def forget(self, ids: Sequence[int], *, purge: bool = False, dry_run: bool = False) -> Receipt:
        """Delete memories from every part; with `purge` no trace of them is left in the files."""
        return forget(self, ids, purge=purge, dry_run=dry_run)

    # --- reading ------------------------------------------------------------------------------

    def get(self, memory_id: int) -> Memory:
        """The memory, with its blobs; raises NotFound."""
        found = self.records.get([memory_id])
        if memory_id not in found:
            raise NotFound(kind="memory", id=memory_id)
        self.on_returned([memory_id])
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
        watch = Stopwatch()
        with self.query_priority:
            hits = self.recall.query(text, k, mode, where or Filter(), now, watch)
        self._given([hit.memory.id for hit in hits])
        took = (time.perf_counter() - began) * 1000
        return Answer(hits, took, sorted(self.degraded()), watch.milliseconds())

    def similar(self, memory_id: int, k: int = 10, *, dense: bool = False) -> Answer:
        """The memories nearest in meaning to one, best first, itself left out.

        With `dense`, those whose legacy hypervectors are nearest.  Raises NotFound, NoHypervector.
        """
        began = time.perf_counter()
        memory = self.get(memory_id)
        with self.query_priority:
            hits = self.dense.similar(memory_id, k) if dense else self.recall.similar(memory, k)
        self._given([hit.memory.id for hit in hits])
        took = (time.perf_counter() - began) * 1000
        return Answer(hits, took, sorted(self.degraded()))

    def _given(self, ids: list[int]) -> None:
        """Somebody got these memories."""
        self._accesses.count(ids)
        self.on_returned(ids)

    def related(self, memory_id: int, depth: int = 1, limit: int = 50) -> list[RelatedMemory]:
        """What relations and turns connect with a memory, nearest first. Raises NotFound."""
        self.get(memory_id)
        near = neighbours(self.records, memory_id, depth, limit)
        memories = get_within(self.records, list(dict.fromkeys(neighbour.id for neighbour in near)))
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
        trouble = self.embedder.trouble
        return {**self.health.reasons(), **({"embedder": trouble} if trouble else {})}

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
            if self.health.reason("graph"):
                self.graph.rebuild(feed)
                self.health.restore("graph")
                return True
            return self.graph.watermark >= self.records.head() or self.graph.catch_up(
                feed, max_rows
            )
