"""Both sides of the ranking as they are defined, row by row: what the fast forms must equal."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from nimad.index.blocks import BlockIndex
from nimad.model import EVERYTHING
from nimad.recall.columns import NONE, Columns
from nimad.recall.columns_follower import ColumnsFollower
from nimad.recall.dates import Days
from nimad.recall.lexical import BEGINNING, ENDING
from nimad.recall.parsed_query import ParsedQuery
from nimad.recall.weights import Weights
from nimad.store.bounded import page_within
from nimad.store.records import Records
from nimad.text import ANY_ENDING, indexed, tokens
from nimad.words.index import TermIndex

Floats = NDArray[np.float32]


class FollowedColumns(Columns):
    """Columns that read the records when they are told to."""

    def __init__(self, records: Records, terms: TermIndex) -> None:
        super().__init__()
        self._follower = ColumnsFollower(records, terms, self)

    def sync(self) -> None:
        assert self._follower.sync()


def bm25(
    question: ParsedQuery,
    columns: Columns,
    terms: TermIndex,
    mask: NDArray[np.bool_],
    weights: Weights,
) -> Floats:
    """float32[n]: BM25 of each row, terms added up in the question's order; without literals."""
    own = np.zeros(columns.count, np.float32)
    dated, timed = np.zeros_like(own), np.zeros_like(own)
    total = int(mask.sum())
    average = max(float(columns.words[mask].mean(dtype=np.float64)), 1.0)
    row_of = {int(number): row for row, number in enumerate(columns.id[:])}

    def told(term: str) -> list[tuple[int, int]]:
        found = holders(terms, term, int(columns.id[-1]))
        pairs = [(row_of[i], count) for i, count in found.items() if i in row_of]
        return [(row, count) for row, count in pairs if mask[row]]

    for term in question.terms:
        pairs, share = told(term), 1.0
        kept = max(BEGINNING, len(term) - ENDING)
        alike = term.isalpha() and kept < len(term) and not question.around
        if not pairs and term not in question.met and alike:  # with another ending
            pairs, share = told(term[:kept] + ANY_ENDING), weights.alike
        if not pairs:
            continue
        rows = np.array([row for row, _ in pairs])
        counts = np.array([count for _, count in pairs], np.float32)
        rarity = max(math.log((total + weights.unseen - len(rows) + 0.5) / (len(rows) + 0.5)), 1e-6)
        rarity = share * rarity * question.factors.get(term, 1.0)
        words = columns.words[rows].astype(np.float32)
        sizes = weights.k1 * (1 - weights.b + weights.b * words / average)
        gained = dated if term in question.dated else own
        gained[rows] += rarity * counts * (weights.k1 + 1) / (counts + sizes)
    for part, named in question.dates.parts.items():
        hit = Days(columns.time[:]).on(part, named) & mask
        if 0 < (count := int(hit.sum())) < total:
            rarity = max(math.log((total + weights.unseen - count + 0.5) / (count + 0.5)), 1e-6)
            timed[hit] += weights.date * rarity
    return own + np.maximum(dated, timed)


def holders(terms: TermIndex, term: str, last: int) -> dict[int, int]:
    """The ids up to one that hold a term, and how often; rows that are ids."""
    rows, counts = terms.rows(term, np.arange(last + 1), layout=-2 - last)
    return dict(zip(rows.tolist(), counts.tolist(), strict=True))


def spread(own: Floats, columns: Columns, mask: NDArray[np.bool_], weights: Weights) -> Floats:
    """float32[n]: with what the neighbours give, looked up one row after the other."""
    shared = own.copy()
    for chain, near in ((columns.before, weights.word_before), (columns.after, weights.word_after)):
        for row in range(len(own)):
            other = int(chain[row])
            if other == NONE:
                continue
            shared[row] += np.float32(near) * own[other]
            if chain[other] != NONE:
                shared[row] += np.float32(weights.word_beyond) * own[chain[other]]
    return shared * mask


def mixed(
    query: Floats,
    blocks: BlockIndex,
    columns: Columns,
    rows: NDArray[np.int64],
    shares: tuple[float, float],
) -> Floats:
    """float32[m]: cosines with the neighbours' share, each vector taken out of the index."""
    vectors = {int(i): blocks.vector(int(i)) for i in columns.id[:].tolist()}
    cosines = blocks.scores(query, columns.id[:])
    out = np.zeros(len(rows), np.float32)
    for place, row in enumerate(rows):
        value = cosines[row]
        unit = _unit(vectors[int(columns.id[row])])
        total = unit.copy()
        for chain, share in zip((columns.before, columns.after), shares, strict=True):
            if (other := int(chain[row])) != NONE:
                value += np.float32(share) * np.nan_to_num(cosines[other])
                total += share * _unit(vectors[int(columns.id[other])], len(unit))
        out[place] = value / np.float32(max(float(np.linalg.norm(total)), 1e-3))
    return out


def _unit(vector: Floats | None, dims: int = 256) -> NDArray[np.float64]:
    if vector is None:
        return np.zeros(dims)
    wide = vector.astype(np.float64)
    unit: NDArray[np.float64] = wide / np.linalg.norm(wide)
    return unit


TEXT_WEIGHT, WHO_WEIGHT = 1.0, 0.5
"""BM25 column weights: a name in the text says as much as in `who`, but `who` is on every row of
that person, so a match there alone should not outrank a match in the text."""


def search_words(
    records: Records, words: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Every memory with any of the words, scored by FTS5 itself.

    Recall does its own scoring (`nimad.words`); this is what it is checked against.

    Returns ids: int64[n], sorted, and scores: float32[n], BM25, higher is better, all > 0.
    Source: https://www.sqlite.org/fts5.html#the_bm25_function (there the sign is reversed).
    """
    if not words:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    match = " OR ".join(f'"{token}"' for word in words[:64] for token in tokens(word)) or '""'
    with closing(
        full_text(
            [
                (m.id, m.text, m.who or "")
                for m in page_within(records, 0, 1 << 40, EVERYTHING, 1 << 62)[0]
            ]
        )
    ) as base:
        sql = f"SELECT rowid, bm25(words, {TEXT_WEIGHT}, {WHO_WEIGHT}, 0) FROM words"
        found = base.execute(f"{sql} WHERE words MATCH ? ORDER BY rowid", (match,)).fetchall()
    # ids fit a float64 exactly up to 2**53; one conversion is faster than two
    columns = np.array(found, np.float64).reshape(-1, 2)
    ids = columns[:, 0].astype(np.int64)
    # FTS5 clamps a negative idf to a tiny positive one; a match never counts as none.
    scores = np.maximum(-columns[:, 1], 1e-6).astype(np.float32)
    return ids, scores


def full_text(rows: list[tuple[int, str, str]]) -> sqlite3.Connection:
    """A database in memory with the FTS5 table `words` over ids, texts and names, and `terms`, all
    places of terms in it."""
    base = sqlite3.connect(":memory:")
    base.execute(
        "CREATE VIRTUAL TABLE words USING fts5 (text, who, signs, tokenize = 'porter ascii')"
    )
    base.execute("CREATE VIRTUAL TABLE terms USING fts5vocab (words, instance)")
    made = [(n, indexed(text)[0], indexed(who)[0], indexed(text)[1]) for n, text, who in rows]
    base.executemany("INSERT INTO words (rowid, text, who, signs) VALUES (?, ?, ?, ?)", made)
    return base
