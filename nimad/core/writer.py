"""Stores memories: records, vectors and access counts in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nimad.core import segments
from nimad.core.accesses import Accesses
from nimad.core.capture import Capture, CapturedTurn, StoredTurn
from nimad.core.clock import Clock
from nimad.core.semantic import SemanticIndex
from nimad.core.setbacks import Setbacks
from nimad.core.validate import check_memory
from nimad.model import Memory
from nimad.store.records import Records
from nimad.store.transaction import Transaction


class Writer:
    """What a `MemoryStore` stores goes through here; `on_stored` is called after each commit."""

    def __init__(
        self,
        records: Records,
        clock: Clock,
        semantic: SemanticIndex,
        setbacks: Setbacks,
        on_stored: Callable[[], None],
    ) -> None:
        self._records, self.clock, self._semantic = records, clock, semantic
        self._setbacks, self._on_stored = setbacks, on_stored
        self.accesses = Accesses()

    def remember(
        self, memories: Sequence[Memory], also: Callable[[Transaction], None] | None = None
    ) -> list[int]:
        """See `MemoryStore.remember_many`."""
        for place, memory in enumerate(memories):
            check_memory(memory, place)
        if not memories:
            return []

        def add(tx: Transaction) -> Sequence[Memory]:
            tx.add_memories(memories)
            if also is not None:
                also(tx)
            return memories

        return self._store(memories, add)

    def capture(self, turns: Sequence[CapturedTurn]) -> list[StoredTurn]:
        """See `MemoryStore.capture`."""
        for place, turn in enumerate(turns):
            for memory in turn.memories.values():
                check_memory(memory, place)
        work = Capture(turns, self._records.rows)
        if work.missing:
            self._store(work.missing, work.store)
        return work.results

    def _store(
        self, memories: Sequence[Memory], add: Callable[[Transaction], Sequence[Memory]]
    ) -> list[int]:
        """Let `add` store memories, or some of them, in one transaction with their vectors.

        The ids of those that it gives back, in their order; readers see them afterwards.
        """
        self.clock.catch_up()
        now, fields = self.clock.date(memories)
        places = {id(memory): place for place, memory in enumerate(memories)}

        with self._semantic.encoded([memory.text for memory in memories]) as rows:
            with self._records.write() as tx:
                added = add(tx)
                ids = [memory.id for memory in added]
                chosen = [places[id(memory)] for memory in added]
                self.clock.note(tx, ids, now, [fields[place] for place in chosen])
                if rows is not None:
                    rows = rows[chosen]
                    tx.add_hot(segments.to_hot(ids, rows))
                counts = self.accesses.write(tx)
            self.accesses.written(counts)
            self._semantic.add(ids, rows)
        if rows is not None and self._semantic.unencoded_ids:
            self._setbacks.clear(self._semantic.name)  # the embedder is back: wait no longer
        self._on_stored()
        return ids
