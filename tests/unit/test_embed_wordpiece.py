"""WordPiece over a small vocabulary of our own; the real one is in tests/golden."""

from __future__ import annotations

import pytest

from nimad.embed.wordpiece import LONGEST_WORD, UNKNOWN, Characters, Span, WordPiece

TOKENS = ["!", "a", "b", "un", "kind", "house", "boat", "##a", "##b", "##kind", "##ly", "##boat"]
FIRST = 999
SPANS = [
    Span(0x00, 0x08, ""),
    Span(0x09, 0x0A, " "),
    Span(0x20, 0x20, " "),
    Span(0x21, 0x21, None),
    Span(0x41, 0x41, "a"),
    Span(0xE4, 0xE4, "a"),
    Span(0x4E00, 0x9FFF, None),
]


@pytest.fixture
def wordpiece() -> WordPiece:
    return WordPiece(TOKENS, FIRST, SPANS)


def spelt(wordpiece: WordPiece, text: str) -> list[str]:
    return [TOKENS[i - FIRST] if i != UNKNOWN else "?" for i in wordpiece.ids(text)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \n\t ", []),
        ("house", ["house"]),
        ("houseboat", ["house", "##boat"]),
        ("unkindly", ["un", "##kind", "##ly"]),
        ("kind!kind", ["kind", "!", "kind"]),
        ("A\u00e4a", ["a", "##a", "##a"]),
        ("ho\0use", ["house"]),
        ("house zebra", ["house", "?"]),
        ("housezebra", ["?"]),
        ("a\u6f22\u5b57b", ["a", "?", "?", "b"]),
    ],
)
def test_cuts_from_the_left_into_the_longest_pieces(
    wordpiece: WordPiece, text: str, tokens: list[str]
) -> None:
    assert spelt(wordpiece, text) == tokens


def test_a_word_of_more_than_a_hundred_characters_is_unknown(wordpiece: WordPiece) -> None:
    assert len(wordpiece.ids("a" * LONGEST_WORD)) == LONGEST_WORD
    assert wordpiece.ids("a" * (LONGEST_WORD + 1)) == [UNKNOWN]


def test_the_table_of_characters_stays_small() -> None:
    characters = Characters(SPANS)
    every = "".join(chr(code) for code in range(0x20000))
    assert every.translate(characters).startswith(" ")
    assert len(characters) <= 4096
    assert "\u9999A".translate(characters) == " \u9999 a"  # when it is full, it still works
