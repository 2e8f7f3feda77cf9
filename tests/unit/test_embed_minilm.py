"""The transformer: what it makes of texts, and what is said when it is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nimad.config import Config
from nimad.embed.base import DIMS
from nimad.embed.minilm import MiniLmEmbedder, find_model
from nimad.embed.model import Model, read_model, write_model
from nimad.embed.registry import get_embedder
from nimad.embed.static import StaticEmbedder
from nimad.errors import EmbedderMissing, TableDamaged


@pytest.fixture(scope="module")
def path() -> Path:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    try:
        return find_model()
    except EmbedderMissing as error:
        pytest.skip(f"{error.message} (`make minilm` makes it)")


@pytest.fixture(scope="module")
def minilm(path: Path) -> MiniLmEmbedder:
    return MiniLmEmbedder(path)


def likeness(minilm: MiniLmEmbedder, one: str, other: str) -> float:
    a, b = minilm.embed([one, other])
    return float(a @ b)


def test_meaning_is_found_without_a_common_word(minilm: MiniLmEmbedder) -> None:
    asked = "Which pet did my sibling get?"
    near = likeness(minilm, asked, "My brother adopted a grey cat called Moritz.")
    far = likeness(minilm, asked, "The heating in the kitchen is broken again.")
    assert near > far + 0.2


def test_other_scripts_meet_by_spelling(minilm: MiniLmEmbedder) -> None:
    one = "\u6771\u4eac\u306e\u5929\u6c17"
    same = likeness(minilm, one, one + "\u306f\u6674\u308c")
    other = likeness(minilm, one, "\u732b\u304c\u597d\u304d\u3067\u3059")
    assert same > 0.5 > other + 0.2


def test_the_tokenizer_is_that_of_the_static_embedder(minilm: MiniLmEmbedder) -> None:
    static = get_embedder("static")
    assert isinstance(static, StaticEmbedder)
    text = "Caf\u00e9 na\u00efvet\u00e9, 3:45pm; unhappily-ever-after! [SEP]"
    assert minilm.wordpiece.ids(text) == static.wordpiece.ids(text)


def test_the_transformer_reads_only_the_beginning_of_a_long_text(minilm: MiniLmEmbedder) -> None:
    long = "house " * 254
    one, other = minilm.embed([long, long + "and then a boat"])
    assert np.allclose(one[:-DIMS], other[:-DIMS], atol=1e-6)
    assert not np.allclose(one[-DIMS:], other[-DIMS:], atol=1e-6)


@pytest.mark.parametrize(
    "text", ["Der Hund meiner Schwester hei\u00dft Moritz.", "\u6771\u4eac\u306e\u5929\u6c17", ""]
)
def test_what_is_not_english_has_its_static_vector(minilm: MiniLmEmbedder, text: str) -> None:
    row = minilm.embed([text])[0]
    assert np.array_equal(row[-DIMS:], get_embedder("static").embed([text])[0])
    assert not row[:-DIMS].any()
    assert minilm.scale_of(text) == StaticEmbedder.scale != minilm.scale_of("Which pet is it?")


def test_a_row_is_a_unit_row(minilm: MiniLmEmbedder) -> None:
    texts = [
        "My brother adopted a cat.",
        "My brother adopted eine gescheckte Katze mit Namen Wurzelpeter.",
        "\u6211\u7684 cat \u559c\u6b22 fish",
        "?!",
    ]
    lengths = np.linalg.norm(minilm.embed(texts), axis=1)
    assert np.allclose(lengths[lengths > 0], 1, atol=1e-6) and (lengths[:3] > 0).all()


def test_threads_change_nothing(minilm: MiniLmEmbedder, path: Path) -> None:
    texts = ["a short one", "The heating in the kitchen is broken again. " * 9]
    assert np.allclose(MiniLmEmbedder(path, 2).embed(texts), minilm.embed(texts), atol=1e-5)


def test_a_file_is_what_was_written_or_refused(path: Path, tmp_path: Path) -> None:
    model: Model = read_model(path)
    copy = tmp_path / "minilm.model"
    write_model(copy, model)
    assert copy.read_bytes() == path.read_bytes()
    write_model(copy, replace(model, closes=103))
    assert read_model(copy).digest != model.digest
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    with pytest.raises(TableDamaged):
        read_model(copy)


def test_a_missing_model_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nimad.embed.minilm.model_places", lambda: [tmp_path / "minilm.model"])
    with pytest.raises(EmbedderMissing, match="minilm") as found:
        find_model()
    assert "nimad-minilm" in found.value.next_step


MEMORY = """
import json
from nimad.embed.registry import get_embedder
import numpy, nimad.embed.static
def anonymous():
    lines = dict(line.split(":") for line in open("/proc/self/status") if ":" in line)
    return int(lines["RssAnon"].split()[0])
before = anonymous()
embedder = get_embedder("minilm")
embedder.embed([f"word{i} and some more of a chat sentence" for i in range(50)])
embedder.embed(["a long text of many words " * 60] * 5)
once = anonymous()
embedder.embed(["another long text of many words " * 60] * 40)
print(json.dumps([once - before, anonymous() - once]))
"""


def test_memory_is_bounded(path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", MEMORY],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
    )
    loaded, grown = json.loads(run.stdout)
    assert loaded <= 70_000 and grown <= 10_000  # kB; 48 MB when this was written


def test_threads_are_a_key_of_the_configuration() -> None:
    assert Config()["minilm.threads"] == 1
