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

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import Embedder
from nimad.errors import Degraded, UsageError
from nimad.index.blocks import BlockIndex
from nimad.model import Filter, Hit, Memory, now_ms
from nimad.recall import context, evidence, lexical, question
from nimad.recall.asking import Asking
from nimad.recall.columns import Columns
from nimad.recall.context import Passage
from nimad.recall.evidence import Evidence
from nimad.recall.gate import Gate
from nimad.recall.keeping import Keeper
from nimad.recall.lexical import Lexical
from nimad.recall.question import Question
from nimad.recall.scopes import Scope, Scopes
from nimad.recall.semantic import Meaning, Semantic, Sought, best_places, late_cosines
from nimad.recall.stopwatch import Stopwatch
from nimad.recall.weights import DEFAULT, OTHER_FLOOR, Floor, Weights
from nimad.store.records import Records
from nimad.store.terms import TermIndex

MODES = ("hybrid", "meaning", "words")

EXACT = 2.0
"""Above the sum of everything else."""
_FOLLOW_ROWS = 200

Floats = NDArray[Any]
"""float32 or float64."""


class Recall:
    """Answers queries over one store; safe to use from many threads.

    `parts` gives the index and the embedder that belong together at this moment.
    """

    def __init__(
        self,
        records: Records,
        parts: Callable[[], tuple[BlockIndex, Embedder]],
        weights: Weights = DEFAULT,
        clock: Callable[[], int] = now_ms,
        file: Path | None = None,
    ) -> None:
        """`file` is where the columns are kept between two starts; without one they are not."""
        self.weights = weights
        self._records = records
        self._parts = parts
        self._clock = clock
        self._terms = TermIndex(records)
        self._columns = Columns(records, self._terms)
        self.keeper = Keeper(file, records, self._columns)
        self._meaning = Meaning(self._columns, weights)
        self._scopes = Scopes(self._columns, weights)
        self._serving: tuple[BlockIndex, Embedder] | None = None
        self._gate = Gate(self._stale, self._follow)

    def warm_up(self) -> None:
        """Load the columns and touch every part once: the first query is as fast as the second."""
        self.query("warm up", 1, "hybrid", Filter())

    def follow(self) -> None:
        """Take in what was written, a little at a time: then the next query need not.

        For whoever writes many; queries come in between.
        """
        done = False
        while not done:
            done = self._gate.alone(lambda: self._columns.sync(_FOLLOW_ROWS))

    def keep(self) -> bool:
        """Write the columns to their file when that is due; whether it did.  Raises DiskFull."""
        return self.keeper.save_when_due(self._gate)

    def close(self) -> None:
        """Give back what is held besides memory."""
        self._terms.close()

    def query(
        self,
        text: str,
        k: int,
        mode: str,
        where: Filter,
        now: int | None = None,
        watch: Stopwatch | None = None,
    ) -> list[Hit]:
        """The best `k` memories for a text, best first; none when nothing fits.

        Args:
            now: epoch milliseconds from which "yesterday" in the text counts; default: the clock.
            watch: is told how long each part took.

        Raises UsageError for an unknown mode.
        """
        if mode not in MODES:
            raise UsageError(detail=f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        if k < 1:
            return []
        watch = watch or Stopwatch()
        at = self._clock() if now is None else now
        with self._gate.reading(lambda: (self._scopes.of(where), self._parts())) as (scope, parts):
            watch.lap("wait")
            asking = Asking(text, k, mode, scope, at, *parts, watch)
            scored = self._scored(asking) if scope.count else []
        watch.lap("fusion")
        memories = self._records.get([number for number, _, _ in scored])
        watch.lap("records")
        return [Hit(memories[i], score, made) for i, score, made in scored if i in memories]

    def evidence(
        self, text: str, mode: str, where: Filter, now: int | None = None
    ) -> Evidence | None:
        """What `query` decides by whether to answer; None when there is nothing to look at."""
        at = self._clock() if now is None else now
        with self._gate.reading(lambda: (self._scopes.of(where), self._parts())) as (scope, parts):
            if not scope.count:
                return None
            asking = Asking(text, 1, mode, scope, at, *parts, Stopwatch())
            asked, words, near, _ = self._taken_apart(asking)
            return self._evidence(asked, asking, words, near)

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
        with self._gate.reading(lambda: None):
            around = context.chains(self._columns, hits)
        return context.passages(self._records, hits, around, upto, most)

    # --- following what changes -----------------------------------------------------------------

    def _stale(self) -> bool:
        return self._columns.stale() or self._parts() != self._serving

    def _follow(self) -> None:
        """Take over what changed, while nobody reads."""
        if self._serving is None:
            self.keeper.restore()
        self._columns.sync()
        parts = self._parts()
        if parts != self._serving:  # another embedder, or a rebuild: other lengths
            self._columns.length[:] = np.nan
            self._serving = parts

    # --- scoring --------------------------------------------------------------------------------

    def _scored(self, asking: Asking) -> list[tuple[int, float, dict[str, float]]]:
        """(id, score, parts) of the best `k`, best first."""
        asked, words, near, same = self._taken_apart(asking)
        if not len(same) and not self._evidence(asked, asking, words, near).enough:
            return []
        rows, plain, mixed = self._candidates(
            asked, asking.scope, words, near, self._floor(asking), same
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

    def _taken_apart(
        self, asking: Asking
    ) -> tuple[Question, Lexical, Semantic | None, NDArray[np.int64]]:
        """What is asked, both sides of it, and the rows whose text is the question itself."""
        columns, scope = self._columns, asking.scope
        asked = question.read(asking.text, columns, self._terms, scope, asking.now)
        same = columns.same_as(asking.text)
        same = same[scope.mask[same]]
        words = lexical.nothing(columns.count)
        if asking.mode != "meaning":
            words = lexical.score(asked, columns, self._terms, scope, self.weights)
        asking.watch.lap("words")
        return asked, words, self._near(asking, asked, words, same), same

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
        shares = self.weights.near(asking.embedder.name)
        late = late_cosines(self._records, asking.embedder, query)
        about = Sought(query, asking.scope, words.shared, same, shares, late)
        return self._meaning.score(asking.blocks, about, asking.watch)

    def _evidence(
        self, asked: Question, asking: Asking, words: Lexical, near: Semantic | None
    ) -> Evidence:
        """Whether there is enough to a question in this store to answer at all."""
        scope, mode = asking.scope, asking.mode

        def unknown(terms: Iterable[str]) -> set[str]:
            if mode == "meaning":  # nobody has looked for them yet
                return lexical.unheard(terms, self._columns, self._terms, scope)
            return set(words.unknown.intersection(terms))

        least = evidence.least(self.weights, self._floor(asking), mode, scope.count)
        strange = evidence.strange(asked, asking.text, self._terms.cut, unknown)
        return evidence.weigh(asked, words, near.high if near else 0.0, least, mode, strange)

    def _floor(self, asking: Asking) -> Floor:
        return self.weights.floors.get(asking.embedder.name, OTHER_FLOOR)

    def _candidates(
        self,
        asked: Question,
        scope: Scope,
        words: Lexical,
        near: Semantic | None,
        floor: Floor,
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
        kept = wanted[rows] | (mixed >= floor.near)
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
        columns, weights, scope = self._columns, self.weights, asking.scope
        share = {"hybrid": weights.semantic, "meaning": 1.0, "words": 0.0}[asking.mode]
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
