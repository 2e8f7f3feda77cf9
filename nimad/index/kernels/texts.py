"""The kernel of the static embedder: English texts cut into tokens, whose vectors are added up.

As in `nimad.index.kernels.source`, which gathers them: pointers and lengths, nothing allocated.
What it does of `nimad.embed.languages`, `wordpiece` and `features` is told there.
"""
# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call,no-any-return,var-annotated"

from __future__ import annotations

from typing import Any

import numpy as np

from nimad.index.kernels.contract import TEXT_DIMS, TEXT_WORD
from nimad.index.kernels.intrinsics import (
    F64,
    I8,
    I32,
    I64,
    U8,
    U16,
    U32,
    inline,
    multiply_add,
    onward,
)

_ADDED = 2048
"""Tokens that add up within 32 bits [tokens]."""


@inline
def _find(
    data: U8, places: Any, slots: I32, mask: int, skip: int, word: U8, size: int, crc: int
) -> Any:
    """The number of the token that a part of a word is, whose CRC-32 is told; -1: it is none."""
    starts, ends = places
    slot = crc & mask
    while slots[slot] >= 0:
        token = np.int64(slots[slot])
        first = starts[token] + skip
        if ends[token] - first == size:
            at = np.int64(0)
            while at < size and data[first + at] == word[at]:
                at += 1
            if at == size:
                return token
        slot = (slot + 1) & mask
    return np.int64(-1)


@inline
def _checksums(word: U8, size: int, crcs: U32, states: I64) -> Any:
    """The CRC-32 of each beginning of a word, in `states`; that of the whole."""
    crc = np.int64(0xFFFFFFFF)
    for at in range(size):
        crc = np.int64(crcs[(crc ^ np.int64(word[at])) & 255]) ^ (crc >> 8)
        states[at] = crc ^ np.int64(0xFFFFFFFF)
    return crc ^ np.int64(0xFFFFFFFF)


@inline
def _pieces(
    word: U8, size: int, data: U8, places: Any, tables: Any, crcs: U32, longest: int, room: I64
) -> Any:
    """The tokens of a word, at the begin of `room`; how many, or -1 where they mean nothing."""
    heads, head_mask, tails, tail_mask = tables
    states = onward(room, TEXT_WORD)
    whole = _find(
        data, places, heads, head_mask, 0, word, size, _checksums(word, size, crcs, states)
    )
    if whole >= 0:
        room[0] = whole
        return np.int64(1)
    start = count = np.int64(0)
    while start < size:
        rest = onward(word, start)
        end = min(size - start, longest)
        _checksums(rest, end, crcs, states)
        token = np.int64(-1)
        while end > 0:
            if start == 0:
                token = _find(data, places, heads, head_mask, 0, rest, end, states[end - 1])
            else:
                token = _find(data, places, tails, tail_mask, 2, rest, end, states[end - 1])
            if token >= 0:
                break
            end -= 1
        if token < 0:
            return np.int64(-1)
        room[count] = token
        count += 1
        start += end
    return count if size >= 2 * count else np.int64(-1)


@inline
def _is_letter(sign: int) -> Any:
    """Whether a sign of ASCII may stand in a word, as regular expressions have it."""
    small = (sign >= 97) & (sign <= 122)
    return small | (sign >= 65) & (sign <= 90) | (sign >= 48) & (sign <= 57) | (sign == 95)


@inline
def _is_joint(sign: int) -> Any:
    """Whether it is one of - . / : = @ backslash _"""
    low = (sign >= 45) & (sign <= 47)
    return low | (sign == 58) | (sign == 61) | (sign == 64) | (sign == 92) | (sign == 95)


