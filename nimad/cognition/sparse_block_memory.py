"""SparseBlockMemory of the legacy guides: episodes stored, found by role and by meaning.

A face on a MemoryStore: `semantic_query` is nimad's recall, `memory_vectors` are derived from the
records or, where a dense hypervector was taken over, converted from it.  The numbers of memories
are the legacy ones: 0, 1, 2, ... in the order in which they came.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from nimad.cognition import episodes
from nimad.cognition.embedded import (
    MARKER,
    Embedded,
    copy_into,
    embedded,
    is_state,
    mark,
    state_of,
    take_over,
)
from nimad.cognition.sparse_block_vsa import SparseBlockHDVector
from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.errors import NotFound
from nimad.model import Filter, Memory
from nimad.vsa import sparse

T = TypeVar("T")

CANDIDATES = 200
"""Memories that a role query compares, when recall has narrowed them down."""


@dataclass(frozen=True)
class SparseBlockConfig:
    """The shape of hypervectors, and what a role query must reach to count (0..1).

    Only `block_dim`, `num_blocks`, `default_sparsity` and `similarity_threshold` have an effect;
    the others are there so that a saved legacy configuration can be given.
    """

    block_dim: int = 500
    num_blocks: int = 100
    default_sparsity: float = 0.1
    enable_block_learning: bool = True
    block_selection_temperature: float = 0.5
    min_blocks_per_factor: int = 5
    max_blocks_per_factor: int = 30
    use_block_index: bool = True
    similarity_threshold: float = 0.3
    migrate_on_load: bool = True
    preserve_dense_backup: bool = True
    cache_similarities: bool = True
    max_cache_size: int = 10_000

    @property
    def total_dim(self) -> int:
        """Dimensions of the whole hypervector."""
        return self.block_dim * self.num_blocks

    @property
    def active_blocks_per_vector(self) -> int:
        """Active blocks of one item."""
        return max(1, int(self.default_sparsity * self.num_blocks))


class _Lazy(Sequence[T]):
    """The memories of a store as a list: something for each, made when it is asked for.

    The places 0, 1, ... are those of the ids, ascending; they follow the store's change log.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._seen = -1
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)

    def ids(self) -> NDArray[np.int64]:
        """int64[n]: the store's id of each place."""
        head = self._store.records.head()
        if head != self._seen:
            self._ids, self._seen = self._store.records.ids(), head
        return self._ids

    def place(self, number: int) -> int:
        """The place of a store's id."""
        return int(np.searchsorted(self.ids(), number))

    def __len__(self) -> int:
        return len(self.ids())

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        ids = self.ids()
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(ids)))]
        if not -len(ids) <= place < len(ids):
            raise IndexError(f"there is no memory {place}; there are {len(ids)}")
        return self.view(self._store.get(int(ids[place])))

    def view(self, memory: Memory) -> T:
        """What there is in the list for a memory."""
        raise NotImplementedError


class Metadata(_Lazy[dict[str, Any]]):
    """`memory_metadata`: a dict for each memory."""

    def view(self, memory: Memory) -> dict[str, Any]:
        """Its metadata."""
        return episodes.metadata_of(memory)


class Vectors(_Lazy[SparseBlockHDVector]):
    """`memory_vectors`: a hypervector for each memory."""

    def __init__(self, store: MemoryStore, shape: SparseBlockConfig) -> None:
        super().__init__(store)
        self._shape = (shape.num_blocks, shape.block_dim, shape.active_blocks_per_vector)

    def view(self, memory: Memory) -> SparseBlockHDVector:
        """Its hypervector."""
        factors = episodes.factors_of(episodes.metadata_of(memory))
        return SparseBlockHDVector.of(episodes.episode(factors, *self._shape))


class Factors(_Lazy[dict[str, str]]):
    """`memory_factors`: role → value for each memory."""

    def view(self, memory: Memory) -> dict[str, str]:
        """Its factors."""
        return episodes.factors_of(episodes.metadata_of(memory))


