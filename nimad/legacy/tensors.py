"""Rows of tensors as float32, read out of the file where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.errors import SourceCorrupt
from nimad.legacy.pickle_allowlist import ITEM_BYTES, Tensor

BFLOAT16 = "bfloat16"


def as_float32(raw: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Numbers of a file as float32, copied; bfloat16 is given as uint16, its upper half."""
    if dtype == BFLOAT16:
        return (raw.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes inf: not finite
        return raw.astype(np.float32)


class TensorRows:
    """The rows of one table, or of many vectors of the same length: `Vectors` of a checkpoint.

    `places` are where each tensor's storage begins in `view` [bytes]: the file (`in_place`), or
    a copy of numbers that the pickle itself holds.  Tensors may overlap, skip items (a slice), or
    run across (a transposed table): strides are followed as they are.
    """

    block_size: int | None = None

    def __init__(
        self,
        view: memoryview,
        path: Path | str,
        tensors: Sequence[Tensor],
        places: Sequence[int],
        dimension: int,
        in_place: bool = True,
    ) -> None:
        self._view, self._path, self.dimension = view, path, dimension
        self._tensors, self._places, self._in_place = tensors, places, in_place
        self._table = len(tensors[0].size) == 2
        self.count = tensors[0].size[0] if self._table else len(tensors)

    def rows(self, at: Sequence[int]) -> NDArray[np.float32]:
        """As `Vectors.rows`."""
        if self._table:
            return self._read(0, np.asarray(at, np.int64))
        made = np.empty((len(at), self.dimension), np.float32)
        for row, place in enumerate(at):
            made[row] = self._read(place, slice(None))
        return made

    def _read(self, place: int, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        tensor = self._tensors[place]
        numbers = as_float32(self._array(place)[rows], tensor.storage.dtype)
        return -numbers if tensor.negative else numbers

    def spots(self, row: int) -> list[tuple[int, int]]:
        """As `Vectors.spots`."""
        if not self._in_place:
            raise ValueError("a numpy array is not kept where it could be overwritten")
        tensor = self._tensors[0 if self._table else row]
        place = self._places[0 if self._table else row]
        item = ITEM_BYTES[tensor.storage.dtype]
        if self._table:
            (inner, length), (outer, rows) = sorted(zip(tensor.stride, tensor.size, strict=True))
            if rows > 1 and length > 1 and (inner < 1 or outer < inner * length):
                raise ValueError("the rows of a tensor overlap")
        begin = tensor.offset + (row * tensor.stride[0] if self._table else 0)
        step = tensor.stride[-1]
        if step == 1:
            return [(place + begin * item, self.dimension * item)]
        return [(place + (begin + n * step) * item, item) for n in range(self.dimension)]

    def _array(self, place: int) -> NDArray[Any]:
        """A tensor as a view of the file; bounds were checked when it was unpickled."""
        tensor = self._tensors[place]
        storage = tensor.storage
        dtype = np.dtype("<u2" if storage.dtype == BFLOAT16 else storage.dtype).newbyteorder("<")
        strides = tuple(step * dtype.itemsize for step in tensor.stride)
        try:
            flat = np.frombuffer(self._view, dtype, storage.items, self._places[place])
            return np.lib.stride_tricks.as_strided(
                flat[tensor.offset :], tensor.size, strides, writeable=False
            )
        except (ValueError, OverflowError) as error:
            raise SourceCorrupt(path=self._path, detail=f"a tensor: {error}") from None
