"""What both embedders must do with texts: kind, odd, huge, and in any language."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nimad.embed.base import Embedder
from nimad.embed.registry import get_embedder
from nimad.errors import EmbedderMissing
from nimad.keys import EMBEDDERS
from tests.pace import measure_pace

TEXTS = [
    "The heating in the kitchen is broken again, the plumber comes on Thursday.",
    "I planted tomatoes and basil on the balcony.",
    "My brother adopted a grey cat called Moritz.",
    "Der Zug nach Hamburg hatte heute zwei Stunden Verspätung.",
    "Поезд в Москву опоздал на два часа.",
    "昨日、東京で友達と寿司を食べました。",
    "เมื่อวานฉันไปตลาดกับแม่",
    "🎉🎂 !!!",
    "x",
    "",
]
ODD = {
    "empty": "",
    "spaces": " \t\n\r\u2003\u3000 ",
    "nul": "\0" * 50,
    "controls": "".join(map(chr, range(32))) + "\x7f\x85\u200b\u202e\ufeff\ufffd",
    "surrogates": "\ud800 lone \udfff\udc00",
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f",
    "unknown": "\U00012000\U00013000 \U0001e900",
    "marks": "e" + "\u0301" * 1000,
    "punctuation": "?!.,;:-_()[]{}<>/\\|@#$%^&*~`'\"",
    "special tokens": "[CLS] [SEP] [PAD] [MASK] [UNK]",
}


@pytest.fixture(params=[name for name in EMBEDDERS if name != "http"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    try:
        return get_embedder(request.param)
    except EmbedderMissing as error:
        pytest.skip(f"{error.message} (`make minilm` makes it)")


def assert_unit_or_zero(rows: np.ndarray) -> None:
    assert rows.dtype == np.float32 and np.isfinite(rows).all()
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0)), lengths


@pytest.mark.parametrize("name", ODD)
def test_odd_texts_give_a_unit_row_or_a_zero_row(embedder: Embedder, name: str) -> None:
    rows = embedder.embed([ODD[name], f"cat {ODD[name]} dog"])
    assert_unit_or_zero(rows)
    assert rows[1].any()
    if name in ("empty", "spaces", "nul"):
        assert not rows[0].any()


def test_nothing_in_gives_nothing_out(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dims)


def test_a_row_does_not_depend_on_its_batch_or_on_what_came_before(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    assert_unit_or_zero(together)
    for text, row in zip(TEXTS, together, strict=True):
        assert embedder.embed([text])[0].tobytes() == row.tobytes()
    mixed = embedder.embed([f"other text {i}" for i in range(500)] + TEXTS[::-1])
    assert mixed[: -len(TEXTS) - 1 : -1].tobytes() == together.tobytes()


def test_threads_see_the_same_rows(embedder: Embedder) -> None:
    texts = [f"{text} {i}" for i in range(40) for text in TEXTS]
    expected = embedder.embed(texts).tobytes()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: embedder.embed(texts).tobytes(), range(8))) == {expected}


def test_another_process_sees_the_same_rows(embedder: Embedder) -> None:
    code = (
        "import sys, json; from nimad.embed.registry import get_embedder\n"
        "texts = json.load(sys.stdin)\n"
        f"sys.stdout.write(get_embedder({embedder.name!r}).embed(texts).tobytes().hex())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"},
    )
    assert run.stdout == embedder.embed(TEXTS).tobytes().hex()


HUGE = {
    "one word": "a" * 200_000,
    "one unknown word": "\U00012000" * 200_000,
    "words": "the quick memory " * 11_765,
    "new words": " ".join(f"w{i:x}" for i in range(33_000)),
    "ideographs": "\u6f22\u5b57\u4eee\u540d" * 50_000,
    "Thai": "\u0e01\u0e32\u0e23" * 66_667,
    "emoji": "\U0001f600\U0001f9e0" * 100_000,
    "punctuation": "?!" * 100_000,
    "marks": "\u0301" * 200_000,
}


@pytest.mark.parametrize("name", HUGE)
def test_texts_of_200_000_characters_take_linear_time(embedder: Embedder, name: str) -> None:
    quarter = HUGE[name][: len(HUGE[name]) // 4]
    with measure_pace() as part:
        assert_unit_or_zero(embedder.embed([quarter]))
    with measure_pace() as whole:
        assert_unit_or_zero(embedder.embed([HUGE[name]]))
    assert whole.seconds < 8 * part.seconds + 0.5, "a quadratic way takes 16 times as long"


# (question, the memory it is about, one that it is not about)
MEANT = [
    (
        "Where did she grow up?",
        "My childhood was spent in a small town.",
        "The printer has no ink.",
    ),
    ("What pets do they have?", "We got a puppy and two kittens.", "The flight was delayed."),
    ("favourite music", "I listen to jazz records every evening.", "Our car needs new tyres."),
    ("Was anyone ill?", "He caught the flu and saw a doctor.", "She repaired the old bicycle."),
    ("Which server crashed?", "The database host went down at night.", "Grandma bakes bread."),
]
SPELT = [
    ("поезда в Москве", TEXTS[4]),
    ("寿司を食べる", TEXTS[5]),
    ("ตลาด", TEXTS[6]),
    ("Verspätungen der Züge nach Hamburg", TEXTS[3]),
    ("🎉", TEXTS[7]),
    ("MORITZ", TEXTS[2]),
]


@pytest.mark.parametrize(("question", "right", "wrong"), MEANT)
def test_static_finds_by_meaning(question: str, right: str, wrong: str) -> None:
    asked, good, bad = get_embedder("static").embed([question, right, wrong])
    assert asked @ good > asked @ bad + 0.05


@pytest.mark.parametrize(("question", "right"), SPELT)
def test_words_of_any_language_are_found_by_spelling(
    embedder: Embedder, question: str, right: str
) -> None:
    scores = embedder.embed(TEXTS) @ embedder.embed([question])[0]
    assert TEXTS[int(scores.argmax())] == right
