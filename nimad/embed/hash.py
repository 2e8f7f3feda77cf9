"""The embedder without a model: words and their character n-grams, hashed into signed buckets.

Feature hashing after Weinberger et al., "Feature Hashing for Large Scale Multitask Learning"
(ICML 2009); character n-grams after Bojanowski et al., "Enriching Word Vectors with Subword
Information" (TACL 2017).  It knows no meaning, but it forgives endings and typing errors, in any
language.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIMS = 256
GRAM = 4
"""Length of the character n-grams, word borders included."""
GRAM_WEIGHT = 0.5
"""All n-grams of a word together weigh half of the word itself."""

_WORD = re.compile(r"\w+")


class HashEmbedder:
    """Deterministic vectors from spelling alone: 256 dimensions, no data, any language."""

    name = "hash"
    revision = "1"
    dims = DIMS

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, 256]: see `nimad.embed.base.Embedder`."""
        rows = np.zeros((len(texts), DIMS), np.float64)
        for row, text in zip(rows, texts, strict=True):
            for word in _WORD.findall(text.lower()):
                for bucket, weight in _features(word):
                    row[bucket] += weight
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        np.divide(rows, norms, out=rows, where=norms > 0)
        return rows.astype(np.float32)


@functools.lru_cache(maxsize=20_000)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    """(bucket, signed weight) of a word and of its character n-grams."""
    padded = f"<{word}>"
    grams = sorted({padded[i : i + GRAM] for i in range(len(padded) - GRAM + 1)})
    share = GRAM_WEIGHT / np.sqrt(max(len(grams), 1))
    return (_bucket("w" + word, 1.0), *(_bucket("g" + gram, float(share)) for gram in grams))


def _bucket(feature: str, weight: float) -> tuple[int, float]:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number = int.from_bytes(digest, "little")
    return number % DIMS, weight if number >> 63 else -weight
