"""Whole numbers in as few bytes as they need: LEB128, seven bits a byte, the low ones first.

Every byte of a number but its last has the highest bit set.  A number has at most nine bytes.

Source: DWARF Debugging Information Format 5, section 7.6 (unsigned LEB128).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

MOST_BYTES = 9


def pack(numbers: Numbers) -> Bytes:
    """The bytes of numbers that are not negative, one after the other."""
    lengths = np.ones(len(numbers), np.int64)
    for extra in range(1, MOST_BYTES):
        longer = numbers >> (7 * extra) > 0
        if not longer.any():
            break
        lengths += longer
    ends = np.cumsum(lengths)
    packed = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    starts = ends - lengths
    for place in range(int(lengths.max(initial=0))):
        mine = lengths > place
        low = numbers[mine] >> (7 * place) & 127
        packed[starts[mine] + place] = low | np.where(lengths[mine] > place + 1, 128, 0)
    return packed


def unpack(packed: Bytes) -> Numbers:
    """The numbers in some bytes, up to one that has too many bytes or is cut off at the end."""
    ends = np.flatnonzero(packed < 128)
    if len(ends) == len(packed):
        return packed.astype(np.int64)
    starts = np.append(0, ends[:-1] + 1) if len(ends) else ends
    lengths = ends - starts + 1
    if (long := np.flatnonzero(lengths > MOST_BYTES)).size:
        starts, lengths = starts[: long[0]], lengths[: long[0]]
    numbers = (packed[starts] & 127).astype(np.int64)
    for place in range(1, int(lengths.max(initial=0))):
        mine = np.flatnonzero(lengths > place)
        numbers[mine] |= (packed[starts[mine] + place] & 127).astype(np.int64) << (7 * place)
    return numbers
