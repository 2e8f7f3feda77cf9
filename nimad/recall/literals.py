"""Identifiers, paths, options, versions: what a query means to the letter.

The words index has only their parts, "/tmp/search.txt" is three words there, and all three stand in
many a memory.  So those that hold every part are read, and the ones that hold the whole count like
holders of one more word, as rare as it is.
"""

from __future__ import annotations

from nimad.patterns import lazy_pattern
from nimad.text import composed, tokens

MOST = 4
"""Number of literals of a query that are looked for; of more the longest."""
READ = 1000
"""Memories that are read for a literal at most, those that score best without it: about 2 ms."""

_RUN = lazy_pattern("[!-~\u00a1-\u024f\u0370-\u052f]+")
_AROUND = "\"'`“”‘’«»„()[]{}<>,;:!?…*"
"""Signs that stand around a word, and are no part of it."""
_HINT = lazy_pattern(r"[\d_]|[^\w\s.,?!'’-]|\.\w|(?<!\w)-")
"""Something that every text with a literal has."""
_ASCII = lazy_pattern("[!-~]+")
_SIGN = lazy_pattern(r"^-+\w|[^\W\d_]-*\d|\d-*[^\W\d_]|[^\w\s’'-]|_")
"""What no ordinary word has: a sign inside that is neither hyphen nor apostrophe, a hyphen before
it, or digits beside letters."""


def find_literals(text: str) -> list[str]:
    """Those of a query, case-folded, each once, in order."""
    found: dict[str, None] = {}
    if not _HINT.search(text):
        return []
    for run in _RUN.findall(text):
        word = run.strip(_AROUND).rstrip(".").casefold()
        if _SIGN.search(word) and len("".join(tokens(word))) > 1:
            found[word] = None
    if len(found) > MOST:
        longest = sorted(found, key=len, reverse=True)[:MOST]
        return [word for word in found if word in longest]
    return list(found)


def ascii_part(literal: str) -> str:
    """The longest part of a literal that is ASCII, by which SQLite can look for it."""
    return max(_ASCII.findall(literal), key=len, default="")


def holds(text: str, literal: str) -> bool:
    """Whether a text holds a literal in any case, and not as a part of a longer word."""
    text = composed(text).casefold()
    place = text.find(literal)
    while place >= 0:
        end = place + len(literal)
        before, after = text[max(place - 1, 0) : place], text[end : end + 1]
        inside = (before + literal[0]).isalnum() and before != ""
        if not inside and not (after != "" and (literal[-1] + after).isalnum()):
            return True
        place = text.find(literal, place + 1)
    return False
