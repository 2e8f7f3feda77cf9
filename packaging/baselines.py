"""What recall is compared with: the usual ways, as anybody would build them, on the same memories.

Full-text BM25 (SQLite FTS5, porter, the words joined by OR, stop words dropped; the same with
scripts without spaces cut into pairs of characters), exact cosines of an embedder's float32
vectors, and the two usual ways to join words and vectors: reciprocal ranks, and scores between 0
and 1.  The words of a joined way are in pairs; of other text that is the plain BM25.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from dialogues import Turn
from numpy.typing import NDArray

from nimad.embed.base import Embedder
from nimad.store.words import STOP_WORDS

Scores = NDArray[np.float64]
Score = Callable[[str], Scores]
RRF_K = 60
BM25, PAIRS = "BM25", "BM25 of pairs"
_WORD = re.compile(r"\w+")
_DENSE = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+")
"""Runs of Thai, kana, ideographs and Hangul."""


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


def in_pairs(text: str) -> str:
    """The text with runs of dense scripts as overlapping pairs of characters, blanks between."""

    def pairs(found: re.Match[str]) -> str:
        run = found[0]
        return " " + " ".join(run[n : n + 2] for n in range(max(len(run) - 1, 1))) + " "

    return _DENSE.sub(pairs, text)


def cosines(turns: Sequence[Turn], embedder: Embedder) -> Score:
    """float64[n] of a query: the exact cosines."""
    vectors = np.vstack(
        [
            embedder.embed([turn.text for turn in turns[start : start + 512]])
            for start in range(0, len(turns), 512)
        ]
    )

    def scored(query: str) -> Scores:
        found: Scores = (vectors @ embedder.embed([query])[0]).astype(np.float64)
        return found

    return scored


def by_ranks(one: Scores, other: Scores) -> Scores:
    """Reciprocal-rank fusion, k 60."""

    def ranks(scores: Scores) -> Scores:
        out = np.empty(len(scores))
        out[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
        return np.where(scores != 0, 1 / (RRF_K + out), 0.0)

    return ranks(one) + ranks(other)


def by_scores(one: Scores, other: Scores) -> Scores:
    """Both sides between 0 and 1 over all memories, half and half."""

    def even(scores: Scores) -> Scores:
        low, high = float(scores.min()), float(scores.max())
        spread: Scores = (scores - low) / max(high - low, 1e-9)
        return spread

    return (even(one) + even(other)) / 2


def all_of(
    turns: Sequence[Turn], embedders: Sequence[Embedder]
) -> Callable[[str], dict[str, Scores]]:
    """Gives every way's scores of a query by the way's name, over one store."""
    plain = bm25(turns)
    dense = any(_DENSE.search(turn.text) for turn in turns)
    cut = bm25([replace(turn, text=in_pairs(turn.text)) for turn in turns]) if dense else plain
    near = {embedder.name: cosines(turns, embedder) for embedder in embedders}

    def scored(query: str) -> dict[str, Scores]:
        words = cut(in_pairs(query)) if dense else plain(query)
        found = {BM25: plain(query) if dense else words, PAIRS: words}
        for name, cosine in near.items():
            by = cosine(query)
            found[f"{name} cosine"] = by
            found[f"RRF of BM25 and {name}"] = by_ranks(words, by)
            found[f"half BM25, half {name}"] = by_scores(words, by)
        return found

    return scored
