"""The kernels of words that no vocabulary has: what is hashed of them, and words in them.

As in `nimad.index.kernels.source`, which gathers them: pointers and lengths, nothing allocated.
BLAKE2b is that of M-J. Saarinen and J-P. Aumasson, RFC 7693 (2015), of one block: up to 128 bytes.
"""
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,no-any-return,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np

from nimad.index.kernels.intrinsics import I64, U8, U32, inline, onward

_IV = (
    *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
    *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
)
_IV0, _IV1, _IV2, _IV3, _IV4, _IV5, _IV6, _IV7 = map(np.uint64, _IV)
_INVERTED6 = np.uint64(_IV[6] ^ 0xFFFFFFFFFFFFFFFF)
_ROUNDS, _ORDERS, _WORDS = 12, 10, 16
_ENDS = _WORDS
"""Where the ends of characters stand in the room of `parts`, behind the block."""


@inline
def _turned(word: Any, left: int) -> Any:
    return (word << np.uint64(left)) | (word >> np.uint64(64 - left))


@inline
def _mixed(a: Any, b: Any, c: Any, d: Any, one: Any, two: Any) -> Any:
    """Four words of the state after two of the block came in: G of the RFC."""
    a = a + b + np.uint64(one)
    d = _turned(d ^ a, 32)
    c = c + d
    b = _turned(b ^ c, 40)
    a = a + b + np.uint64(two)
    d = _turned(d ^ a, 48)
    c = c + d
    return a, _turned(b ^ c, 1), c, d


@inline
def _digest(text: U8, size: int, length: int, orders: U8, block: I64) -> Any:
    """The first 8 bytes of the digest of so many bytes, little-endian; `block` is room for 16."""
    for at in range(_WORDS):
        block[at] = 0
    for at in range(size):
        block[at >> 3] |= np.int64(text[at]) << ((at & 7) << 3)
    first = _IV0 ^ np.uint64(0x01010000) ^ np.uint64(length)
    a0, a1, a2, a3 = first, _IV1, _IV2, _IV3
    b0, b1, b2, b3 = _IV4, _IV5, _IV6, _IV7
    c0, c1, c2, c3 = _IV0, _IV1, _IV2, _IV3
    d0, d1, d2, d3 = _IV4 ^ np.uint64(size), _IV5, _INVERTED6, _IV7
    for number in range(_ROUNDS):
        s = onward(orders, number % _ORDERS * _WORDS)
        a0, b0, c0, d0 = _mixed(a0, b0, c0, d0, block[s[0]], block[s[1]])
        a1, b1, c1, d1 = _mixed(a1, b1, c1, d1, block[s[2]], block[s[3]])
        a2, b2, c2, d2 = _mixed(a2, b2, c2, d2, block[s[4]], block[s[5]])
        a3, b3, c3, d3 = _mixed(a3, b3, c3, d3, block[s[6]], block[s[7]])
        a0, b1, c2, d3 = _mixed(a0, b1, c2, d3, block[s[8]], block[s[9]])
        a1, b2, c3, d0 = _mixed(a1, b2, c3, d0, block[s[10]], block[s[11]])
        a2, b3, c0, d1 = _mixed(a2, b3, c0, d1, block[s[12]], block[s[13]])
        a3, b0, c1, d2 = _mixed(a3, b0, c1, d2, block[s[14]], block[s[15]])
    return first ^ a0 ^ c0


@inline
def _next(text: U8, at: int, size: int) -> Any:
    """Where the character behind the one at a place begins, in UTF-8."""
    at += 1
    while at < size and text[at] & 192 == 128:
        at += 1
    return np.int64(at)


def grams(text: U8, size: int, least: int, most: int, orders: U8, block: I64, found: I64) -> int:
    """WordHashes.grams: leaves them in `found`; how many.  `block` is room for int64[16]."""
    count = np.int64(0)
    for length in range(least, most + 1):
        first = end = held = np.int64(0)
        while end < size:
            end = _next(text, end, size)
            held += 1
            if held == length:
                hashed = _digest(onward(text, first), end - first, 5, orders, block)
                found[count] = np.int64(hashed & np.uint64(0xFFFFFFFFFF))
                count += 1
                first = _next(text, first, size)
                held -= 1
    return count  # type: ignore[return-value]


def parts(
    text: U8,
    size: int,
    first: int,
    least: int,
    longest: int,
    checks: U32,
    slots: int,
    orders: U8,
    room: I64,
    found: I64,
) -> int:
    """WordHashes.parts: leaves begin, end and slot of each in `found`; how many.

    `orders` is uint8[160], `room` is for int64[16 + longest].
    """
    ends = onward(room, _ENDS)
    count = start = place = np.int64(0)
    while start < size:
        held, at = np.int64(0), start
        while at < size and held < longest:
            at = _next(text, at, size)
            ends[held] = at
            held += 1
        taken, shortest = np.int64(0), least if place > 0 else first
        while held >= shortest and taken == 0:
            hashed = _digest(onward(text, start), ends[held - 1] - start, 8, orders, room)
            check = np.int64(hashed >> np.uint64(32))
            if check == 0:
                check = np.int64(1)
            slot = (np.int64(hashed & np.uint64(0xFFFFFFFF)) * slots) >> 32
            while checks[slot] != 0:
                if np.int64(checks[slot]) == check:
                    found[3 * count] = place
                    found[3 * count + 1] = place + held
                    found[3 * count + 2] = slot
                    count, taken = count + 1, held
                    break
                slot += 1
                if slot == slots:
                    slot = np.int64(0)
            held -= 1
        if taken == 0:
            taken = np.int64(1)
        place, start = place + taken, ends[taken - 1]
    return count
