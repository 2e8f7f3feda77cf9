"""The words of a text, as the store, the ranking, the embedders and nimactl read them."""

from __future__ import annotations

import re

WORD = re.compile(r"\w+")
"""A run of letters, digits and underscores."""
_PART = re.compile(r"[^\W\d_]+|\d+")


def words_of(text: str) -> list[str]:
    """The words of a text in order, as they are written."""
    return WORD.findall(text)


def folded_words(text: str) -> list[str]:
    """The words of a text in order, each case-folded."""
    return [word.casefold() for word in WORD.findall(text)]


def letters_and_numbers(text: str) -> list[str]:
    """The runs of letters and the runs of digits, in order: "8th" is "8" and "th"."""
    return _PART.findall(text)
