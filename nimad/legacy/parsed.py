"""What a file of a legacy store holds, whatever its format; numbers stay where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nimad.errors import SourceCorrupt, SourceNotRecognised

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_DIMENSION = 1 << 20
"""Length of the longest hypervector that is believed [numbers]."""
MAX_EPISODES = 10_000_000
"""Length of the longest list of memories that is believed [memories]."""


class Vectors(Protocol):
    """Hypervectors in a file: `count` of them, each of `dimension` numbers.

    `block_size` is the length of a block where they are sparse, else None.
    """

    count: int
    dimension: int
    block_size: int | None

    def rows(self, at: Sequence[int]) -> NDArray[np.float32]:
        """float32[len(at), dimension]: those at these places, as they are, NaN included.

        Raises SourceCorrupt when one cannot be read.
        """

    def spots(self, row: int) -> list[tuple[int, int]]:
        """(offset, length) of the bytes in the file that hold a vector, and nothing else.

        Raises ValueError when that cannot be said.
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
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), list):
        detail = "it has no list of memories (metadata), so it is none of NIMA's"
        raise SourceNotRecognised(path=path, detail=detail)
    found: list[Any] = value["metadata"]
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
