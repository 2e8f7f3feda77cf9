"""The file of the minilm embedder: the transformer's layers, its input vectors, its vocabulary.

The file is a container (`nimad.disk.container`: magic, checksums, refusals) of the format "minilm",
made by packaging/build_minilm.py.  Everything is little-endian.  Version 1 has these regions, for a
vocabulary of V tokens, texts of up to P places and D dimensions:

    name        type          meaning
    ----------  ------------  ------------------------------------------------------------------
    numbers     u32[4]        D; id of the first token; ids that open and that close a text
    words       i8[V, D]      input vector of each token id, in steps of its scale
    scales      f32[V]        size of a step
    places      f32[P, D]     what a place in the text adds
    layers      ONNX          inputs: f32[texts, tokens, D] to mean: f32[texts, D]
    tokens      UTF-8         tokens from the first one on, as in `nimad.embed.table`
    characters  UTF-8         what code points become, as in `nimad.embed.table`

The input vectors stay outside of the ONNX part, so that they can be mapped: a store's texts use a
few thousand of the 30,522.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.disk.container import Summary, write_container
from nimad.embed.table import opened, read_spans, write_spans
from nimad.embed.wordpiece import Span, TokenLines

FORMAT = "minilm"
VERSION = 1
_NUMBERS = struct.Struct("<IIII")


@dataclass(frozen=True)
class Model:
    """What one embedder file holds; arrays are mapped when it was read.

    Attributes:
        words: int8[V, D], scales: float32[V]: `words[i] * scales[i]` enters for token id i.
        places: float32[P, D]; P is the longest text, opening and closing token included.
        layers: an ONNX model, see above.
        tokens, spans: for the tokenizer; token i has the id `first + i`.
        opens, closes: ids of the tokens around every text.
        digest: of the content.  "" before it is written.
    """

    words: NDArray[np.int8]
    scales: NDArray[np.float32]
    places: NDArray[np.float32]
    layers: bytes | memoryview
    tokens: Sequence[str]
    spans: Sequence[Span]
    first: int
    opens: int
    closes: int
    digest: str = ""


def write_model(path: Path, model: Model) -> Summary:
    """Write a model durably; the same model gives the same bytes."""
    dims = model.words.shape[1]
    regions = [
        ("numbers", [_NUMBERS.pack(dims, model.first, model.opens, model.closes)]),
        ("words", [model.words.astype("<i1").tobytes()]),
        ("scales", [model.scales.astype("<f4").tobytes()]),
        ("places", [model.places.astype("<f4").tobytes()]),
        ("layers", [bytes(model.layers)]),
        ("tokens", ["\n".join(model.tokens).encode()]),
        ("characters", [write_spans(model.spans)]),
    ]
    return write_container(path, FORMAT, VERSION, regions)


def read_model(path: Path) -> Model:
    """Map a model after comparing every checksum.  About 30 ms.  Raises TableDamaged when the file
    is missing, is not what was written, or is of another version."""
    with opened(path, FORMAT, VERSION) as container:
        dims, first, opens, closes = _NUMBERS.unpack(container.region("numbers"))
        return Model(
            words=np.frombuffer(container.region("words"), "<i1").reshape(-1, dims),
            scales=np.frombuffer(container.region("scales"), "<f4"),
            places=np.frombuffer(container.region("places"), "<f4").reshape(-1, dims),
            layers=container.region("layers"),
            tokens=TokenLines(container.region("tokens")),
            spans=read_spans(container.region("characters")),
            first=first,
            opens=opens,
            closes=closes,
            digest=container.digest,
        )