class SparseBlockMemory:
    """Episodic memory over a store in this process; a temporary one until `save` or `load`.

    The sequences are views of the store: what is in them cannot be assigned.

    Attributes:
        memory_vectors: a sequence of SparseBlockHDVector.
        memory_metadata: a sequence of dicts with the guides' names.
        memory_factors: a sequence of role → value.
        block_learner: None; blocks are decided by names, nothing is learned.
        resonator: what a caller attaches; kept, not used here.
    """

    def __init__(
        self, config: SparseBlockConfig | None = None, path: str | Path | None = None
    ) -> None:
        """With `path` the memories lie in that state directory from the start.  See `embedded`."""
        self._begin(embedded(None if path is None else state_of(path)), config)

    @classmethod
    def over(cls, home: Embedded, config: SparseBlockConfig | None = None) -> SparseBlockMemory:
        """The face of a store that is open already."""
        made = cls.__new__(cls)
        made._begin(home, config)
        return made

    def _begin(self, home: Embedded, config: SparseBlockConfig | None) -> None:
        self.config = config or SparseBlockConfig()
        self.resonator: Any = None
        self.block_learner = None
        self._queries, self._milliseconds = 0, 0.0
        self._take(home)

    def _take(self, home: Embedded) -> None:
        self._home = home
        self._store = home.store
        self.memory_metadata = Metadata(home.store)
        self.memory_vectors = Vectors(home.store, self.config)
        self.memory_factors = Factors(home.store)

    @property
    def records_store(self) -> MemoryStore:
        """The store underneath, which a daemon would serve."""
        return self._store

    def __bool__(self) -> bool:
        """True, also when it is empty: programs ask `if memory`."""
        return True

    def __len__(self) -> int:
        return len(self.memory_metadata)

    def close(self) -> None:
        """Give the directory free; a temporary one goes."""
        self._home.close()

    # --- storing and asking -------------------------------------------------------------------

    def store(
        self,
        who: str = "",
        what: str = "",
        where: str = "",
        when: str = "",
        context: str = "",
        emotions: Sequence[str] | None = None,
        themes: Sequence[str] | None = None,
        importance: float = 0.5,
        raw_text: str = "",
        **more: Any,
    ) -> int:
        """Store an episode; its number.  Other names are kept, `content` as the text where there is
        none.  Raises UsageError for what a memory cannot hold."""
        raw_text = raw_text or (str(more.pop("content", "")) if not what else "")
        meta = {
            "who": who,
            "what": what,
            "where": where,
            "when": when,
            "context": context,
            "emotions": list(emotions or ()),
            "themes": list(themes or ()),
            "importance": importance,
            "raw_text": raw_text,
            **more,
        }
        self._store.remember(episodes.memory_of(meta))
        return len(self) - 1

    def query(self, role: str, value: str, top_k: int = 5) -> list[dict[str, Any]]:
        """Episodes whose `role` ("WHO", "WHERE", ...) has that value, best first.

        The score is the cosine of the values' hypervectors, weighted by importance: 1 for the same
        words, less for some of them.  Unknown roles are compared with the whole episode.
        """
        began = time.perf_counter()
        shape = (self.config.num_blocks, self.config.block_dim)
        active = self.config.active_blocks_per_vector
        wanted = episodes.filler(value, *shape, active)
        scored: list[tuple[float, int]] = []
        for place in self._candidates(role.upper(), value):
            meta = self.memory_metadata[place]
            factors = episodes.factors_of(meta)
            known = role.upper() in episodes.FIELDS
            text = factors.get(role.upper(), "") if known else " ".join(factors.values())
            match = sparse.similarity(wanted, episodes.filler(text, *shape, active)) if text else 0
            if match >= self.config.similarity_threshold:
                scored.append((match * (0.5 + 0.5 * float(meta["importance"])), place))
        scored.sort(key=lambda item: (-item[0], item[1]))
        self._count(began)
        return [self._result(place, score) for score, place in scored[:top_k]]

    def semantic_query(
        self,
        query_text: str,
        top_k: int = 5,
        emotion_vector: Mapping[str, float] | None = None,
    ) -> list[dict[str, Any]]:
        """The episodes that answer a text, best first: recall, and then the nearest in meaning.

        Unlike `nimactl query` it fills up to `top_k` when less is relevant, as the guides expect.
        With `emotion_vector` (name → 0..1) the score is .7 of that plus .3 of the cosine with the
        episode's emotions.
        """
        began = time.perf_counter()
        answer = self._store.query(query_text, top_k)
        found = {hit.memory.id: hit.score for hit in answer.hits}
        if len(found) < top_k:
            vector = self._store.embedder.embed([query_text])[0]
            ids, scores = self._store.blocks.search(vector, top_k)
            least = min(found.values(), default=1.0)
            for number, score in zip(ids.tolist(), scores.tolist(), strict=True):
                found.setdefault(number, min(float(score), least))
        best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:top_k]
        results = [self._result(self.memory_metadata.place(i), score) for i, score in best]
        if emotion_vector:
            for result in results:
                meta = result["metadata"]
                felt = meta.get("emotion_vector") or dict.fromkeys(meta["emotions"] or (), 1.0)
                product = sum(n * float(felt.get(name, 0)) for name, n in emotion_vector.items())
                lengths = math.hypot(*emotion_vector.values())
                lengths *= math.hypot(*map(float, felt.values()))
                cosine = product / lengths if lengths else 0.0
                result["score"] = 0.7 * result["score"] + 0.3 * cosine
            results.sort(key=lambda result: (-result["score"], result["id"]))
        self._count(began)
        return results

    def _candidates(self, role: str, value: str) -> list[int]:
        everything = self.memory_metadata.ids()
        if role in ("WHO", "WHERE"):
            named = Filter(who=value) if role == "WHO" else Filter(where=value)
            exact = self._store.records.matching(named)
            if len(exact):
                return [int(i) for i in np.searchsorted(everything, exact)]
        if len(everything) <= 5 * CANDIDATES:
            return list(range(len(everything)))
        hits = self._store.query(value, CANDIDATES, "words").hits
        return sorted(self.memory_metadata.place(hit.memory.id) for hit in hits)

    def _result(self, place: int, score: float) -> dict[str, Any]:
        return {"id": place, "score": float(score), "metadata": self.memory_metadata[place]}

    # --- hypervectors -------------------------------------------------------------------------

    def similarity(self, id1: int, id2: int) -> float:
        """The cosine of two memories' hypervectors.  Raises ValueError when one is not there."""
        if not (0 <= id1 < len(self) and 0 <= id2 < len(self)):
            raise ValueError(f"there are memories 0 to {len(self) - 1}, not {id1} and {id2}")
        return self.memory_vectors[id1].similarity(self.memory_vectors[id2])

    def bind(self, id1: int, id2: int) -> SparseBlockHDVector:
        """Two memories bound.  Raises IndexError."""
        return SparseBlockHDVector.bind(self.memory_vectors[id1], self.memory_vectors[id2])

    def bundle(self, ids: Sequence[int]) -> SparseBlockHDVector:
        """The sum of memories.  Raises IndexError, ValueError when there are none."""
        return SparseBlockHDVector.bundle(*(self.memory_vectors[number] for number in ids))

    @property
    def roles(self) -> dict[str, SparseBlockHDVector]:
        """Role → its hypervector."""
        shape = (self.config.num_blocks, self.config.block_dim)
        return {
            name: SparseBlockHDVector.of(episodes.role(name, *shape)) for name in episodes.FIELDS
        }

    @property
    def fillers(self) -> dict[str, SparseBlockHDVector]:
        """Value → its hypervector, of every value in the store; reads all memories."""
        config = self.config
        shape = (config.num_blocks, config.block_dim, config.active_blocks_per_vector)
        values = dict.fromkeys(v for factors in self.memory_factors for v in factors.values())
        return {v: SparseBlockHDVector.of(episodes.filler(v, *shape)) for v in values}

    def migrate_from_dense(
        self,
        vectors: Sequence[Any],
        metadata: Sequence[Mapping[str, Any]],
        factor_extractor: Any = None,
    ) -> int:
        """Store the episodes that go with dense vectors; how many.

        The vectors themselves are not kept: hypervectors follow from the fields.  To convert those
        of a checkpoint, migrate its file (`nimactl migrate`, `VSAMigrator`).

        Raises:
            ValueError: when there are not as many vectors as episodes.
        """
        if len(vectors) != len(metadata):
            raise ValueError(f"{len(vectors)} vectors, but {len(metadata)} episodes")
        self._store.remember_many([episodes.memory_of(dict(meta)) for meta in metadata])
        return len(metadata)

    # --- keeping ------------------------------------------------------------------------------

    def save(self, filepath: str | Path) -> None:
        """Keep the memories where the path lies, durably; from now on they live there.

        `DIR/sparse_memory.pkl` and `DIR` mean the same: a state directory of nimad.  Raises
        UsageError when it holds other memories already.
        """
        target = embedded(state_of(filepath))
        if target is not self._home:
            copy_into(self._home, target)
            old, temporary = self._home, self._home.temporary
            self._take(target)
            if temporary:
                old.close()
        self._store.records.checkpoint()
        mark(filepath)

    def load(self, filepath: str | Path) -> None:
        """Take the memories of a state directory, or of a legacy file, which is only read.

        Raises NotFound when there is neither, SourceCorrupt and the like for a bad file.
        """
        place = state_of(filepath)
        if is_state(place):
            self._take(embedded(place))
        elif Path(filepath).expanduser().exists():
            take_over(self._home, Path(filepath).expanduser())
        else:
            raise NotFound(kind="saved memory", id=f"{place}/{MARKER}")

    safe_save, safe_load = save, load

    # --- figures ------------------------------------------------------------------------------

    def get_memory_usage(self) -> dict[str, float]:
        """What the memories take on the disk, beside float32 hypervectors of the same shape."""
        files = [path for path in self._home.state.rglob("*") if path.is_file()]
        taken = sum(path.stat().st_size for path in files)
        dense = 4 * len(self) * self.config.total_dim
        return {
            "memory_count": len(self),
            "sparse_storage_mb": taken / (1 << 20),
            "dense_equivalent_mb": dense / (1 << 20),
            "compression_ratio": dense / max(1, taken),
        }

    @property
    def stats(self) -> dict[str, Any]:
        """Queries so far, and their mean time."""
        return {
            "queries": self._queries,
            "avg_query_time_ms": self._milliseconds / max(1, self._queries),
        }

    def get_stats(self) -> dict[str, Any]:
        """Counts, shape and times."""
        return {
            "vsa_dimension": self.config.total_dim,
            "block_structure": f"{self.config.num_blocks}x{self.config.block_dim}",
            "total_memories": len(self),
            "role_count": len(episodes.FIELDS),
            "stats": self.stats,
            "memory_usage": self.get_memory_usage(),
        }

    def _count(self, began: float) -> None:
        self._queries += 1
        self._milliseconds += 1000 * (time.perf_counter() - began)


def store_of(memory_store: Any) -> tuple[Any, MemoryStore]:
    """What a program calls its memory store, as a face and the store underneath.

    A SparseBlockMemory, a MemoryStore, None (a temporary one), or any object with a list
    `memory_metadata`, whose episodes are copied into a temporary one.  Raises TypeError for others.
    """
    if isinstance(memory_store, MemoryStore):
        return memory_store, memory_store
    if memory_store is None or not hasattr(memory_store, "records_store"):
        episodes_of = getattr(memory_store, "memory_metadata", None)
        if memory_store is not None and episodes_of is None:
            raise TypeError(f"{type(memory_store).__name__} is no memory store")
        made = SparseBlockMemory()
        made.migrate_from_dense(episodes_of or [], episodes_of or [])
        return made, made.records_store
    return memory_store, memory_store.records_store
