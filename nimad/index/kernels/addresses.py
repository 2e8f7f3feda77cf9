"""Where arrays lie in memory, for functions that take pointers."""

from __future__ import annotations

import ctypes
from typing import Any

from numpy.typing import NDArray


def address(array: NDArray[Any]) -> int:
    """The address of an array's first element; a query asks some fifty times."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    except (TypeError, ValueError):  # read-only, or empty: the slower way, 4 times
        found: int = array.__array_interface__["data"][0]
        return found
