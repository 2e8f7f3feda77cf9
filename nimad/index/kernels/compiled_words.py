"""The kernels of `nimad.index.kernels.spelling` behind C functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nimad.embed.hashes import Lengths
from nimad.embed.lexicon import Lexicon
from nimad.index.kernels.addresses import address

_BRIEF = 64
"""Longest text for which the interpreter's lock is kept: up to 130 us [characters]."""
_BLOCK, _LONGEST = 16, 32
"""Words of a block of BLAKE2b; characters of the longest n-gram or part, which fit into it."""
_ORDERS = np.array(
    [
        *(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        *(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
        *(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
        *(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
        *(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
        *(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
        *(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
        *(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
        *(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
        *(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
    ],
    np.uint8,
)
"""The order of a block's words in each round (SIGMA of RFC 7693)."""
_ORDERS_AT = address(_ORDERS)


class CompiledWords:
    """See `nimad.embed.hashes.WordHashes`."""

    _grams: tuple[Callable[..., int], Callable[..., int]]
    _parts: tuple[Callable[..., int], Callable[..., int]]
    """The form that keeps the interpreter's lock, and the one that releases it."""

    def grams(self, text: str, least: int, most: int) -> list[int]:
        if not 0 < least <= most <= _LONGEST:
            raise ValueError(f"n-grams of {least} to {most} characters")
        raw = _bytes(text)
        room = np.empty(_BLOCK + (most - least + 1) * len(text), np.int64)
        at = address(room)
        asked = address(raw), len(raw), least, most, _ORDERS_AT
        count = self._grams[len(text) > _BRIEF](*asked, at, at + _BLOCK * room.itemsize)
        found: list[int] = room[_BLOCK : _BLOCK + count].tolist()
        return found

    def parts(self, word: str, lengths: Lengths, lexicon: Lexicon) -> NDArray[np.int64]:
        first, least, longest = lengths
        if not (first > 0 and least > 0 and longest <= _LONGEST):
            raise ValueError(f"parts of {lengths}")
        raw, used = _bytes(word), _BLOCK + longest
        room = np.empty(used + 3 * len(word), np.int64)
        at = address(room)
        asked = address(raw), len(raw), first, least, longest, *_slots(lexicon), _ORDERS_AT
        count = self._parts[len(word) > _BRIEF](*asked, at, at + used * room.itemsize)
        return room[used : used + 3 * count].reshape(-1, 3)


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytearray(text, "utf-8", "surrogatepass"), np.uint8)


def _slots(lexicon: Lexicon) -> tuple[int, int]:
    """Where the slots of a lexicon are, and how many; made once."""
    made: tuple[int, int] | None = lexicon.__dict__.get("_slots")
    if made is None:
        checks = lexicon.checks
        if checks.dtype != np.uint32 or not checks.flags.c_contiguous or checks.all():
            raise ValueError("these are no slots of a lexicon")
        made = lexicon.__dict__["_slots"] = address(checks), len(checks)
    return made
