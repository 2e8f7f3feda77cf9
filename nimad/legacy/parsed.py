"""What a file of a legacy store holds, whatever its format; numbers stay where they lie."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from nimad.dataclass import dataclass
from nimad.errors import SourceCorrupt, SourceNotRecognised

MAX_DIMENSION = 1 << 20
"""Length of the longest hypervector that is believed [numbers]."""
MAX_EPISODES = 10_000_000
"""Length of the longest list of memories that is believed [memories]."""


class Piece(NamedTuple):
    """Where numbers of a vector lie: the whole of it, or one block of a sparse one.

    `offset` is that of the first number in the file [bytes], `step` the way to the next [numbers].
    `data` has the numbers themselves where the file does not have them as they are.  `base64`: they
    lie there in that coding.  `negative`: with the other sign.
    """

    dtype: str
    offset: int
    step: int = 1
    block: int = 0
    negative: bool = False
    base64: bool = False
    data: bytes | None = None


class Vectors(Protocol):
    """Hypervectors in a file: `count` of them, each of `dimension` numbers.

    `block_size` is the length of a block where they are sparse, else None.  `overlap`: a byte of
    the file may belong to two of them.
    """

    count: int
    dimension: int
    block_size: int | None
    overlap: bool

    def pieces(self, row: int) -> list[Piece] | None:
        """The pieces of a vector; None when there is none that can be read.

        A dense vector has one piece, a sparse one those of its blocks that are not zero.
        """


@dataclass
class Parsed:
    """One file: its episodes in order, `vectors` (row i belongs to episode i), its codebooks.

    `items` are (kind, name, vectors, row): a "filler" or a "role" and where its vector is.
    `notes` are sentences for the report.  `written` is when it was saved [epoch seconds].
    """

    name: str
    written: float
    episodes: list[Any]
    vectors: Vectors | None = None
    items: list[tuple[str, str, Vectors, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def metadata_of(value: Any, path: Path | str) -> list[Any]:
    """The list `metadata` of a state.  Raises SourceNotRecognised, SourceCorrupt."""
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), (list, tuple)):
        detail = "it has no list of memories (metadata), so it is none of NIMA's"
        raise SourceNotRecognised(path=path, detail=detail)
    found = list(value["metadata"])
    if len(found) > MAX_EPISODES:
        raise SourceCorrupt(path=path, detail=f"it claims to have {len(found)} memories")
    return found


def check_dimension(dimension: int, path: Path | str) -> None:
    """Raise SourceCorrupt when no hypervector can be so long."""
    if not 0 < dimension <= MAX_DIMENSION:
        raise SourceCorrupt(path=path, detail=f"its hypervectors have {dimension} dimensions")


def uneven(name: str, vectors: int, episodes: int) -> str:
    """The note for a file whose table of vectors is not as long as its list of memories."""
    return f"{name}: {vectors} hypervectors for {episodes} memories"
