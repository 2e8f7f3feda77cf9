"""Stands in for an embedder that is not there any more: its vectors stay, none are added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import Embedder
from nimad.embed.registry import embedder_class
from nimad.errors import ConfigError, Degraded


class AbsentEmbedder(Embedder):
    """Knows what the stored vectors are, so that they are kept; cannot make any."""

    def __init__(self, signature: str, trouble: str) -> None:
        """`signature` of the stored vectors (`nimad.embed.base.signature`), and what is wrong."""
        self.name, self.revision, dims = signature.split(":")
        self.dims = int(dims)
        self.trouble = trouble
        try:
            made_by = embedder_class(self.name)
        except ConfigError:  # of a later version of nimad
            return
        self.scale, self.neighbour_shares = made_by.scale, made_by.neighbour_shares

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raises Degraded, always."""
        raise Degraded(part="embedder", detail=self.trouble)
