"""A heap of the k smallest int64 keys, largest first, and its rows in ascending order, for kernels.

A key is a distance in its upper and a number in its lower 32 bits, so that equal distances are
ordered by number and every form of the kernels keeps the same ones.
"""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

from nimad.index.kernels.intrinsics import inline


@inline
def sift_down(heap: Any, size: Any) -> None:
    """Put the first of a largest-first heap where it belongs."""
    key, at = heap[0], 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = key


@inline
def sift_up(heap: Any, at: Any, key: Any) -> None:
    """Add a key at the end, `at`, of a largest-first heap."""
    while at > 0:
        parent = (at - 1) // 2
        if heap[parent] >= key:
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = key


@inline
def push(heap: Any, size: Any, k: Any, key: Any) -> Any:
    """Keep the k smallest of what was pushed; how many there are now."""
    if size < k:
        sift_up(heap, size, key)
        return size + 1
    if key < heap[0]:
        heap[0] = key
        sift_down(heap, k)
    return size


@inline
def sort_numbers(heap: Any, size: Any) -> None:
    """Turn a heap of keys into their numbers, ascending."""
    for at in range(size):
        key = heap[at] & 0xFFFFFFFF
        sift_up(heap, at, key)
    for last in range(size - 1, 0, -1):
        key = heap[last]
        heap[last] = heap[0]
        heap[0] = key
        sift_down(heap, last)
