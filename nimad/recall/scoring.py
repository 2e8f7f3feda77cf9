"""The score of a question's candidates, from both sides of it; the formula stands in `ranking`.

One call looks at one version of the columns and changes nothing, so questions go side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import CosineScale
from nimad.errors import Degraded, WordsDamaged
from nimad.recall import evidence, lexical, question
from nimad.recall.asking import Asking
from nimad.recall.columns import Columns
from nimad.recall.evidence import Evidence
from nimad.recall.lexical import Lexical
from nimad.recall.question import Question
from nimad.recall.scopes import Scope
from nimad.recall.semantic import Meaning, Semantic, Sought, best_places, late_cosines
from nimad.recall.weights import Weights
from nimad.store.records import Records
from nimad.store.terms import TermIndex

EXACT = 2.0
"""Above the sum of everything else."""

Floats = NDArray[Any]
"""float32 or float64."""


class Scoring:
    """Weighs what a store holds against a question."""

    def __init__(
        self, records: Records, columns: Columns, terms: TermIndex, weights: Weights
    ) -> None:
        self._records = records
        self._columns = columns
        self._terms = terms
        self._weights = weights
        self._meaning = Meaning(columns, weights)

    def best(self, asking: Asking) -> list[tuple[int, float, dict[str, float]]]:
        """(id, score, parts) of the best `k`, best first; none when there is too little to it."""
        asking, asked, words, near, same = self._taken_apart(asking)
        if not len(same) and not self._evidence(asked, asking, words, near).enough:
            return []
        rows, plain, mixed = self._candidates(
            asked, asking.scope, words, near, self._scale(asking), same
        )
        if not len(rows):
            return []
        parts = self._parts_of(rows, words, near, mixed, asked, asking)
        parts["exact"] = EXACT * np.isin(rows, same)
        score = sum(parts.values(), np.zeros(len(rows)))
        parts["cosine"] = plain
        best = best_places(score, asking.k)
        ids = self._columns.id[rows]
        return [
            (
                int(ids[n]),
                float(score[n]),
                {name: float(v[n]) for name, v in parts.items() if not np.isnan(v[n])},
            )
            for n in best
        ]

    def evidence(self, asking: Asking) -> Evidence:
        """What `best` decides by whether to answer."""
        asking, asked, words, near, _ = self._taken_apart(asking)
        return self._evidence(asked, asking, words, near)

    def _taken_apart(
        self, asking: Asking
    ) -> tuple[Asking, Question, Lexical, Semantic | None, NDArray[np.int64]]:
        """What is asked, both sides of it, and the rows whose text is the question itself.

        Where the words index is damaged, it is asked by meaning alone.
        """
        columns, scope = self._columns, asking.scope
        asked = question.read(asking.text, columns, self._terms, scope, asking.now)
        same = columns.same_as(asking.text)
        same = same[scope.mask[same]]
        words = lexical.nothing(columns.count)
        if asking.mode != "meaning":
            try:
                words = lexical.score(asked, columns, self._terms, scope, self._weights)
            except WordsDamaged as error:
                self._terms.report_damage(error)
                asking = replace(asking, mode="meaning")
        asking.watch.lap("words")
        return asking, asked, words, self._near(asking, asked, words, same), same

    def _near(
        self, asking: Asking, asked: Question, words: Lexical, same: NDArray[np.int64]
    ) -> Semantic | None:
        if asking.mode == "words":
            return None
        try:
            query = asking.embedder.embed([asked.meaning])[0]
        except Degraded:  # words go on without it; the reply says so
            return None
        asking.watch.lap("embed")
        if not query.any():
            return None
        shares = self._weights.shares_of(asking.embedder)
        late = late_cosines(self._records, asking.embedder, query)
        promise = (
            self._promise(asked, words) if self._columns.count > self._weights.exact_rows else None
        )
        about = Sought(
            *(query, asking.scope, words.shared, same, shares, late, promise, asking.k),
        )
        return self._meaning.score(asking.blocks, about, asking.watch)

    def _promise(self, asked: Question, words: Lexical) -> Floats:
        """float32[n]: words and subject of each row that has words, in the unit of the words."""
        weights, columns = self._weights, self._columns
        promise = words.shared
        top = float(promise.max(initial=0.0))
        if not len(asked.subjects) or top <= 0:
            return promise
        bonus = weights.subject / max(1 - weights.semantic, 1e-6) * top
        named = promise > 0
        named &= columns.spoken_by(asked.subjects)
        return promise + named * np.float32(bonus)

    def _evidence(
        self, asked: Question, asking: Asking, words: Lexical, near: Semantic | None
    ) -> Evidence:
        """Whether there is enough to a question in this store to answer at all."""
        scope, mode = asking.scope, asking.mode

        def unknown(terms: Iterable[str]) -> set[str]:
            if mode == "meaning":  # nobody has looked for them yet
                try:
                    return lexical.unheard(terms, self._columns, self._terms, scope)
                except WordsDamaged as error:
                    self._terms.report_damage(error)
                    return set()
            return set(words.unknown.intersection(terms))

        least = evidence.least(self._weights, self._scale(asking), mode, scope.count)
        strange = evidence.strange(asked, asking.text, self._terms.cut, unknown)
        return evidence.weigh(asked, words, near.high if near else 0.0, least, mode, strange)

    def _scale(self, asking: Asking) -> CosineScale:
        return self._weights.scale or asking.embedder.scale

    def _candidates(
        self,
        asked: Question,
        scope: Scope,
        words: Lexical,
        near: Semantic | None,
        scale: CosineScale,
        same: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], Floats, Floats]:
        """rows: int64[m], with their own cosine and the mixed one: float32[m], nan for unknown."""
        wanted = words.shared > 0
        wanted[same] = True
        if asked.only_names:
            wanted |= np.isin(self._columns.who, asked.subjects) & scope.mask
        if near is None:
            rows = np.flatnonzero(wanted)
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
        kept = wanted[rows] | (mixed >= scale.near)
        return rows[kept], plain[kept], mixed[kept]

    def _parts_of(
        self,
        rows: NDArray[np.int64],
        words: Lexical,
        near: Semantic | None,
        mixed: Floats,
        asked: Question,
        asking: Asking,
    ) -> dict[str, Floats]:
        columns, weights, scope = self._columns, self._weights, asking.scope
        share = {"hybrid": weights.semantic, "meaning": 1.0, "words": 0.0}[asking.mode]
        top = max(float(words.shared.max(initial=0.0)), 1e-6)
        nearness = np.where(np.isnan(mixed), np.float32(0), mixed)
        low, spread = (near.low, max(near.high - near.low, 1e-6)) if near else (0.0, 1.0)
        age = (columns.time[rows] - scope.first) / max(scope.last - scope.first, 1)
        named = columns.spoken_by(asked.subjects, rows)
        return {
            "lexical": (1 - share) * words.shared[rows] / top,
            "semantic": share * np.maximum(nearness - low, 0) / spread,
            "subject": weights.subject * named,
            "asks": -weights.asks * columns.asks[rows],
            "importance": weights.importance * columns.importance[rows],
            "recency": weights.recency * age,
        }
