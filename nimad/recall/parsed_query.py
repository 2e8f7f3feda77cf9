"""A query taken apart: its words as the index has them, the speakers and dates it names.

A message as the query, with a question at its end or without one, is *long*: it has more words than
a question.  Its last paragraph says what is wanted, the rest what it is about; of a paragraph that
is long itself its last sentence does.  So the names, dates and meaning of that part count, and its
words double; of all words the rare ones that occur in memories are asked (`nimad.recall.lexical`),
and what no memory mentions speaks against nothing.

What a query costs does not grow with its length: what is looked at is cut before anything is read.
"""

from __future__ import annotations

import re
from bisect import bisect, bisect_left
from datetime import tzinfo
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from nimad.dataclass import dataclass
from nimad.patterns import lazy_pattern
from nimad.recall import speaker_prefix
from nimad.recall.columns import Columns
from nimad.recall.comparisons import compared_words
from nimad.recall.dates import NamedDates, named_dates
from nimad.recall.layers import layer_asked
from nimad.recall.literals import find_literals
from nimad.recall.scopes import Scope
from nimad.store import words
from nimad.text import composed, is_paired, signs, tokens, word_pattern, words_of
from nimad.words.index import TermIndex

LONG = 32
"""Number of words from which on a query is long; those without content do not count, and two pairs
of a dense script are one [words]."""
MOST_TERMS = 64
"""Number of terms that are looked at of the last paragraph, of what is before it, and of
capitalised words [terms]."""
LOOKED_AT = 4000
"""Length of the part of a query that is taken apart; of a longer one its beginning and its end,
half each [characters]."""
DENSE = 4
"""Letters that a sign counts for from Thai on, but for those of Latin and Greek: one says as much,
and takes thirty times as long to be looked up."""
NAMED_IN = 2000
"""Length of the longest part in which dates are looked for [characters]."""

FOCUS = 4.0
"""Factor of the rarity of terms of the wanted part of a long query."""
ENOUGH = 3
"""Words of the last sentences that say what is wanted, at least; two pairs of a dense script are
one [words]."""

