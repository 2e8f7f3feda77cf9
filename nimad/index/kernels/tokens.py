"""Tokens that were met in texts, each once and numbered: what `Kernels.cut` fills."""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np

TOKEN_END = 32
"""The letter that ends a token."""
TOKEN_FACTOR = 0x01000193
"""Of FNV-1a with 32 bits."""
_TOKENS, _BYTES = 4096, 1 << 15
"""Room of a new table, a power of two [tokens], [bytes]."""


class TokenTable:
    """Tokens by their numbers, from 0.  Not for several threads.

    Attributes:
        letters: uint8[256], what each byte of a text becomes in a token; TOKEN_END ends one.
        data, ends: uint8[], int64[t + 1]: where each token is written, the first from ends[0] on.
        hashes: uint32[t], FNV-1a of each token, from a start of its own on.
        slots: int32[2**h]: numbers of tokens, from the place on that both halves of the hash
            tell; -1 where none.
        state: int64[4]: how many tokens there are, how many bytes they have, how many are in slots,
            and what hashes start from: at random, that no texts can be made for one slot.
    """

    def __init__(self, letters: bytes) -> None:
        self.letters = np.frombuffer(letters, np.uint8)
        self.data = np.zeros(_BYTES, np.uint8)
        self.ends, self.hashes = np.zeros(_TOKENS + 1, np.int64), np.zeros(_TOKENS, np.uint32)
        self.slots = np.full(2 * _TOKENS, -1, np.int32)
        self.state = np.array([0, 0, 0, int.from_bytes(os.urandom(4), "little")], np.int64)
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return int(self.state[0])

    def grow(self) -> None:
        """Make room where there was none for the next token."""
        if len(self) == len(self.hashes):
            self.ends = np.append(self.ends, np.zeros_like(self.hashes, np.int64))
            self.hashes = np.append(self.hashes, np.zeros_like(self.hashes))
            self.slots = np.full(2 * len(self.hashes), -1, np.int32)
            self.state[2] = 0
        else:
            self.data = np.append(self.data, np.zeros_like(self.data))

    def since(self, first: int) -> list[bytes]:
        """The tokens from a number on."""
        ends = self.ends[first : len(self) + 1].tolist()
        whole = self.data[ends[0] : ends[-1]].tobytes()
        return [whole[a - ends[0] : b - ends[0]] for a, b in pairwise(ends)]

    def number(self, token: bytes) -> int:
        """The number of a token, given when it is new: what `cut` does for each."""
        if len(self._numbers) < len(self):
            late = self.since(len(self._numbers))
            self._numbers.update(zip(late, range(len(self._numbers), len(self)), strict=True))
        known, end = len(self), int(self.state[1]) + len(token)
        if token not in self._numbers:
            while known == len(self.hashes) or end > len(self.data):
                self.grow()
            self.data[end - len(token) : end] = np.frombuffer(token, np.uint8)
            self.ends[known + 1], self.hashes[known] = end, self._hash_of(token)
            self.state[:2] = known + 1, end
            self._numbers[token] = known
        return self._numbers[token]

    def _hash_of(self, token: bytes) -> int:
        found = int(self.state[3])
        for sign in token:
            found = (found ^ sign) * TOKEN_FACTOR & 0xFFFFFFFF
        return found
