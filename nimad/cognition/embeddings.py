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

        self.output_dimension = embedder.dims
        self.is_loaded = True
        self.is_projected = False

    def encode(self, texts: Sequence[str], apply_projection: bool = True) -> NDArray[np.float32]:
        """float32[n, dimension]: a row for each text.  Nothing is projected."""
        return self._embedder.embed(list(texts))

    encode_raw = encode

    def encode_single(self, text: str, apply_projection: bool = True) -> NDArray[np.float32]:
        """float32[dimension]."""
        row: NDArray[np.float32] = self._embedder.embed([text])[0]
        return row

    def load(self) -> None:
        """It is loaded already."""

    def unload(self) -> None:
        """Give its table back; the next text loads it again."""
        self._embedder.rest()


def get_embedder(
    name: str | bool | None = None, *, enable_projection: bool | None = None, lazy: bool = True
) -> TextEmbedder:
    """The embedder of that name; by default the configured one.

    The guides' `enable_projection` (which may come first) and `lazy` change nothing: no projection
    is trained here, and an embedder loads with its first text.  Raises ConfigError.
    """
    chosen = name if isinstance(name, str) and name else load(None)["embedder"]
    return TextEmbedder(registry.get_embedder(chosen))
