"""Texts as the words index has them: cut into tokens by `nimad.text`, English words stemmed.

The stemmer is that of SQLite's FTS5 ("porter"), asked a token at a time through a table in memory
that holds nothing else; what it said is remembered.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from nimad.patterns import lazy_pattern
from nimad.text import ANY_ENDING, asked_for, indexed, is_paired, signs, tokens

TOKENIZER = "porter ascii"
"""English stems; words were cut before, by `nimad.text`, and stand between spaces."""
STEMS_KEPT = 20_000
"""Stems that are remembered, about 3 MB; then they are asked for anew [stems]."""
CUT = 20_000
"""Tokens that wait to be stemmed together, about 1.5 MB; a token takes 55 to 80 bytes [tokens]."""
PART = 100_000
"""Length of the part of a text that is cut into tokens at a time, up to a blank [characters]."""
_BLANK = lazy_pattern(r"\s")


class Analysis:
    """Cuts words and texts into terms.  For many threads.

    Attributes:
        cut: the terms of a word of a question: stemmed, or its pairs of characters, or beginnings
            of words with endings (`nimad.text.asked_for`).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stems: dict[str, str] = {}
        self._stemmer = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._stemmer.executescript(
            f"CREATE VIRTUAL TABLE one USING fts5 (text, content = '', tokenize = '{TOKENIZER}');"
            "CREATE VIRTUAL TABLE one_terms USING fts5vocab (one, instance);"
        )
        self.cut = lru_cache(maxsize=4096)(self._cut)

    def close(self) -> None:
        """Close the stemmer."""
        self._stemmer.close()

    def rest(self) -> None:
        """Forget the stems of tokens: they are asked for again as they are met."""
        with self._lock:
            self._stems.clear()

    def _cut(self, word: str) -> tuple[str, ...]:
        found = [asked_for(token) for token in tokens(word) or signs(word)]
        with self._lock:
            self._learn(token for token in found if not token.endswith(ANY_ENDING))
            return tuple([t if t.endswith(ANY_ENDING) else self._stems[t] for t in found])

    def terms(self, found: Sequence[str]) -> list[str]:
        """The term of each token; nothing is remembered."""
        with self._lock:
            return self._terms(found)

    def of_texts(self, texts: Iterable[str]) -> Iterator[tuple[list[str], int]]:
        """The terms of each memory's text, each as often as it stands there, and how many words
        BM25 counts: signs are terms and no words.

        A term is one object wherever it stands, and some texts at a time are in memory.
        """
        made: list[tuple[list[str], int]] = []
        waiting: list[tuple[list[str], list[str]]] = []
        size = 0
        for text in texts:
            terms: list[str] = []
            length = 0
            for part in parts_of(text):
                words, marks = _tokens_of(part)
                length += len(words)
                waiting.append((terms, words + marks))
                size += len(waiting[-1][1])
                if size > CUT:
                    self._stem_all(waiting)
                    size = 0
            made.append((terms, length))
            if not size:
                yield from made
                made = []
        self._stem_all(waiting)
        yield from made

    def _stem_all(self, waiting: list[tuple[list[str], list[str]]]) -> None:
        """Put the term of each token into the list before it; then nothing waits any more."""
        with self._lock:
            self._learn(set().union(*(found for _, found in waiting)))
            for terms, found in waiting:
                terms += map(self._stems.__getitem__, found)
        waiting.clear()

    def _learn(self, found: Iterable[str]) -> None:
        """Ask for the stems of tokens that are not remembered, all at once."""
        wanted = set(found)
        missing = wanted.difference(self._stems)
        if missing and len(self._stems) + len(missing) > STEMS_KEPT:
            self._stems.clear()
            missing = wanted
        self._stems.update(zip(missing, self._terms([*missing]), strict=True))

    def _terms(self, found: Sequence[str]) -> list[str]:
        plain = [token for token in found if not is_paired(token)]
        stems = self._stem(plain)
        if len(stems) != len(plain):
            stems = ["".join(self._stem([token])[:1]) for token in plain]
        stem_of = dict(zip(plain, stems, strict=True))
        return [stem_of.get(token, token) for token in found]

    def _stem(self, some: Sequence[str]) -> list[str]:
        """The terms that FTS5 makes of a text of tokens, in order."""
        if not some:
            return []
        self._stemmer.execute("INSERT INTO one (one) VALUES ('delete-all')")
        self._stemmer.execute("INSERT INTO one (rowid, text) VALUES (1, ?)", (" ".join(some),))
        return [
            term for (term,) in self._stemmer.execute("SELECT term FROM one_terms ORDER BY offset")
        ]


def _tokens_of(part: str) -> tuple[list[str], list[str]]:
    """The words of a text, and its signs."""
    if part.isascii():
        return tokens(part), []
    words, marks = indexed(part)
    return words.split(" ") if words else [], marks.split(" ") if marks else []


def parts_of(text: str) -> Iterable[str]:
    """A long text in parts that end at blanks: beyond one no rule looks."""
    return (text,) if len(text) <= PART else _parts_of_long(text)


def _parts_of_long(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PART and (blank := _BLANK.search(text, start + PART)):
        yield text[start : blank.start()]
        start = blank.end()
    yield text[start:] if start else text
