"""Hybrid recall: words (BM25) and blocks (cosine) fused into one ranking.

    score = (1 - w) lexical + w semantic + subject - asks + importance + recency (+ exact)

Both sides look at every memory that a query may return, and both are brought to 0..1 over all of
them: fusing ranks, or the best hundred of each side, throws the distances away.  What the sides
are is told in `lexical` and `semantic`, every weight in `weights`.

Nothing is returned when nothing fits: a question must be met by words and meaning together to a
degree that depends on the embedder (`weights.Floor`).  A memory that is the query, word for word,
always comes first.  Everything is deterministic: equal scores are ordered by id.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import Embedder
from nimad.errors import Degraded, UsageError
from nimad.index.blocks import BlockIndex
from nimad.model import Filter, Hit, Memory, now_ms
from nimad.recall import context, lexical, question
from nimad.recall.columns import Columns
from nimad.recall.context import Passage
from nimad.recall.lexical import Lexical
from nimad.recall.question import Question
from nimad.recall.scopes import Scope, Scopes
from nimad.recall.semantic import Meaning, Semantic, best_places
from nimad.recall.weights import DEFAULT, OTHER_FLOOR, Floor, Weights
from nimad.store.records import Records
from nimad.store.terms import TermIndex

MODES = ("hybrid", "meaning", "words")

EXACT = 2.0
"""Above the sum of everything else."""
_FOLLOW_ROWS = 200
_EXACT_LOOKS = 24
_SAME = 0.995

Floats = NDArray[Any]
"""float32 or float64."""


class Recall:
    """Answers queries over one store; safe to use from many threads, one query at a time.

    `parts` gives the index and the embedder that belong together at this moment.
    """

    def __init__(
        self,
        records: Records,
        parts: Callable[[], tuple[BlockIndex, Embedder]],
        weights: Weights = DEFAULT,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.weights = weights
        self._records = records
        self._parts = parts
        self._clock = clock
        self._lock = threading.Lock()
        self._terms = TermIndex(records)
        self._columns = Columns(records, self._terms)
        self._meaning = Meaning(self._columns, weights)
        self._scopes = Scopes(self._columns, weights)

    def warm_up(self) -> None:
        """Load the columns and touch every part once: the first query is as fast as the second."""
        self.query("warm up", 1, "hybrid", Filter())

    def follow(self) -> None:
        """Take in what was written, a little at a time: then the next query need not.

        For whoever writes many; queries come in between.
        """
        done = False
        while not done:
            with self._lock:
                done = self._columns.sync(_FOLLOW_ROWS)

    def close(self) -> None:
        """Give back what is held besides memory."""
        self._terms.close()

    def query(
        self, text: str, k: int, mode: str, where: Filter, now: int | None = None
    ) -> list[Hit]:
        """The best `k` memories for a text, best first; none when nothing fits.

        Args:
            now: epoch milliseconds from which "yesterday" in the text counts; default: the clock.

        Raises UsageError for an unknown mode.
        """
        if mode not in MODES:
            raise UsageError(detail=f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        if k < 1:
            return []
        with self._lock:
            self._columns.sync()
            scope = self._scopes.of(where)
            at = self._clock() if now is None else now
            scored = self._scored(text, k, mode, scope, at) if scope.count else []
        memories = self._records.get([number for number, _, _ in scored])
        return [Hit(memories[i], score, parts) for i, score, parts in scored if i in memories]

    def similar(self, memory: Memory, k: int) -> list[Hit]:
        """The `k` memories nearest in meaning to one, itself left out; scores are cosines.

        By the vector that the index holds of it; one that is not encoded yet is embedded now.
        """
        blocks, embedder = self._parts()
        query = blocks.vector(memory.id)
        if query is None:
            query = embedder.embed([memory.text])[0]
        ids, scores = blocks.search(query, k + 1)
        near = [(float(s), int(i)) for i, s in zip(ids, scores, strict=True) if i != memory.id]
        memories = self._records.get([i for _, i in near[:k]])
        return [
            Hit(memories[i], score, {"cosine": score})
            for score, i in near[:k]
            if score > 0 and i in memories
        ]

    def passages(self, hits: list[Hit], most: int, upto: int | None = None) -> list[Passage]:
        """The best `most` passages of hits, nothing in them later than `upto`; see `context`."""
        with self._lock:
            self._columns.sync()
            around = context.chains(self._columns, hits)
        return context.passages(self._records, hits, around, upto, most)

    # --- scoring --------------------------------------------------------------------------------

    def _scored(
        self, text: str, k: int, mode: str, scope: Scope, now: int
    ) -> list[tuple[int, float, dict[str, float]]]:
        """(id, score, parts) of the best `k`, best first."""
        columns, weights = self._columns, self.weights
        asked = question.read(text, columns, self._terms, scope, now)
        words = lexical.nothing(columns.count)
        if mode != "meaning":
            words = lexical.score(asked, columns, self._terms, scope, weights)
        near, floor = self._near(asked.meaning, mode, scope, words)
        if not self._fits(asked, text, words, near, floor, mode):
            return []
        rows, plain, mixed = self._candidates(asked, words, near, floor, scope.mask)
        if not len(rows):
            return []
        parts = self._parts_of(rows, words, near, mixed, asked, scope, mode)
        parts["exact"] = self._exact(text, rows, words, plain)
        score = sum(parts.values(), np.zeros(len(rows)))
        parts["cosine"] = plain
        best = best_places(score, k)
        ids = columns.id[rows]
        return [
            (
                int(ids[n]),
                float(score[n]),
                {name: float(v[n]) for name, v in parts.items() if not np.isnan(v[n])},
            )
            for n in best
        ]

    def _near(
        self, text: str, mode: str, scope: Scope, words: Lexical
    ) -> tuple[Semantic | None, Floor]:
        blocks, embedder = self._parts()
        floor = self.weights.floors.get(embedder.name, OTHER_FLOOR)
        if mode == "words":
            return None, floor
        try:
            query = embedder.embed([text])[0]
        except Degraded:  # words go on without it; the reply says so
            return None, floor
        if not query.any():
            return None, floor
        shares = self.weights.near(embedder.name)
        return self._meaning.score(blocks, query, scope, words.shared, shares), floor

    def _fits(
        self,
        asked: Question,
        text: str,
        words: Lexical,
        near: Semantic | None,
        floor: Floor,
        mode: str,
    ) -> bool:
        """Whether there is enough to a question in this store to answer at all."""
        if asked.only_names or mode != "hybrid":
            return True
        covered = float(words.own.max(initial=0.0)) / words.best if words.best else 0.0
        evidence = covered + (near.high if near else 0.0)
        strange = not len(asked.subjects) and bool(words.unknown & self._names_in(text))
        return evidence >= (floor.stranger if strange else floor.fits)

    def _names_in(self, text: str) -> set[str]:
        """The terms of words inside a text that begin with a capital letter."""
        return {term for word in question.capitals(text) for term in self._terms.cut(word)}

    def _candidates(
        self,
        asked: Question,
        words: Lexical,
        near: Semantic | None,
        floor: Floor,
        mask: NDArray[np.bool_],
    ) -> tuple[NDArray[np.int64], Floats, Floats]:
        """rows: int64[m], with their own cosine and the mixed one: float32[m], nan for unknown."""
        wanted = words.shared > 0
        if asked.only_names:
            wanted |= np.isin(self._columns.who, asked.subjects) & mask
        if near is None:
            rows = np.flatnonzero(wanted & self._columns.alive)
            unknown = np.full(len(rows), np.nan, np.float32)
            return rows, unknown, unknown
        rows = near.rows
        if asked.only_names:  # they may be missing among the nearest
            extra = np.setdiff1d(np.flatnonzero(wanted), rows)
            rows = np.concatenate([rows, extra])
            gap = np.full(len(extra), np.nan, np.float32)
            plain, mixed = np.append(near.plain, gap), np.append(near.mixed, gap)
        else:
            plain, mixed = near.plain, near.mixed
        kept = wanted[rows] | (mixed >= floor.near)
        return rows[kept], plain[kept], mixed[kept]

    def _parts_of(
        self,
        rows: NDArray[np.int64],
        words: Lexical,
        near: Semantic | None,
        mixed: Floats,
        asked: Question,
        scope: Scope,
        mode: str,
    ) -> dict[str, Floats]:
        columns, weights = self._columns, self.weights
        share = {"hybrid": weights.semantic, "meaning": 1.0, "words": 0.0}[mode]
        top = max(float(words.shared.max(initial=0.0)), 1e-6)
        nearness = np.where(np.isnan(mixed), np.float32(0), mixed)
        low, spread = (near.low, max(near.high - near.low, 1e-6)) if near else (0.0, 1.0)
        age = (columns.time[rows] - scope.first) / max(scope.last - scope.first, 1)
        named = np.zeros(len(rows), np.bool_)
        for code in asked.subjects:
            named |= columns.who[rows] == code
        return {
            "lexical": (1 - share) * words.shared[rows] / top,
            "semantic": share * np.maximum(nearness - low, 0) / spread,
            "subject": weights.subject * named,
            "asks": -weights.asks * columns.asks[rows],
            "importance": weights.importance * columns.importance[rows],
            "recency": weights.recency * age,
        }

    def _exact(
        self, text: str, rows: NDArray[np.int64], words: Lexical, plain: Floats
    ) -> NDArray[np.float64]:
        """EXACT for the memories whose text is the query, however it is cased and spaced."""
        bonus = np.zeros(len(rows))
        wanted = question.plain(text)
        near = np.flatnonzero(plain >= _SAME)[:_EXACT_LOOKS]
        short = np.flatnonzero(words.whole[rows])
        sizes = self._columns.words[rows[short]]
        few = sizes <= 1.2 * len(question.spoken(text)) + 2
        short = short[few][np.argsort(sizes[few], kind="stable")][:_EXACT_LOOKS]
        looks = np.union1d(near, short)
        if len(looks):
            texts = dict(self._records.texts_of(self._columns.id[rows[looks]].tolist()))
            for n in looks:
                if question.plain(texts.get(int(self._columns.id[rows[n]]), "")) == wanted:
                    bonus[n] = EXACT
        return bonus