@inline
def _is_joined(text: U8, first: int, end: int) -> Any:
    """Whether a piece of a text is a path, an address, an option (`languages`)."""
    begins = text[first] == 45 or text[first] == 47 or text[first] == 92
    if begins and end - first > 1 and _is_letter(text[first + 1]):
        return True
    for at in range(first, end - 2):
        if _is_letter(text[at]) and _is_joint(text[at + 1]):
            beyond = at + 2
            while beyond < end and _is_joint(text[beyond]) and not _is_letter(text[beyond]):
                beyond += 1
            if beyond < end and _is_letter(text[beyond]):
                return True
    return False


@inline
def _add(tokens: I64, count: int, rows: I8, weights: U16, added: I32) -> None:
    """Add the vectors of some tokens."""
    for place in range(count):
        vector = onward(rows, tokens[place] * TEXT_DIMS)
        weight = np.int32(weights[tokens[place]])
        for at in range(TEXT_DIMS):
            added[at] = multiply_add(added[at], weight, np.int32(vector[at]))


@inline
def _flush(added: I32, row: F64) -> None:
    """Add to a row what was added up, and begin again."""
    for at in range(TEXT_DIMS):
        row[at] += added[at]
        added[at] = 0


@inline
def _read(
    text: U8,
    last: int,
    letters: U8,
    spelling: Any,
    vectors: Any,
    word: U8,
    room: I64,
    added: I32,
    row: F64,
) -> Any:
    """Add the vectors of the words of a text; how they vote, 0 where one of them means nothing."""
    data, places, tables, crcs, longest = spelling
    votes, rows, weights = vectors
    held = size = total = ballot = piece = np.int64(0)
    for at in range(last + 1):
        sign = np.int64(32)
        if at < last:
            sign = np.int64(letters[text[at] & 127])
        alone = np.int64(max(sign - np.int64(128), np.int64(0)))
        if alone == 0 and sign != 0 and sign != 32:
            if size == TEXT_WORD:
                return np.int64(0)
            word[size] = np.uint8(sign)
            size += 1
        while (size > 0 and sign == 32) or alone > 0:
            if size == 0:
                word[0], size, alone = np.uint8(alone), np.int64(1), np.int64(0)
            made = _pieces(word, size, data, places, tables, crcs, longest, room)
            size = np.int64(0)
            if made < 0:
                return np.int64(0)
            if made == 1:
                ballot += np.int64(votes[room[0]])
            _add(room, made, rows, weights, added)
            held += made
            if held > _ADDED:
                _flush(added, row)
                held = np.int64(0)
        if at == last or text[at] == 32:  # a piece ends
            if ballot < 0 and _is_joined(text, piece, at):
                ballot = np.int64(0)
            total, ballot, piece = total + ballot, np.int64(0), np.int64(at + 1)
    return total


def text_sums(
    texts: U8,
    text_ends: I64,
    count: int,
    letters: U8,
    data: U8,
    starts: I64,
    ends: I64,
    heads: I32,
    head_mask: int,
    tails: I32,
    tail_mask: int,
    longest: int,
    votes: I8,
    rows: I8,
    weights: U16,
    scale: int,
    crcs: U32,
    word: U8,
    room: I64,
    added: I32,
    sums: F64,
    read: U8,
) -> None:
    """TextSums.text_sums of texts that lie one behind the other, up to `text_ends`; `read` tells
    which were.

    `word` is room for uint8[TEXT_WORD], `room` for int64[2 * TEXT_WORD], `added` for int32[256].
    """
    spelling = data, (starts, ends), (heads, head_mask, tails, tail_mask), crcs, longest
    vectors = votes, rows, weights
    first = np.int64(0)
    for text in range(count):
        row, here = onward(sums, text * TEXT_DIMS), onward(texts, first)
        for at in range(TEXT_DIMS):
            added[at] = 0
        last = text_ends[text] - first
        sound = _read(here, last, letters, spelling, vectors, word, room, added, row) > 0
        _flush(added, row)
        factor = float(scale) if sound else 0.0
        for at in range(TEXT_DIMS):
            row[at] *= factor
        read[text], first = np.uint8(sound), text_ends[text]