_YEAR = lazy_pattern(r"(?<!\d)\d{4}(?!\d)")
_PARAGRAPH = lazy_pattern(r"\n[^\S\n]*\n")
_SENTENCE = lazy_pattern(
    r"(?<=[.!?…])\s+|(?:(?<=[。！？])|(?<=[!?])(?=[^\x00-\x7f]))(?![\"”’»」』）)])|\n"
)
"""Between two sentences; wide marks are usual ones by then (`composed`), with no blank behind."""
_ENDING = lazy_pattern(r"(?<=\w)['’](?:s|t|m|d|re|ve|ll)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """Attributes:
    terms: of the index, each once; see `TermIndex.cut`.
    factors: of the rarity of some terms: those of the wanted part of a long query count double,
        pairs of characters with a small word of Chinese in them half.
    met: the terms that a subject or a date stands for, or that something is compared with: no
        memory needs to hold them.
    dated: those of them that a date stands for.
    literals: what a text must hold to the letter, see `nimad.recall.literals`.
    subjects: codes of the subjects that are named and have memories to be looked at.
    meaning: the text without the words that named them; of a long query its wanted part.
    around: the whole of a long query; "" of another.
    dates: what is asked of dates, which are those of `zone`.
    layer: which it asks of, see `nimad.recall.layers`; None when it does not tell.
    dense: whether most of it is of a script that is cut into pairs of characters.
    only_names: nothing is left without the names: what these speakers said is asked.
    german: whether it is German, by its small words.
    """

    terms: list[str]
    factors: dict[str, float]
    met: frozenset[str]
    dated: frozenset[str]
    literals: list[str]
    subjects: NDArray[np.int64]
    meaning: str
    around: str
    dates: NamedDates
    zone: tzinfo
    layer: str | None
    dense: bool
    only_names: bool
    german: bool


def looked_at(text: str) -> str:
    """The part of a query that is taken apart: what a query costs has a bound."""
    if DENSE * len(text) <= LOOKED_AT:
        return text
    half = LOOKED_AT // 2
    if text.isascii():
        return text if len(text) <= LOOKED_AT else f"{text[:half]}\n{text[-half:]}"
    ends = [
        *accumulate(DENSE if "\u0e00" <= sign < "\u1e00" or sign > "\u3002" else 1 for sign in text)
    ]
    if ends[-1] <= LOOKED_AT:
        return text
    return f"{text[: bisect(ends, half)]}\n{text[bisect_left(ends, ends[-1] - half) + 1 :]}"


def parse_query(
    text: str, columns: Columns, terms: TermIndex, scope: Scope, now: int, zone: tzinfo
) -> ParsedQuery:
    """Take a query apart; only subjects of the rows in the scope are known."""
    text = composed(text)
    plain = _ENDING.sub("", text)
    wanted, asked, around = words.terms(plain), list[str](), ""
    if _count(wanted) > LONG:
        around, text = plain, _wanted_part(text)
        plain = _ENDING.sub("", text)
        asked = sorted(wanted, key=len, reverse=True)  # the longest first: they are mostly rare
        wanted = words.terms(plain)
    spoken = words_of(plain)
    word_of = word_pattern(plain.isascii())
    named = {
        columns.subjects.codes[name]: words_
        for name, words_ in _named_subjects(spoken, signs(plain), columns).items()
        if scope.subjects[columns.subjects.codes[name]]
    }
    named |= _named_prefixes(spoken, scope)
    dates = named_dates(text[:NAMED_IN], now, zone)
    drop = {word for words_ in named.values() for word in words_}
    if scope.last:  # a memory that has a time need not hold the date
        drop |= dates.words
    compared = compared_words(text[:NAMED_IN])
    focus = _cut_some(wanted, terms)
    german = words.is_german(spoken)
    rest = _without(plain, drop)
    whole = not word_of.search(rest)
    if german:  # its small words are in every text, and embedders do not know that they say little
        less = word_of.sub(lambda m: "" if m[0].casefold() in words.GERMAN else m[0], rest)
        rest = less if word_of.search(less) else rest
    every = list(dict.fromkeys([*focus, *_cut_some(asked, terms)])) if around else focus
    factors = {term: words.GRAMMAR_SHARE for term in every if words.has_grammar(term)}
    if around:
        factors |= {term: FOCUS * factors.get(term, 1.0) for term in focus}
    dated = frozenset(term for word in dates.words for term in terms.cut(word))
    # a date with its whole year is asked for as a date; one of two digits may be a version
    literals = [
        word
        for word in find_literals(text[:NAMED_IN])
        if not (_YEAR.search(word) and dates.words.issuperset(tokens(word)))
    ]
    return ParsedQuery(
        every,
        factors,
        dated.union(term for word in drop | compared for term in terms.cut(word)),
        dated,
        literals,
        np.array(sorted(named), np.int64),
        text if whole else rest,
        around,
        dates,
        zone,
        layer_asked(text) if scope.layers else None,
        _is_dense(plain),
        whole and bool(named) and not around,
        german,
    )


def _without(text: str, drop: set[str]) -> str:
    """A text without the words whose tokens are all in `drop`."""
    if not drop:
        return text
    word_of = word_pattern(text.isascii())
    if text.isascii():
        return word_of.sub(lambda m: "" if m[0].casefold() in drop else m[0], text)
    return word_of.sub(lambda m: "" if drop.issuperset(tokens(m[0])) else m[0], text)


def _is_dense(text: str) -> bool:
    """Whether most tokens of a text are pairs of characters."""
    if max(text, default="") < "\u0e00":
        return False
    found = tokens(text)
    return 2 * sum(map(is_paired, found)) > len(found)


def _count(found: list[str]) -> float:
    """How many words they are; two pairs of a dense script are one."""
    if "".join(found).isascii():
        return len(found)
    return max(len(found), sum((1 + len(tokens(word))) / 2 for word in found))


def _wanted_part(text: str) -> str:
    """What stands behind the last blank line, else behind the last line end; else everything.  Of a
    long one its last sentence, and those before it while they say too little."""
    part = text = text.strip()
    for last in (_PARAGRAPH.split(text)[-1], text.splitlines()[-1]):
        if len(last) < len(text) and words_of(last):
            part = last
            break
    if _count(words.terms(part)) <= LONG:
        return part
    kept = ""
    for sentence in reversed(_SENTENCE.split(part)):
        kept = f"{sentence} {kept}"
        if _count(words.terms(kept)) >= ENOUGH:
            break
    return kept.strip()


def _cut_some(asked: list[str], terms: TermIndex) -> list[str]:
    """The terms of some words, not more than MOST_TERMS."""
    found = [term for word in asked[:MOST_TERMS] for term in terms.cut(word)]
    return words.content(found)[:MOST_TERMS]


def _named_subjects(spoken: list[str], shown: list[str], columns: Columns) -> dict[str, set[str]]:
    """The subjects that words may name, and signs those that are named by nothing else, with the
    tokens that do.

    All words of a name in any case; or one of them, when both write it with a capital letter, and
    no other name is named by it in full: "Grad B" means no Grad A.  A word that fills sentences
    ("will") must have its capital letter, and not begin the text.
    """
    whole: dict[str, set[str]] = {}
    partly: dict[str, set[str]] = {}
    low = {*tokens(" ".join(spoken)), *shown}
    marked = {token for word in spoken[1:] if word[:1].isupper() for token in tokens(word)}
    capital = marked | {t for word in spoken[:1] if word[:1].isupper() for t in tokens(word)}
    for word in low:
        if word in words.STOP_WORDS and word not in marked:
            continue
        for name in columns.subjects.named_by.get(word, ()):
            parts = columns.subjects.parts[name]
            said = parts & low
            if said == parts:
                whole.setdefault(name, set()).update(said)
            elif word in columns.subjects.capitals.get(name, ()) and word in capital:
                partly.setdefault(name, set()).add(word)
    meant = {word for name in whole for word in whole[name]}
    return whole | {name: said for name, said in partly.items() if not said <= meant}


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
