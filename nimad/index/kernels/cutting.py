"""The kernel of the words index: texts cut into tokens, which are numbered as they are met.

As in `nimad.index.kernels.source`, which gathers them: pointers and lengths, nothing allocated.
`nimad.index.kernels.tokens` has the table that it fills.
"""
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,no-any-return,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np

from nimad.index.kernels.intrinsics import I32, I64, U8, U32, inline
from nimad.index.kernels.tokens import TOKEN_END, TOKEN_FACTOR


@inline
def _find(
    data: U8, ends: I64, hashes: U32, slots: I32, mask: int, hashed: int, used: int, size: int
) -> Any:
    """The slot of the token that stands behind all others, or the free one where it belongs."""
    slot = (hashed ^ (hashed >> 16)) & mask
    while slots[slot] >= 0:
        token = np.int64(slots[slot])
        first = ends[token]
        if np.int64(hashes[token]) == hashed and ends[token + 1] - first == size:
            at = np.int64(0)
            while at < size and data[first + at] == data[used + at]:
                at += 1
            if at == size:
                return slot
        slot = (slot + 1) & mask
    return slot


@inline
def _spell(
    texts: U8, at: int, last: int, letters: U8, data: U8, used: int, room: int, start: int
) -> Any:
    """Write the token that begins somewhere behind all others: its length, -1 where there is no
    room, 0 where none begins; and its hash."""
    size, hashed = np.int64(0), np.int64(start)
    while at + size < last:
        sign = np.int64(letters[texts[at + size]])
        if sign == TOKEN_END:
            break
        if used + size == room:
            return np.int64(-1), hashed
        data[used + size] = np.uint8(sign)
        hashed = ((hashed ^ sign) * np.int64(TOKEN_FACTOR)) & np.int64(0xFFFFFFFF)
        size += 1
    return size, hashed


@inline
def _enter(hashes: U32, slots: I32, mask: int, first: int, known: int) -> None:
    """Put the tokens from a number on into free slots."""
    for token in range(first, known):
        hashed = np.int64(hashes[token])
        slot = (hashed ^ (hashed >> 16)) & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = np.int32(token)


def cut(
    texts: U8,
    text_ends: I64,
    count: int,
    letters: U8,
    data: U8,
    room: int,
    ends: I64,
    hashes: U32,
    most: int,
    slots: I32,
    mask: int,
    state: I64,
    place: I64,
    found: I32,
    held: I64,
) -> None:
    """Kernels.cut of texts that lie one behind the other, up to `text_ends`; ends before all are
    cut where the table has no room, `most` tokens of `room` bytes.

    `state` is that of the table; `place` the text that is cut, where it is, and how many tokens
    were found.
    """
    known, used = state[0], state[1]
    _enter(hashes, slots, mask, state[2], known)
    text, at, out = place[0], place[1], place[2]
    full = False
    while text < count and not full:
        last = text_ends[text]
        while at < last and not full:
            size, hashed = _spell(texts, at, last, letters, data, used, room, state[3])
            full = size < 0
            if size > 0:
                slot = _find(data, ends, hashes, slots, mask, hashed, used, size)
                full = slots[slot] < 0 and known == most
                if slots[slot] < 0 and not full:
                    slots[slot], hashes[known] = np.int32(known), np.uint32(hashed)
                    known, used = known + 1, used + size
                    ends[known] = used
                if not full:
                    found[out] = slots[slot]
                    out, held[text] = out + 1, held[text] + 1
            if not full:
                at += max(size, np.int64(1))
        if not full:
            text += 1
    state[0], state[1], state[2] = known, used, known
    place[0], place[1], place[2] = text, at, out
