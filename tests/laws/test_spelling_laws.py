"""What words are hashed to, in every form; and what odd texts ask for: never more than in
proportion to their length."""

from __future__ import annotations

import resource
import sys
import unicodedata
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nimad.embed.hashes import PYTHON, Lengths
from nimad.embed.lexicon import Lexicon, place
from nimad.embed.static import StaticEmbedder
from nimad.index.kernels.contract import Kernels
from nimad.index.kernels.loader import load_kernels, objects
from nimad.text import common_form, composed, indexed, normalized
from tests.pace import measure_pace
from tests.threads import Background

BY_PYTHON, BY_KERNEL = StaticEmbedder(), StaticEmbedder()
BY_KERNEL.use(load_kernels)
OBJECTS = {kernels.name: kernels for kernels in objects()}
PARTS = ("haus", "hausboot", "boot", "ab", "漢字", "字", "가", "가나", "ß" * 16)
ANY = st.text(st.characters(codec=None), min_size=1, max_size=40)
WORDS = ANY | st.lists(st.sampled_from((*PARTS, "x", "𝄞")), min_size=1, max_size=9).map("".join)


def small_lexicon() -> Lexicon:
    """PARTS in 16 slots, which the search goes around the end of."""
    checks = np.zeros(16, np.uint32)
    for word in PARTS:
        slot, check = place(word, len(checks))
        while checks[slot]:
            slot = (slot + 1) % len(checks)
        checks[slot] = check
    return Lexicon("", checks, np.zeros((16, 4), np.uint16), np.zeros(1, np.int8))


@pytest.fixture(scope="module", params=[*OBJECTS])
def form(request: pytest.FixtureRequest) -> Kernels:
    return OBJECTS[request.param]


@settings(max_examples=100, deadline=None)
@given(word=WORDS, lengths=st.sampled_from([Lengths(4, 4, 16), Lengths(1, 1, 8), Lengths(1, 2, 8)]))
@example(word="𝄞" * 40, lengths=Lengths(1, 1, 32))
def test_words_are_hashed_and_cut_as_python_does(
    form: Kernels, word: str, lengths: Lengths
) -> None:
    lexicon = small_lexicon()
    found = form.parts(word, lengths, lexicon)
    assert found.tolist() == PYTHON.parts(word, lengths, lexicon).tolist()
    for least, most in ((1, 2), (4, 5), (1, 32)):
        assert form.grams(word, least, most) == PYTHON.grams(word, least, most)


def test_what_does_not_fit_a_block_is_refused(form: Kernels) -> None:
    with pytest.raises(ValueError, match="n-grams"):
        form.grams("x", 1, 33)
    with pytest.raises(ValueError, match="parts"):
        form.parts("x", Lengths(1, 1, 33), small_lexicon())
    full = Lexicon("", np.ones(4, np.uint32), np.zeros((4, 4), np.uint16), np.zeros(1, np.int8))
    with pytest.raises(ValueError, match="slots"):
        form.parts("x", Lengths(1, 1, 8), full)


@settings(max_examples=8, deadline=None)
@given(
    parts=st.lists(st.sampled_from((*PARTS, "qzx", "가나다", "字漢")), min_size=1, max_size=9),
    times=st.sampled_from([1, 700]),
)
def test_a_long_run_is_cut_in_parts_as_it_is_whole(parts: list[str], times: int) -> None:
    """A kernel and Python give the same rows, however long a run is."""
    text = "".join(parts) * times
    assert BY_KERNEL.embed([text]).tobytes() == BY_PYTHON.embed([text]).tobytes()


MARKS = st.text("\u0301\u0316\u0344\u093c\u094d\u0f73\u3099\uff9e\uff9fé!😀 \u1ab0", max_size=60)


@settings(max_examples=300, deadline=None)
@given(text=MARKS | ANY, times=st.sampled_from([1, 2, 7]))
def test_marks_in_any_order_are_normalized_as_unicode_says(text: str, times: int) -> None:
    for normal_form in ("NFC", "NFD", "NFKC", "NFKD"):
        whole = text * times
        assert normalized(normal_form, whole) == unicodedata.normalize(normal_form, whole)


def _random(low: int, high: int, word: int = 1 << 30) -> Callable[[int], str]:
    """Characters of a range, in words of a length."""

    def made(size: int) -> str:
        signs = Random(7).choices(range(low, high), k=size)
        return "".join(" " if at % word == word - 1 else chr(n) for at, n in enumerate(signs))

    return made


ODD: dict[str, Callable[[int], str]] = {
    "unknown words": _random(97, 123, 9),
    "long unknown words": _random(97, 123, 65),
    "one word": _random(97, 123),
    "digits": _random(48, 58),
    "numbers": _random(48, 58, 7),
    "hexadecimal": lambda size: " ".join(Random(7).randbytes(16).hex() for _ in range(size // 33)),
    "all planes": _random(0xE000, 0x2FFFF),
    "Latin with marks": _random(0xC0, 0x24F, 9),
    "Cyrillic": _random(0x430, 0x450, 9),
    "Arabic": _random(0x621, 0x64B, 7),
    "Devanagari": _random(0x904, 0x94E, 9),
    "Thai": _random(0xE01, 0xE3B),
    "Chinese": _random(0x4E00, 0x9FA6),
    "kana": _random(0x3041, 0x3097),
    "Hangul": _random(0xAC00, 0xD7A4),
    "emoji": _random(0x1F300, 0x1F600),
    "marks in disorder": lambda size: "a" + "\u0301\u0316" * (size // 2),
    "voicing marks": lambda size: "か" + "\u0301\uff9e" * (size // 2),
    "Indic signs": lambda size: "क" + "\u094d\u093c" * (size // 2),
    "vowels that come apart": lambda size: "ཀ" + "\u0f73" * size,
    "ligature of 18": lambda size: "\ufdfa" * size,
    "joints": lambda size: "ä" + "-/" * (size // 2),
    "underscores": lambda size: "_" * size,
    "blanks": lambda size: "a" + " \n\t " * (size // 4) + "b",
    "dates": lambda size: "2024-05-01 " * (size // 11),
    "Chinese dates": lambda size: "1年1月1日" * (size // 6),
    "lone surrogates": lambda size: "\ud800" * size,
}


def read(text: str) -> None:
    """All that is done with a text whose length nothing bounds."""
    BY_KERNEL.embed([text])
    composed(text), common_form(text), indexed(text)


def steps(text: str) -> int:
    """How many functions are called, Python's and others."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    read(text[:50])
    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        read(text)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("kind", [*ODD])
def test_no_kind_of_text_asks_for_many_steps(kind: str) -> None:
    few, many = steps(ODD[kind](500)), steps(ODD[kind](2500))
    assert many - few < 2000 * 100


@pytest.mark.parametrize("kind", [*ODD])
def test_no_step_takes_long(kind: str) -> None:
    """What a function in C does within one call: 20,000 marks took .35 s each time."""
    with measure_pace() as pace:
        read(ODD[kind](20_000))
    assert pace.seconds < 1.2


@pytest.mark.parametrize("kind", ["unknown words", "Cyrillic", "Latin with marks"])
def test_threads_that_read_words_do_not_take_turns_at_each_of_them(kind: str) -> None:
    """With the interpreter's lock handed over at each word two threads took twice as long."""
    text = ODD[kind](20_000)
    BY_KERNEL.embed([text[:50]])
    switches: list[int] = []

    def work() -> None:
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        BY_KERNEL.embed([text])
        switches.append(resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before)

    with Background(work), Background(work):
        pass
    assert len(switches) == 2
    assert sum(switches) < len(text.split()) / 2
