"""Stands in for an embedder that is not there any more: its vectors stay, none are added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nimad.errors import Degraded


class AbsentEmbedder:
    """Knows what the stored vectors are, so that they are kept; cannot make any."""

    def __init__(self, signature: str, trouble: str) -> None:
        """`signature` of the stored vectors (`nimad.embed.base.signature`), and what is wrong."""
        self.name, self.revision, dims = signature.split(":")
        self.dims = int(dims)
        self.trouble: str | None = trouble

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raises Degraded, always."""
        raise Degraded(part="embedder", detail=self.trouble)
