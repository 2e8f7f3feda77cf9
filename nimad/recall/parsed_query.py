"""A query taken apart: its words as the index has them, the speakers and dates it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
from numpy.typing import NDArray

from nimad.recall import speaker_prefix
from nimad.recall.columns import Columns
from nimad.recall.dates import Named, named_dates
from nimad.recall.scopes import Scope
from nimad.store import words
from nimad.store.terms import TermIndex
from nimad.text import composed, tokens, word_pattern, words_of

MOST_TERMS = 64
"""Number of terms of one query; a longer one, a pasted page say, is asked by its first words, and
by as many of its capitalised words [terms]."""
LOOKED_AT = 4000
"""Length of the part of a query that is taken apart; of a longer one its beginning and its end,
half each [characters]."""

_ENDING = re.compile(r"(?<=\w)['’](?:s|t|m|d|re|ve|ll)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """Attributes:
    terms: of the index, each once.
    met: those that a subject or a date stands for: no memory needs to hold them.
    subjects: codes of the subjects that are named and have memories to be looked at.
    meaning: the text without the words that named them.
    dates: what is asked of dates, which are those of `zone`.
    only_names: nothing is left without the names: what these speakers said is asked.
    german: whether it is German, by its small words.
    """

    terms: list[str]
    met: frozenset[str]
    subjects: NDArray[np.int64]
    meaning: str
    dates: list[Named]
    zone: tzinfo
    only_names: bool
    german: bool


def looked_at(text: str) -> str:
    """The part of a query that is taken apart: what a query costs has a bound."""
    half = LOOKED_AT // 2
    return text if len(text) <= LOOKED_AT else f"{text[:half]}\n{text[-half:]}"


def parse_query(
    text: str, columns: Columns, terms: TermIndex, scope: Scope, now: int, zone: tzinfo
) -> ParsedQuery:
    """Take a query apart; only subjects of the rows in the scope are known."""
    text = composed(text)
    plain = _ENDING.sub("", text)
    spoken = words_of(plain)
    word_of = word_pattern(plain.isascii())
    named = {
        columns.subjects.codes[name]: words_
        for name, words_ in _named_subjects(spoken, columns).items()
        if scope.subjects[columns.subjects.codes[name]]
    }
    named |= _named_prefixes(spoken, scope)
    drop = {word for words_ in named.values() for word in words_}
    rest = word_of.sub(lambda m: "" if drop.issuperset(tokens(m[0])) else m[0], plain)
    whole = not word_of.search(rest)
    asked: dict[str, None] = {}
    for word in words.terms(plain):
        if len(asked) >= MOST_TERMS:
            break
        asked.update(dict.fromkeys(terms.cut(word)))
    german = words.is_german(spoken)
    if german:  # its small words are in every text, and embedders do not know that they say little
        less = word_of.sub(lambda m: "" if m[0].casefold() in words.GERMAN else m[0], rest)
        rest = less if word_of.search(less) else rest
    dates, dated = named_dates(text, now, zone)
    met = drop | dated
    return ParsedQuery(
        list(asked)[:MOST_TERMS],
        frozenset(term for word in met for term in terms.cut(word)),
        np.array(sorted(named), np.int64),
        text if whole else rest,
        dates,
        zone,
        whole and bool(named),
        german,
    )


def _named_subjects(spoken: list[str], columns: Columns) -> dict[str, set[str]]:
    """The subjects that words may name, with the tokens that do.

    All words of a name in any case; or one of them, when both write it with a capital letter.  A
    word that fills sentences ("will") must have its capital letter, and not begin the text.
    """
    found: dict[str, set[str]] = {}
    low = {token for word in spoken for token in tokens(word)}
    marked = {token for word in spoken[1:] if word[:1].isupper() for token in tokens(word)}
    capital = marked | {t for word in spoken[:1] if word[:1].isupper() for t in tokens(word)}
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


def _named_prefixes(spoken: list[str], scope: Scope) -> dict[int, set[str]]:
    """The speakers in the texts that words name, all tokens of the name in their order."""
    found: dict[int, set[str]] = {}
    if not scope.prefixes:
        return found
    said_by = [(token, word[:1].isupper()) for word in spoken for token in tokens(word)]
    low = [token for token, _ in said_by]
    for length in range(1, speaker_prefix.LONGEST + 1):
        for start in range(len(low) - length + 1):
            said = low[start : start + length]
            plain = length == 1 and said[0] in words.STOP_WORDS
            if plain and not (start and said_by[start][1]):
                continue
            code = speaker_prefix.code_of_words(said)
            if code in scope.prefixes:
                found.setdefault(code, set()).update(said)
    return found


def capitalised_words(text: str) -> list[str]:
    """The words inside a text that begin with a capital letter: names, mostly.  None of a text that
    is German by its small words: there every noun has one."""
    found = words_of(_ENDING.sub("", composed(text)))
    if words.is_german(found):
        return []
    return [word for word in found[1:] if word[:1].isupper()][:MOST_TERMS]
