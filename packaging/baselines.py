"""What recall is compared with: the usual ways, as anybody would build them, on the same turns.

Full-text BM25 (SQLite FTS5, porter, the words joined by OR, stop words dropped), exact cosines of
the embedder's float32 vectors (as they are, and with the speakers' names taken out of the query),
and the two usual ways to join words and vectors: reciprocal ranks, and scores between 0 and 1.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence

import numpy as np
from dialogues import Turn
from numpy.typing import NDArray

from nimad.embed.base import Embedder
from nimad.store.words import STOP_WORDS

Scores = NDArray[np.float64]
Score = Callable[[str], Scores]
RRF_K = 60
_WORD = re.compile(r"\w+")


def bm25(turns: Sequence[Turn]) -> Score:
    """float64[n] of a query: FTS5's own score, 0 for turns without any of its words."""
    base = sqlite3.connect(":memory:", check_same_thread=False)
    base.execute("CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'porter unicode61')")
    base.executemany(
        "INSERT INTO words (rowid, text) VALUES (?, ?)",
        [(place, f"{turn.who}: {turn.text}") for place, turn in enumerate(turns, 1)],
    )

    def scored(query: str) -> Scores:
        found = [w for w in _WORD.findall(query) if w.lower() not in STOP_WORDS]
        match = " OR ".join(f'"{word}"' for word in found or _WORD.findall(query))
        out = np.zeros(len(turns))
        for row, score in base.execute(
            "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ?", (match,)
        ):
            out[row - 1] = max(score, 1e-9)
        return out

    return scored


def cosines(turns: Sequence[Turn], embedder: Embedder, *, stripped: bool) -> Score:
    """float64[n] of a query: the exact cosines; `stripped` of the speakers' names."""
    vectors = embedder.embed([turn.text for turn in turns])
    names = {word.lower() for turn in turns for word in _WORD.findall(turn.who)}

    def scored(query: str) -> Scores:
        if stripped:
            plain = re.sub(r"['’]s\b", "", query)
            query = _WORD.sub(lambda m: "" if m[0].lower() in names else m[0], plain)
        found: Scores = (vectors @ embedder.embed([query])[0]).astype(np.float64)
        return found

    return scored


def by_ranks(one: Score, other: Score) -> Score:
    """Reciprocal-rank fusion, k 60."""

    def ranks(scores: Scores) -> Scores:
        out = np.empty(len(scores))
        out[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
        return np.where(scores != 0, 1 / (RRF_K + out), 0.0)

    return lambda query: ranks(one(query)) + ranks(other(query))


def by_scores(one: Score, other: Score) -> Score:
    """Both sides between 0 and 1 over all turns, half and half."""

    def even(scores: Scores) -> Scores:
        low, high = float(scores.min()), float(scores.max())
        spread: Scores = (scores - low) / max(high - low, 1e-9)
        return spread

    return lambda query: (even(one(query)) + even(other(query))) / 2


def all_of(turns: Sequence[Turn], embedder: Embedder) -> dict[str, Score]:
    """Every way by its name, over one store's turns."""
    words = bm25(turns)
    plain = cosines(turns, embedder, stripped=False)
    name = embedder.name
    return {
        "FTS5 BM25, porter, OR, no stop words": words,
        f"{name}, exact cosine, float32": plain,
        f"{name}, names stripped from the query": cosines(turns, embedder, stripped=True),
        f"reciprocal ranks (k {RRF_K}) of BM25 and {name}": by_ranks(words, plain),
        f"scores .5/.5 of BM25 and {name}": by_scores(words, plain),
    }
