"""`get_embedder()` of the legacy guides: text to a vector, by the embedders of nimad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.config import load
from nimad.embed import registry
from nimad.embed.base import Embedder


class TextEmbedder:
    """The legacy face of an embedder; vectors have length 1, or are zero for unknown words.

    Attributes:
        name: "static", for example.
        dimension: of a vector.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name = embedder.name
        self.dimension = embedder.dims

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dimension]: a row for each text."""
        return self._embedder.embed(list(texts))

    def encode_single(self, text: str) -> NDArray[np.float32]:
        """float32[dimension]."""
        row: NDArray[np.float32] = self._embedder.embed([text])[0]
        return row


def get_embedder(name: str | None = None) -> TextEmbedder:
    """The embedder of that name; by default the configured one.  Raises ConfigError."""
    return TextEmbedder(registry.get_embedder(name or load(None)["embedder"]))
