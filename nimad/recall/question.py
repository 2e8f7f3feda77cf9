"""A query taken apart: its words as the index has them, whom it names, when, and the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nimad.recall import heads
from nimad.recall.columns import Columns
from nimad.recall.dates import Named, named_dates
from nimad.recall.scopes import Scope
from nimad.store import words
from nimad.store.terms import TermIndex

MOST_TERMS = 64
"""A longer query, a pasted page say, is asked by its first words."""

_WORD = re.compile(r"\w+")
_ENDING = re.compile(r"(?<=\w)['’](?:s|t|m|d|re|ve|ll)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """Attributes:
    terms: of the index, each once.
    met: those that a subject or a date stands for: no memory needs to hold them.
    subjects: codes of the subjects that are named and have memories to be looked at.
    meaning: the text without the words that named them.
    dates: what is asked of dates.
    only_names: nothing was left without the names: whoever is named is the question.
    german: whether it is, by its small words.
    """

    terms: list[str]
    met: frozenset[str]
    subjects: NDArray[np.int64]
    meaning: str
    dates: list[Named]
    only_names: bool
    german: bool


def read(text: str, columns: Columns, terms: TermIndex, scope: Scope, now: int) -> Question:
    """Take a query apart; only subjects of the rows in the scope are known."""
    plain = _ENDING.sub("", text)
    spoken = _WORD.findall(plain)
    named = {
        columns.subjects.codes[name]: words_
        for name, words_ in _named(spoken, columns).items()
        if scope.subjects[columns.subjects.codes[name]]
    }
    named |= _headed(spoken, scope)
    drop = {word for words_ in named.values() for word in words_}
    rest = _WORD.sub(lambda m: "" if m[0].casefold() in drop else m[0], plain)
    whole = not _WORD.search(rest)
    asked = [term for word in words.terms(plain) for term in terms.cut(word)]
    german = words.is_german(spoken)
    if german:  # its small words are in every text, and embedders do not know that they say little
        less = _WORD.sub(lambda m: "" if m[0].casefold() in words.GERMAN else m[0], rest)
        rest = less if _WORD.search(less) else rest
    dates, dated = named_dates(text, now)
    met = drop | dated
    return Question(
        list(dict.fromkeys(asked))[:MOST_TERMS],
        frozenset(term for word in met for term in terms.cut(word)),
        np.array(sorted(named), np.int64),
        text if whole else rest,
        dates,
        whole and bool(named),
        german,
    )


def _named(spoken: list[str], columns: Columns) -> dict[str, set[str]]:
    """The subjects that words may name, with the words that do, case-folded.

    All words of a name in any case; or one of them, when both write it with a capital letter.  A
    word that fills sentences ("will") must have its capital letter, and not begin the text.
    """
    found: dict[str, set[str]] = {}
    low = {word.casefold() for word in spoken}
    marked = {word.casefold() for word in spoken[1:] if word[:1].isupper()}
    capital = marked | {word.casefold() for word in spoken[:1] if word[:1].isupper()}
    for word in low:
        if word in words.STOP_WORDS and word not in marked:
            continue
        for name in columns.subjects.named_by.get(word, ()):
            parts = columns.subjects.parts[name]
            said = parts & low
            if said == parts or (
                word in columns.subjects.capitals.get(name, ()) and word in capital
            ):
                found.setdefault(name, set()).update(said if said == parts else {word})
    return found


def _headed(spoken: list[str], scope: Scope) -> dict[int, set[str]]:
    """The speakers in the texts that words name, all words of the name in their order."""
    found: dict[int, set[str]] = {}
    if not scope.heads:
        return found
    low = [word.casefold() for word in spoken]
    for length in range(1, heads.LONGEST + 1):
        for start in range(len(low) - length + 1):
            said = low[start : start + length]
            plain = length == 1 and said[0] in words.STOP_WORDS
            if plain and not (start and spoken[start][0].isupper()):
                continue
            code = heads.code_of(said)
            if code in scope.heads:
                found.setdefault(code, set()).update(said)
    return found


def capitals(text: str) -> list[str]:
    """The words inside a text that begin with a capital letter: names, mostly.

    None of a text that is German by its small words: there every noun has one.
    """
    found = _WORD.findall(_ENDING.sub("", text))
    if words.is_german(found):
        return []
    return [word for word in found[1:] if word[:1].isupper()]
