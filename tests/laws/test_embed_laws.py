"""Laws of the embedders, over random texts of every code point, lone surrogates included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.embed.base import unit_rows
from nimad.embed.features import add_features, features, words
from nimad.embed.registry import ALWAYS_THERE, get_embedder

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)

laws = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize("name", ALWAYS_THERE)
@given(texts=st.lists(ANY_TEXT, max_size=4))
@laws
def test_rows_are_unit_or_zero_and_independent(name: str, texts: list[str]) -> None:
    embedder = get_embedder(name)
    rows = embedder.embed(texts)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))
    for text, row in zip(texts, rows, strict=True):
        assert embedder.embed([text]).tobytes() == row.tobytes()


@pytest.mark.parametrize("name", ALWAYS_THERE)
@given(left=ANY_TEXT, right=ANY_TEXT)
@laws
def test_the_order_of_texts_around_a_space_does_not_matter(
    name: str, left: str, right: str
) -> None:
    embedder = get_embedder(name)
    one, other = embedder.embed([f"{left} {right}", f"{right} {left}"])
    assert one.tobytes() == other.tobytes()  # sums of whole numbers: not even the last bit


@given(text=ANY_TEXT)
@laws
def test_case_and_accents_do_not_matter_to_hashed_words(text: str) -> None:
    plain = "".join(sign for sign in text if sign.isascii())
    assert words(plain) == words(plain.upper())
    assert words(f"Caf\u00e9 {text}") == ["cafe", *words(text)]


@given(word=st.text(min_size=1, max_size=40))
@laws
def test_each_feature_adds_the_same_length(word: str) -> None:
    for feature in features(word):
        row = np.zeros(256)
        add_features(np.array([feature], np.int64), 3, row)
        assert np.abs(row).sum() in (0, 6, 12)  # 4 buckets of 3; two may meet and cancel
        assert 0 <= feature < 1 << 40


@given(
    values=st.lists(
        st.lists(st.integers(-(1 << 45), 1 << 45), min_size=5, max_size=5), min_size=1, max_size=5
    )
)
@laws
def test_unit_rows_have_length_one_and_the_same_direction(values: list[list[int]]) -> None:
    sums = np.array(values, np.float64)
    rows = unit_rows(sums.copy()).astype(np.float64)
    for given_row, row in zip(sums, rows, strict=True):
        length = np.linalg.norm(given_row)
        assert np.allclose(row * length, given_row, atol=length * 1e-6)


@given(text=st.text(st.characters(max_codepoint=127)))
def test_words_of_ascii_are_those_of_any_text(text: str) -> None:
    assert [*words(text), "zurich"] == words(f"{text} Z\u00fcrich")
