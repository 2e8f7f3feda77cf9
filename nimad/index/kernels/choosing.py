"""Which posting lists a query scans, for the compiled kernels: see `Kernels.choose`."""
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np

from nimad.index.kernels.contract import BINS, FARTHEST, LANES, WORDS
from nimad.index.kernels.distance import distances32
from nimad.index.kernels.heap import push, sort_numbers
from nimad.index.kernels.intrinsics import inline, multiply_add, onward, root

_GROUP = WORDS * LANES


@inline
def nearest_blocks(query: Any, dims: Any, blocks: Any, count: Any, probes: Any, heap: Any) -> Any:
    """The numbers of the blocks nearest to the query, ascending, in `heap`; how many."""
    size = 0
    for block in range(count):
        start = block * dims
        product = square = np.int32(0)
        for i in range(dims):
            x = np.int32(blocks[start + i])
            product = multiply_add(product, x, np.int32(query[i]))
            square = multiply_add(square, x, x)
        length = root(np.float64(max(square, np.int32(1))))
        away = np.int64(FARTHEST) - np.int64(np.float64(product) / length)
        size = push(heap, size, probes, (away << 32) | block)
    sort_numbers(heap, size)
    return size


@inline
def _weigh(
    active: Any,
    active_count: Any,
    block_start: Any,
    cell_codes: Any,
    weights: Any,
    planes: Any,
    near: Any,
    bins: Any,
    tallies: Any,
) -> None:
    """The bin of each cell of the active blocks, one by one, and the weight of each bin."""
    for number in range(BINS):
        tallies[number] = 0
    at = 0
    for number in range(active_count):
        cell = np.int64(block_start[active[number]])
        end = np.int64(block_start[active[number] + 1])
        while cell < end:
            group = cell // LANES
            distances32(cell_codes, group * _GROUP, planes, near)
            stop = min(end, (group + 1) * LANES)
            for mine in range(cell, stop):
                found = np.int64(near[mine - group * LANES]) >> 3
                bins[at] = found
                tallies[found] += np.int64(weights[mine + 1]) - np.int64(weights[mine])
                at += 1
            cell = stop


@inline
def choose_spans(
    active: Any,
    active_count: Any,
    block_start: Any,
    cell_codes: Any,
    cell_start: Any,
    weights: Any,
    planes: Any,
    near: Any,
    wanted: Any,
    room: Any,
    spans: Any,
) -> Any:
    """Kernels.choose, once the blocks are known; `room` is for int64[BINS + cells]."""
    tallies, bins = room, onward(room, BINS)
    _weigh(active, active_count, block_start, cell_codes, weights, planes, near, bins, tallies)
    bar, left = 0, wanted
    while bar < BINS and tallies[bar] < left:
        left -= tallies[bar]
        bar += 1
    count = at = 0
    for number in range(active_count):
        for cell in range(block_start[active[number]], block_start[active[number] + 1]):
            mine = bins[at]
            at += 1
            if mine > bar or (mine == bar and left <= 0):
                continue
            first, end = np.int64(cell_start[cell]), np.int64(cell_start[cell + 1])
            if mine == bar:
                left -= np.int64(weights[cell + 1]) - np.int64(weights[cell])
            if weights[cell] == weights[cell + 1]:
                continue
            if count > 0 and spans[2 * count - 1] == first:
                spans[2 * count - 1] = end
            else:
                spans[2 * count], spans[2 * count + 1] = first, end
                count += 1
    return count
