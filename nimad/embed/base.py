"""What an embedder is: text in, unit vectors out, the same ones everywhere and for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """Turns texts into vectors.  An instance is shared between threads.

    Attributes:
        name: "static" or "hash".
        revision: changes whenever a vector would change.
        dims: dimensions of a vector.
    """

    name: str
    revision: str
    dims: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dims]: a unit row for each text; a zero row where nothing in it is known.

        A row depends on its text alone, bit for bit: not on its neighbours, nor on the machine.
        Any str is taken, lone surrogates included; nothing is raised.
        """
