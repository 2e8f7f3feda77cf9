"""HybridMemoryStore and LazyMigrationStore of the legacy guides: a migration bit by bit.

Both copy the memories at once, so that everything can be found by its words, and give a memory its
place in the index of meaning when it is used.  The copy of the source serves the dense hypervectors
until then.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.closing import Closing
from nimad.cognition.embedded import Embedded, embedded, state_of, take_over
from nimad.cognition.sparse_block_memory import SparseBlockMemory
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.legacy.snapshot_kinds import open_snapshot
from nimad.legacy.source import DenseRows, LegacySource
from nimad.migrate.encode_on_hit import EncodeOnHit
from nimad.store import sources


class _BitByBit(Closing):
    """A store that copies now and encodes on demand; the numbers of memories are those of the
    sparse store: 0, 1, 2, ... in the order in which they were copied."""

    def __init__(self, source: str | Path, state: str | Path | None) -> None:
        home = embedded(None if state is None else state_of(state))
        take_over(home, Path(source).expanduser(), strategy="lazy")
        self._home = home
        self._urgent = EncodeOnHit(home.store, threading.RLock())
        self.sparse = SparseBlockMemory.over(home)

    def __len__(self) -> int:
        return len(self.sparse)

    def close(self) -> None:
        """Give the directory free; a temporary one goes."""
        self._home.close()

    def _id(self, place: int) -> int:
        ids = self.sparse.memory_metadata.ids()
        if not 0 <= place < len(ids):
            raise IndexError(f"there is no memory {place}; there are {len(ids)}")
        return int(ids[place])

    def _is_encoded(self, place: int) -> bool:
        return self._home.store.blocks.vector(self._id(place)) is not None

    def _encode(self, places: Sequence[int]) -> int:
        """Give memories their vector; how many lacked one."""
        done = 0
        self._urgent.look(sources.all_sources(self._home.store.records))
        for start in range(0, len(places), 128):
            self._urgent.seen([self._id(place) for place in places[start : start + 128]])
            done += self._urgent.step()
        return done


class HybridMemoryStore(_BitByBit):
    """Dense until it is migrated, sparse afterwards.

    Attributes:
        sparse_store: the SparseBlockMemory; also `sparse`.
        dense_store: a sequence of the dense hypervectors, float32[dimension].
        migration_queue: the memories that were asked for and are not migrated yet.
    """

    def __init__(self, dense_path: str | Path, sparse_path: str | Path | None = None) -> None:
        """Raises SourceMissing and the like.  Without `sparse_path` the store is temporary."""
        super().__init__(dense_path, sparse_path)
        self.sparse_store = self.sparse
        self.dense_store = DenseStore(self._home, self.sparse)
        self.migration_queue: list[int] = []

    def get(self, idx: int) -> SparseBlockHDVector | NDArray[np.float32]:
        """The sparse hypervector of a memory; the dense one, and a place in the queue, until then.

        Raises IndexError.
        """
        if self._is_encoded(idx):
            return self.sparse.memory_vectors[idx]
        if idx not in self.migration_queue:
            self.migration_queue.append(idx)
        dense: NDArray[np.float32] = self.dense_store[idx]
        return dense

    def query(self, text: str, top_k: int = 5) -> list[dict[str, Any]]:
        """The memories that answer a text; those that are not migrated yet are queued."""
        found = self.sparse.semantic_query(text, top_k)
        for result in found:
            place = int(result["id"])
            if not self._is_encoded(place) and place not in self.migration_queue:
                self.migration_queue.append(place)
        return found

    def migrate_batch(self, batch_size: int = 100) -> int:
        """Migrate the first of the queue; how many."""
        batch = self.migration_queue[:batch_size]
        done = self._encode(batch)
        self.migration_queue = [
            place for place in self.migration_queue if not self._is_encoded(place)
        ]
        return done

    def close(self) -> None:
        """Give the directory and the copy of the source free."""
        self.dense_store.close()
        super().close()


class LazyMigrationStore(_BitByBit):
    """Migrates a memory when a question finds it.

    Attributes:
        sparse: the SparseBlockMemory.
        migrated: the numbers of the memories that were needed so far.
    """

    def __init__(
        self, source_checkpoint: str | Path, sparse_path: str | Path | None = None
    ) -> None:
        """Raises SourceMissing and the like.  Without `sparse_path` the store is temporary."""
        super().__init__(source_checkpoint, sparse_path)
        self.migrated: set[int] = {p for p in range(len(self)) if self._is_encoded(p)}

    def query(self, text: str, top_k: int = 5) -> list[dict[str, Any]]:
        """The memories that answer a text, best first; they are migrated on the way."""
        found = self.sparse.semantic_query(text, top_k)
        new = [int(r["id"]) for r in found if int(r["id"]) not in self.migrated]
        if self._encode(new):
            found = self.sparse.semantic_query(text, top_k)  # now by their meaning, too
        self.migrated.update(new)
        return found


class DenseStore(Sequence[NDArray[np.float32]]):
    """The dense hypervectors of the memories, read from the copy of the source when asked for."""

    def __init__(self, home: Embedded, memory: SparseBlockMemory) -> None:
        self._home, self._memory = home, memory
        self._open: dict[str, tuple[LegacySource, DenseRows | None]] = {}

    def __len__(self) -> int:
        return len(self._memory)

    def __getitem__(self, place: Any) -> Any:
        """float32[dimension]; derived from the episode where the source has none."""
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        store = self._home.store
        memory = store.get(int(self._memory.memory_metadata.ids()[place]))
        if memory.source is not None:
            name, key = memory.source[0], int(memory.source[1])
            if name not in self._open:
                known = sources.by_name(store.records, name)
                if known.snapshot is not None:
                    path = self._home.state / "snapshots" / known.snapshot
                    opened = open_snapshot(known.kind, path)
                    self._open[name] = (opened, opened.dense())
            rows = self._open[name][1] if name in self._open else None
            if rows is not None and key in rows.keys():  # noqa: SIM118 - an array, not a dict
                return rows.rows([key])[0]
        return self._memory.memory_vectors[place].to_dense()

    def close(self) -> None:
        """Let go of the copies."""
        for source, _ in self._open.values():
            source.close()
        self._open.clear()
