"""The transformer all-MiniLM-L6-v2, in 8 bits, through ONNX Runtime, beside the static embedder.

A vector is two parts: the mean of the transformer's last states, at length 1, as the model was
trained (texts are cut off after 254 tokens, as it was, too), and the static vector.  So a cosine is
what both say: the one reads a text as a whole, the other every word.  The transformer reads
English; the less of a text that is, the smaller its part, and a text that is less than half English
is its static vector alone, with the lexicon of other languages and what is made of spelling.

Texts go through the transformer one at a time, the short ones first.  The layers scale their 8-bit
numbers to the largest in the batch, so a neighbour would change a text's vector; and on one core a
batch is no faster (docs/embedders.md has the figures).  Memory does not grow with the number of
texts.

Another processor may round otherwise: vectors agree between machines to about 0.001, not bit for
bit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.config import Config
from nimad.embed.base import DIMS, CosineScale, Embedder, Spelt
from nimad.embed.model import Model, read_model
from nimad.embed.static import StaticEmbedder
from nimad.embed.vocabulary import TextKernels
from nimad.embed.wordpiece import WordPiece
from nimad.errors import EmbedderMissing

RULES = 2
"""Counts the changes to this file that change a vector."""
SHARE = 0.5
"""What the transformer counts of a cosine between English texts."""


class MiniLmEmbedder(Embedder):
    """Vectors of 384 and 256 dimensions; 2 to 4 ms a text on one core."""

    name = "minilm"
    by_spelling = True
    scale = CosineScale(near=0.30, right=0.68, usual=0.10)
    # it reads a turn as a whole, so the neighbours' vectors say more that is new
    neighbour_shares = (0.3, 0.2)

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises EmbedderMissing without ONNX Runtime, TableDamaged when the model is not whole."""
        model: Model = read_model(path)
        self._static = StaticEmbedder()
        self.revision = f"{RULES}-{model.digest[:16]}-{self._static.revision}"
        self.dims = model.words.shape[1] + DIMS
        self._words, self._scales, self._places = model.words, model.scales, model.places
        self._frame = (model.opens, model.closes)
        self._run = _session(bytes(model.layers), threads).run

    @classmethod
    def create(cls, config: Config) -> MiniLmEmbedder:
        """The model of the package nimad-minilm.  Raises EmbedderMissing, TableDamaged."""
        return cls(find_model(), config["minilm.threads"])

    @property
    def trouble(self) -> str | None:  # type: ignore[override]
        """See `nimad.embed.base.Embedder`."""
        return self._static.trouble

    @property
    def wordpiece(self) -> WordPiece:  # type: ignore[override]
        """That of the static embedder, whose tokens are the same."""
        return self._static.wordpiece

    def check(self) -> None:
        """See `nimad.embed.base.Embedder`."""
        self._static.check()

    def use(self, kernels: Callable[[], TextKernels]) -> None:
        """See `nimad.embed.base.Embedder`."""
        self._static.use(kernels)

    def give_back(self) -> None:
        """See `nimad.embed.base.Embedder`."""
        self._static.give_back()

    def rest(self) -> None:
        """See `nimad.embed.base.Embedder`."""
        self._static.rest()

    def spell(self, word: str) -> Spelt:
        """See `nimad.embed.base.Embedder`."""
        return self._static.spell(word)

    def scale_of(self, text: str) -> CosineScale:
        """See `nimad.embed.base.Embedder`; that of the static vectors for what they alone read."""
        _, english = self._static.read_english(text)
        return self.scale if _share(english) else self._static.scale

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dims]: see `nimad.embed.base.Embedder`."""
        whole = self.dims - DIMS
        rows = np.zeros((len(texts), self.dims), np.float32)
        rows[:, whole:] = self._static.embed(texts)
        for place in sorted(range(len(texts)), key=lambda n: len(texts[n])):
            tokens, english = self._static.read_english(texts[place])
            if share := _share(english):
                rows[place, :whole] = self._meant(tokens) * np.float32(math.sqrt(share))
                rows[place, whole:] *= np.float32(math.sqrt(1 - share))
        return rows

    def embed_words(self, words: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, 256]: the static vectors; a word alone is no sentence to read."""
        return self._static.embed(words)

    def _meant(self, tokens: list[int]) -> NDArray[np.float32]:
        """float32[384]: the transformer's vector of token ids."""
        opens, closes = self._frame
        ids = [opens, *tokens[: len(self._places) - 2], closes]
        inputs = self._words[ids] * self._scales[ids, None] + self._places[: len(ids)]
        mean = self._run(None, {"inputs": inputs[None]})[0][0].astype(np.float64)
        return np.asarray(mean / np.sqrt(np.square(mean).sum()), np.float32)


def _share(english: float) -> float:
    """What the transformer counts in a text of which so much is English."""
    return SHARE * max(2 * english - 1, 0.0)


def model_places() -> list[Path]:
    """Where minilm.model is looked for: beside the static table (the package nimad-minilm puts it
    there), then in the user's cache (`make minilm` does)."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return [Path(__file__).parent / "data" / "minilm.model", Path(base) / "nimad" / "minilm.model"]


def find_model() -> Path:
    """The file of the embedder minilm.  Raises EmbedderMissing."""
    for place in model_places():
        if os.access(place, os.R_OK):
            return place
    raise EmbedderMissing(name="minilm", detail=f"there is no {model_places()[0]}")


def _session(layers: bytes, threads: int) -> Any:
    """The runtime with a model in it, on `threads` threads, without pools that only grow."""
    try:
        import onnxruntime
    except ImportError as error:
        raise EmbedderMissing(
            name="minilm", detail=f"ONNX Runtime cannot be loaded: {error}"
        ) from error
    onnxruntime.set_default_logger_severity(3)
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(layers, options, providers=["CPUExecutionProvider"])
    session._model_bytes = None  # 11 MB, kept for a fallback to other processors than the CPU
    return session
