"""Stores memories: records, vectors and access counts in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

import numpy as np

from nimad.core.accesses import Accesses
from nimad.core.capture import Capture, CapturedTurn, StoredTurn
from nimad.core.clock import Clock
from nimad.core.semantic import SemanticIndex
from nimad.core.setbacks import Setbacks
from nimad.core.unwritten import BULK
from nimad.core.validate import are_sound, check_memory
from nimad.errors import NimadError, UsageError
from nimad.model import Memory
from nimad.store import forgotten, keyed, stamps
from nimad.store.records import Records
from nimad.store.transaction import Transaction
from nimad.words.expected import LARGE
from nimad.words.index import TermIndex

DocumentName: TypeAlias = tuple[str, str]
"""A document's namespace and key."""


class Writer:
    """What a `MemoryStore` stores goes through here; `on_stored` is called after each commit with
    the memories, `give_way` now and then before one (and within one of BULK memories and more), and
    `spare` (of `Recall`) right before that of BULK ones, whose client is told only after
    `on_stored`."""

    def __init__(
        self,
        records: Records,
        clock: Clock,
        semantic: SemanticIndex,
        setbacks: Setbacks,
        on_stored: Callable[[Sequence[Memory]], None],
        give_way: Callable[[], object],
        spare: Callable[[int, int], None],
        terms: TermIndex,
    ) -> None:
        self._records, self.clock, self._semantic = records, clock, semantic
        self._setbacks, self._on_stored, self._give_way = setbacks, on_stored, give_way
        self._spare, self._terms = spare, terms
        self.accesses = Accesses()

    def remember(
        self,
        memories: Sequence[Memory],
        also: Callable[[Transaction], None] | None = None,
        gone: Sequence[DocumentName] = (),
    ) -> list[int]:
        """See `MemoryStore.remember_many`."""
        named: set[DocumentName] = set()
        sound = are_sound(memories, self._give_way)
        for place, memory in enumerate(memories):
            if not sound:
                check_memory(memory, place)
            if memory.key is None:
                continue
            if (name := (memory.namespace, memory.key)) in named:
                raise UsageError(detail=f"two documents have the key {memory.key}", place=place)
            named.add(name)
        if not memories:
            return []
        removed: list[int] = []

        def add(tx: Transaction) -> Sequence[Memory]:
            removed.extend(_replace_documents(tx, memories, [*named, *gone], self.clock.now()))
            if also is not None:
                also(tx)
            return memories

        return self.store(memories, add, removed)

    def capture(self, turns: Sequence[CapturedTurn]) -> list[StoredTurn]:
        """See `MemoryStore.capture`."""
        for place, turn in enumerate(turns):
            for memory in turn.memories.values():
                check_memory(memory, place)
        work = Capture(turns, self._records.rows)
        if work.missing:
            self.store(work.missing, work.store)
        return work.results

    def store(
        self,
        memories: Sequence[Memory],
        add: Callable[[Transaction], Sequence[Memory]],
        removed: Sequence[int] = (),
    ) -> list[int]:
        """Let `add` store checked memories, or some of them, in one transaction with their vectors.

        The ids of those that it gives back, in their order; readers see them afterwards, and no
        more what `removed` holds then: ids that it took out.
        """
        self.clock.catch_up()
        now, fields = self.clock.date(memories)
        if len(memories) >= BULK:
            self._give_way()
        places = {id(memory): place for place, memory in enumerate(memories)}
        texts = [memory.text for memory in memories]
        embedder, rows = self._semantic.encode(texts, self._give_way)
        cut, ids = None, list[int]()
        if len(memories) < BULK and sum(map(len, texts)) >= LARGE:
            cut = self._terms.cut_ahead(texts, self._give_way)

        try:
            with self._records.write_jointly() as tx:
                if embedder is not self._semantic.embedder:  # a rebuild swapped it meanwhile
                    _, rows = self._semantic.encode(texts)
                before = tx.last_change()
                if len(memories) >= BULK:
                    tx.pause = self._give_way
                added = add(tx)
                ids = [memory.id for memory in added]
                if cut is not None and ids:
                    self._terms.expected.add(ids, texts, cut)
                chosen = [places[id(memory)] for memory in added]
                self.clock.note(tx, ids, now, [fields[place] for place in chosen])
                rows = None if rows is None else rows[chosen]
                written = set() if rows is None else self._semantic.write(tx, ids, rows)
                counts = {} if tx.joins else self.accesses.write(tx)

                def show() -> None:
                    self.accesses.written(counts)
                    self._semantic.add(ids, rows, written)
                    if removed:
                        self._semantic.index.remove(np.array(removed, np.int64))

                tx.after_commit(show)
                if len(ids) >= BULK and not removed:  # before a query can see the commit
                    self._spare(before, tx.last_change())
            if cut is not None and ids:
                with suppress(NimadError):  # they are stored; a query tells what is wrong
                    self._terms.follow(ids[-1])
        except BaseException:
            self._spare(0, 0)
            raise
        finally:
            self._terms.expected.forget(ids)
        if rows is not None and self._semantic.unencoded_ids:
            self._setbacks.clear(self._semantic.name)  # the embedder is back: wait no longer
        self._on_stored(added)
        return ids


def _replace_documents(
    tx: Transaction, memories: Sequence[Memory], names: Sequence[DocumentName], now: int
) -> list[int]:
    """Store memories in place of the documents of some names; the ids of those, which are gone.

    A document that is replaced was created when its first version was.
    """
    old = keyed.documents(tx, names)
    doomed = [number for number, _ in old.values()]
    if doomed:
        forgotten.remember(tx, doomed)
        tx.delete_memories(doomed)
    for memory in memories:
        if memory.key is not None and (memory.namespace, memory.key) in old:
            memory.created = old[memory.namespace, memory.key][1] or None
    tx.add_memories(memories)
    added = {(each.namespace, each.key): each.id for each in memories if each.key is not None}
    forgotten.replace(tx, {old[name][0]: added[name] for name in old.keys() & added.keys()})
    stamps.note(tx, [*added.values()], now)
    return doomed
