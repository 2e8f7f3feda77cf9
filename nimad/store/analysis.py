"""Texts as the words index has them: cut into tokens by `nimad.text`, English words stemmed.

The stemmer is that of SQLite's FTS5 ("porter"), asked a token at a time through a table in memory
that holds nothing else; what it said is remembered.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from functools import lru_cache

from nimad.text import ANY_ENDING, asked_for, indexed, is_paired, signs, tokens

TOKENIZER = "porter ascii"
"""English stems; words were cut before, by `nimad.text`, and stand between spaces."""
STEMS_KEPT = 20_000
"""Stems that are remembered, about 3 MB; then they are asked for anew [stems]."""


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

    def _cut(self, word: str) -> tuple[str, ...]:
        found = [asked_for(token) for token in tokens(word) or signs(word)]
        return tuple(
            [term if term.endswith(ANY_ENDING) else self.terms([term])[0] for term in found]
        )

    def terms(self, found: Sequence[str]) -> tuple[str, ...]:
        """The term of each token."""
        with self._lock:
            self._learn(found)
            return tuple([self._stems[token] for token in found])

    def of_texts(self, texts: Sequence[str]) -> list[tuple[tuple[str, ...], int]]:
        """The terms of each memory's text, each as often as it stands there, and how many words
        BM25 counts: signs are terms and no words."""
        cut = []
        for text in texts:
            words, marks = indexed(text)
            found = tokens(words) if text.isascii() else words.split(" ") if words else []
            cut.append((found + marks.split(" ") if marks else found, len(found)))
        with self._lock:
            self._learn([token for found, _ in cut for token in found])
            stems = self._stems
            return [(tuple([stems[token] for token in found]), words) for found, words in cut]

    def _learn(self, found: Sequence[str]) -> None:
        """Ask for the stems of tokens that are not remembered, all at once."""
        wanted = dict.fromkeys(found)
        missing = [token for token in wanted if token not in self._stems]
        if missing and len(self._stems) + len(missing) > STEMS_KEPT:
            self._stems.clear()
            missing = list(wanted)
        plain = [token for token in missing if not is_paired(token)]
        self._stems.update((token, token) for token in missing)
        stems = self._stem(plain)
        if len(stems) != len(plain):
            stems = ["".join(self._stem([token])[:1]) for token in plain]
        self._stems.update(zip(plain, stems, strict=True))

    def _stem(self, some: Sequence[str]) -> list[str]:
        """The terms that FTS5 makes of a text of tokens, in order."""
        if not some:
            return []
        self._stemmer.execute("INSERT INTO one (one) VALUES ('delete-all')")
        self._stemmer.execute("INSERT INTO one (rowid, text) VALUES (1, ?)", (" ".join(some),))
        return [
            term for (term,) in self._stemmer.execute("SELECT term FROM one_terms ORDER BY offset")
        ]
