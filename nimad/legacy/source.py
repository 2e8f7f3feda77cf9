"""What every reader of a legacy store offers, whatever the format: memories, edges, turns, vectors.

`LegacyGraph` (sqlite.py) reads graph databases, `LegacyFiles` (files.py) checkpoints, pickles and
their JSON form; `opening.open_snapshot` picks the one that a snapshot needs.  Each is used by one
thread at a time and reads a snapshot that is ours: what stands in it is hostile all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import field
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from nimad.dataclass import dataclass
from nimad.errors import (
    NimadError,
    SourceAltered,
    SourceCorrupt,
    SourceNotRecognised,
    SourceUnsafe,
    SourceUnsupported,
)
from nimad.legacy.mapping import Mapper
from nimad.legacy.values import Value
from nimad.model import Memory
from nimad.times import NO_DATE, Reading, read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Row = tuple[Value, ...]
REFUSALS = (SourceNotRecognised, SourceCorrupt, SourceUnsafe, SourceAltered, SourceUnsupported)
"""What the readers raise; they name the snapshot, or a file in it."""
LISTED = 20
"""Refusals that are listed one by one; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row nothing could be made of: its kind ("node", "edge", "turn"), id and the reason."""

    kind: str
    key: int
    reason: str


@dataclass(frozen=True, slots=True)
class LegacyNode:
    """A memory as it will be stored, the row it is made of, and what is damaged in that row.

    `notes` are (column, reason): the value is kept, but of no use.
    """

    key: int
    memory: Memory
    row: Row
    notes: list[tuple[str, str]]


class LegacyEdge(NamedTuple):
    """An edge between two nodes, by their ids in the source, which may not exist.

    `extra` are the columns that are not modelled, as JSON can hold them (None: there are none).
    """

    key: int
    source: int
    target: int
    relation: str
    weight: float | None
    extra: dict[str, Any] | None


class LegacyTurn(NamedTuple):
    """A turn; its members are ids in the source, which may not exist, or None.

    `extra` as in `LegacyEdge`.
    """

    key: int
    name: str
    input: int | None
    contemplation: int | None
    output: int | None
    timestamp: int | None
    affect: str | None
    extra: dict[str, Any] | None

    @property
    def members(self) -> tuple[int | None, int | None, int | None]:
        """The keys of its memories, in the order of TURN_ROLES."""
        return self.input, self.contemplation, self.output


@dataclass
class Totals:
    """What a source holds.

    `unreadable` rows and `dangling` edges (an end of theirs is no readable memory) are within the
    counts; the first `refusals` tell which and why.  `text_bytes` is the length of all texts in
    UTF-8, `blob_bytes` that of all binary values that become part of the records.  `notes` are
    what else its owner should know of the files, one sentence each; `refused` are the files of it
    that cannot be taken over, (name in the bundle, error).  `vectors` memories have a hypervector,
    of `dimension` numbers.  `times` counts how timestamps were
    read (nimad.times).  `first_key` and `last_key` are the smallest and largest of a memory.
    """

    nodes: int = 0
    edges: int = 0
    turns: int = 0
    by_layer: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    dangling: int = 0
    text_bytes: int = 0
    blob_bytes: int = 0
    refusals: list[Unreadable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: list[tuple[str, NimadError]] = field(default_factory=list)
    vectors: int = 0
    dimension: int = 0
    first_key: int = 0
    last_key: int = -1
    times: Counter[str] = field(default_factory=Counter)

    def count_time(self, value: Value, zone: tzinfo) -> None:
        """Count how a timestamp is read."""
        try:
            self.count_reading(read(value, zone))
        except ValueError:
            self.count_reading(Reading(None))

    def count_reading(self, reading: Reading) -> None:
        """Count how a timestamp was read."""
        if note := reading.note or (reading.at is None and NO_DATE):
            self.times[note] += 1

    def count_unreadable(self, row: Unreadable) -> None:
        """Count a row that nothing can be made of."""
        self.unreadable += 1
        self.refuse(row)

    def refuse(self, row: Unreadable) -> None:
        """Note a row that will not come over."""
        if len(self.refusals) < LISTED:
            self.refusals.append(row)


class DenseRows(Protocol):
    """The hypervectors of a source, read where they lie; see legacy/files.py.

    `dimension` is the length of each, such as 10,000 or 50,000; `block_size` is the length of a
    block where the vectors are sparse (100 blocks of 500, about 10 active), else None.
    """

    dimension: int
    block_size: int | None

    def keys(self) -> NDArray[np.int64]:
        """int64[n]: source keys of the memories that have a hypervector, sorted.

        The first call looks at every vector, because one with a NaN in it does not count.
        """

    def rows(self, keys: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[len(keys), dimension], finite, a copy; sparse ones have zeros between blocks.

        Cost: those vectors are read once; nothing of them stays in memory.  Raises KeyError for a
        key that `keys` does not have.
        """

    def items(self) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
        """("filler" or "role", its name, float32[dimension]) of the codebooks, each name once."""


class LegacySource(Protocol):
    """A snapshot, open for reading.  `zone` is that of times in it which name none."""

    zone: tzinfo

    @property
    def schema(self) -> int:
        """The version of its format: 1 or 3 of a graph database, 0 where there is none."""

    def survey(self) -> Totals:
        """Read everything once, so that damage shows before anything is taken over.

        Raises SourceCorrupt and the like.
        """

    def mapper(self, name: str) -> Mapper:
        """What turns memories of the source `name` back into rows."""

    def nodes(
        self, mapper: Any, after: int | None, limit: int
    ) -> Sequence[LegacyNode | Unreadable]:
        """Up to `limit` memories after the key `after` (None: the first), by key.

        `mapper` is what `mapper(name)` gave.  Only an empty page is the end.
        """

    def edges(self, after: int | None, limit: int) -> Sequence[LegacyEdge | Unreadable]:
        """Up to `limit` edges, otherwise as `nodes`; formats without edges have none."""

    def turns(self, after: int | None, limit: int) -> Sequence[LegacyTurn | Unreadable]:
        """Up to `limit` turns, otherwise as `nodes`."""

    def dense(self) -> DenseRows | None:
        """The hypervectors; None when the source has none."""

    def close(self) -> None:
        """Let go of the snapshot; what `dense` gave is of no use afterwards."""

    def __enter__(self) -> LegacySource:
        """Itself."""

    def __exit__(self, *_: object) -> None:
        """Close it."""
