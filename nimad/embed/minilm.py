"""The transformer all-MiniLM-L6-v2, in 8 bits, through ONNX Runtime.

A vector is the mean of the last states, at length 1, as the model was trained; texts are cut off
after 254 tokens, as it was, too.  It reads English.  Whatever its vocabulary cannot spell (other
scripts, emoji, made-up names) is hashed from its spelling, as in the static embedder, and mixed in
by its share of the words: so equal and similar words meet in any language.

Texts go through one at a time, the short ones first.  The layers scale their 8-bit numbers to the
largest in the batch, so a neighbour would change a text's vector; and on one core a batch is no
faster (docs/embedders.md has the figures).  Memory does not grow with the number of texts.

Another processor may round otherwise: vectors agree between machines to about 0.001, not bit for
bit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.config import Config
from nimad.embed.base import DIMS, CosineScale, Embedder, Spelt, unit_rows
from nimad.embed.features import HASHED, Spelling, add_features
from nimad.embed.model import Model, read_model
from nimad.embed.wordpiece import WordPiece
from nimad.errors import EmbedderMissing

RULES = 1
"""Counts the changes to this file and to `features` that change a vector."""


class MiniLmEmbedder(Embedder):
    """Vectors of 384 dimensions; 2 to 4 ms a text on one core."""

    name = "minilm"
    by_spelling = True
    scale = CosineScale(near=0.15, right=0.60, usual=0.05)
    # it reads a turn as a whole, so the neighbours' vectors say more that is new
    neighbour_shares = (0.3, 0.2)

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises EmbedderMissing without ONNX Runtime, TableDamaged when the model is not whole."""
        model: Model = read_model(path)
        self.revision = f"{RULES}-{model.digest[:16]}"
        self.dims = model.words.shape[1]
        self.wordpiece = WordPiece(model.tokens, model.first, model.spans)
        self._spelling = Spelling(self.wordpiece)
        self._words, self._scales, self._places = model.words, model.scales, model.places
        self._frame = (model.opens, model.closes)
        self._run = _session(bytes(model.layers), threads).run

    @classmethod
    def create(cls, config: Config) -> MiniLmEmbedder:
        """The model of the package nimad-minilm.  Raises EmbedderMissing, TableDamaged."""
        return cls(find_model(), config["minilm.threads"])

    def spell(self, word: str) -> Spelt:
        """See `nimad.embed.base.Embedder`."""
        return self._spelling.spell(word)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, 384]: see `nimad.embed.base.Embedder`."""
        rows = np.zeros((len(texts), self.dims), np.float32)
        for place in sorted(range(len(texts)), key=lambda n: len(texts[n])):
            rows[place] = self._one(texts[place])
        return rows

    def _one(self, text: str) -> NDArray[np.float32]:
        found = self._spelling.read(text)
        tokens = [number for number in found if number < HASHED]
        if len(tokens) == len(found):
            return self._meant(tokens) if tokens else np.zeros(self.dims, np.float32)
        sums = np.zeros((1, DIMS), np.float64)
        add_features([number - HASHED for number in found if number >= HASHED], 1, sums[0])
        spelt = np.zeros(self.dims, np.float32)
        spelt[:DIMS] = unit_rows(sums)[0]
        if not tokens:
            return spelt
        # features of a word are several: what counts is how many words they stand for
        strange = self._spelling.strange(text)
        share = strange / (strange + len(tokens))
        mixed = np.sqrt(1 - share) * self._meant(tokens) + np.sqrt(share) * spelt
        return np.asarray(mixed / np.sqrt(np.square(mixed).sum()), np.float32)

    def _meant(self, tokens: list[int]) -> NDArray[np.float32]:
        """float32[384]: the transformer's vector of token ids."""
        opens, closes = self._frame
        ids = [opens, *tokens[: len(self._places) - 2], closes]
        inputs = self._words[ids] * self._scales[ids, None] + self._places[: len(ids)]
        mean = self._run(None, {"inputs": inputs[None]})[0][0].astype(np.float64)
        return np.asarray(mean / np.sqrt(np.square(mean).sum()), np.float32)


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
