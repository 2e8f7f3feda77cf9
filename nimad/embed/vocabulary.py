"""A vocabulary in flat arrays: some 30 bytes a token where a dict of strings takes 150."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nimad.disk.durable import Buffer

_LINE = 10
_TAIL = b"##"


class TokenLines(Sequence[str]):
    """The tokens of a region of lines, made into strings only when somebody looks at them."""

    def __init__(self, region: Buffer) -> None:
        """Raises ValueError when `region` is not UTF-8."""
        str(region, "utf-8")
        self.data = np.frombuffer(region, np.uint8)
        ends = np.flatnonzero(self.data == _LINE)
        self.starts = np.concatenate([[0], ends + 1])
        self.ends = np.concatenate([ends, [len(self.data)]])

    @classmethod
    def of(cls, tokens: Sequence[str]) -> TokenLines:
        """The same of strings."""
        return tokens if isinstance(tokens, cls) else cls("\n".join(tokens).encode())

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        return self.data[self.starts[number] : self.ends[number]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return iter(self.data.tobytes().decode().split("\n"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class Pieces:
    """Some of the tokens; is a piece of text one of them?  A table of slots, probed in a row."""

    def __init__(self, lines: TokenLines, picked: NDArray[np.int64], skip: int, first: int) -> None:
        """`picked`: places of tokens in `lines`, whose first `skip` bytes do not count."""
        self._data = lines.data.tobytes()
        self._starts = array("i", (lines.starts[picked] + skip).astype(np.int32).tobytes())
        self._ends = array("i", lines.ends[picked].astype(np.int32).tobytes())
        self._ids = array("i", (picked + first).astype(np.int32).tobytes())
        self._mask = (4 << len(picked).bit_length() - 1) - 1
        self._slots = array("i", [-1]) * (self._mask + 1)
        self.longest = 1
        for number, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            slot = crc32(self._data[start:end]) & self._mask
            while self._slots[slot] >= 0:
                slot = (slot + 1) & self._mask
            self._slots[slot] = number
            self.longest = max(self.longest, end - start)

    def get(self, piece: str) -> int | None:
        """The id of a token, or None."""
        key = piece.encode("utf-8", "surrogatepass")
        slot = crc32(key) & self._mask
        while (number := self._slots[slot]) >= 0:
            if self._data[self._starts[number] : self._ends[number]] == key:
                return self._ids[number]
            slot = (slot + 1) & self._mask
        return None


def heads_and_tails(tokens: Sequence[str], first: int) -> tuple[Pieces, Pieces]:
    """Tokens that begin a word, and those that continue one; token i has the id `first + i`."""
    lines = TokenLines.of(tokens)
    padded = np.append(lines.data, np.zeros(2, np.uint8))
    tails = (padded[lines.starts] == _TAIL[0]) & (padded[lines.starts + 1] == _TAIL[1])
    tails &= lines.ends - lines.starts > 1
    return (
        Pieces(lines, np.flatnonzero(~tails), 0, first),
        Pieces(lines, np.flatnonzero(tails), 2, first),
    )
