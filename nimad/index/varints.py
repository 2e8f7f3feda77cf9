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


def lengths_of(numbers: Numbers) -> Numbers:
    """How many bytes each number takes; none is negative."""
    lengths = np.ones(len(numbers), np.int64)
    top = int(numbers.max(initial=0))
    for extra in range(1, MOST_BYTES):
        if not top >> (7 * extra):
            break
        lengths += numbers >= 1 << (7 * extra)
    return lengths


def pack(numbers: Numbers, lengths: Numbers | None = None) -> Bytes:
    """The bytes of numbers that are not negative, one after the other; `lengths` is what
    `lengths_of` tells of them, where it is known."""
    if lengths is None:
        lengths = lengths_of(numbers)
    ends = np.cumsum(lengths)
    if not len(ends) or ends[-1] == len(numbers):
        return numbers.astype(np.uint8)
    packed = np.zeros(int(ends[-1]), np.uint8)
    starts, rest = ends - lengths, numbers
    while True:
        more = rest >= 128
        packed[starts] = (rest & 127) | (more << 7)
        longer = np.flatnonzero(more)
        if not len(longer):
            return packed
        starts, rest = starts[longer] + 1, rest[longer] >> 7


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
