"""Hybrid recall: words (BM25) and blocks (cosine) fused into one ranking.

    score = (1 - w) lexical + w semantic + subject + importance + recency

`lexical` is BM25 divided by the best BM25 of this query, `semantic` the cosine, cut at 0 and
divided by the best one: normalised scores, because fusing ranks throws the distances away.  A query
word that names a subject (`who`) of the store is taken out of what is embedded, since a name says
little about meaning, and gives that subject's memories a bonus instead.  Everything is
deterministic: equal scores are ordered by id.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nimad.embed.base import Embedder
from nimad.errors import UsageError
from nimad.index.blocks import BlockIndex
from nimad.model import Filter, Hit, Memory
from nimad.store import words
from nimad.store.records import Records

MODES = ("hybrid", "meaning", "words")

CANDIDATES = 100
"""Best rows that each side brings in; both sides score all of them."""
SEMANTIC_WEIGHT = 0.5
"""w for static vectors; the lexical side gets the rest."""
SUBJECT_BONUS = 0.3
"""For memories of a subject that the query names."""
IMPORTANCE_WEIGHT = 0.02
RECENCY_WEIGHT = 0.01
"""Small: they order what is otherwise alike, they never lift the irrelevant."""
FLOORS = {"static": 0.45, "hash": 0.30}
"""Cosine below which a memory without a common word is not an answer, per embedder.

Measured on labelled dialogues: a question's evidence lies above 0.43 in 95 % of cases (static)."""

_WORD = re.compile(r"\w+")


@dataclass(slots=True)
class _Traits:
    """What the small terms need of a candidate."""

    who: str | None
    importance: float | None
    timestamp: int


class Recall:
    """Answers queries over one store; safe to use from many threads.

    `parts` gives the index and the embedder that belong together at this moment.
    """

    def __init__(self, records: Records, parts: Callable[[], tuple[BlockIndex, Embedder]]) -> None:
        self._records = records
        self._parts = parts
        self._subjects: set[str] | None = None
        self._subjects_lock = threading.Lock()

    def warm_up(self) -> None:
        """Touch every part once, so that the first query is as fast as the second."""
        with self._subjects_lock:
            self._subjects = {name.casefold() for name in self._records.subjects()}
        self.query("warm up", 1, "hybrid", Filter())

    def note_subjects(self, names: Iterable[str | None]) -> None:
        """New memories may bring new subjects."""
        new = {name.casefold() for name in names if name}
        with self._subjects_lock:
            if self._subjects is not None and not new <= self._subjects:
                self._subjects = self._subjects | new

    def query(self, text: str, k: int, mode: str, where: Filter) -> list[Hit]:
        """The best `k` memories for a text, best first; none when nothing fits.

        Raises UsageError for an unknown mode.
        """
        if mode not in MODES:
            raise UsageError(detail=f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        allowed = self._records.matching(where) if where else None
        if k < 1 or (allowed is not None and not len(allowed)):
            return []
        subjects, meaning = self._split_subjects(text)
        lexical = self._lexical(text, mode, allowed)
        semantic, floor = self._semantic(meaning, mode, allowed, lexical)
        ids = np.array(sorted({*lexical, *semantic}), np.int64)
        return self._ranked(ids, lexical, semantic, floor, subjects, k, mode)

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
        return self._hits([(score, i, {"cosine": score}) for score, i in near[:k] if score > 0])

    # --- the two sides --------------------------------------------------------------------------

    def _split_subjects(self, text: str) -> tuple[set[str], str]:
        """The subjects that a text names (case-folded), and the text without their words."""
        known = self._subjects or set()
        spoken = {word.casefold() for word in _WORD.findall(text)}
        named = {
            name for name in known & (spoken | {text.casefold()}) if name not in words.STOP_WORDS
        }
        named |= {name for name in known if " " in name and spoken.issuperset(_WORD.findall(name))}
        drop = {word for name in named for word in _WORD.findall(name)}
        rest = _WORD.sub(lambda m: "" if m[0].casefold() in drop else m[0], text)
        return named, rest if _WORD.search(rest) else text

    def _lexical(self, text: str, mode: str, allowed: NDArray[np.int64] | None) -> dict[int, float]:
        """Id → BM25 over the best, for the best rows that share a word with the text."""
        if mode == "meaning":
            return {}
        ids, scores = words.search(self._records, words.terms(text))
        if allowed is not None:
            inside = np.isin(ids, allowed, assume_unique=True)
            ids, scores = ids[inside], scores[inside]
        if not len(ids):
            return {}
        best = np.lexsort((ids, -scores))[:CANDIDATES]
        top = float(scores[best[0]])
        return {int(ids[n]): float(scores[n]) / top for n in best}

    def _semantic(
        self,
        text: str,
        mode: str,
        allowed: NDArray[np.int64] | None,
        lexical: dict[int, float],
    ) -> tuple[dict[int, float], float]:
        """Id → cosine, for the nearest rows and the lexical ones; and the embedder's floor."""
        blocks, embedder = self._parts()
        floor = FLOORS.get(embedder.name, 0.3)
        if mode == "words":
            return {}, floor
        query = embedder.embed([text])[0]
        if not query.any():
            return {}, floor
        ids, scores = blocks.search(query, CANDIDATES, allowed)
        found = {int(i): float(s) for i, s in zip(ids, scores, strict=True)}
        others = np.array(sorted(set(lexical) - set(found)), np.int64)
        if len(others):
            for i, score in zip(others, blocks.scores(query, others), strict=True):
                if score == score:  # nan: not encoded yet
                    found[int(i)] = float(score)
        return found, floor

    # --- fusion ---------------------------------------------------------------------------------

    def _ranked(
        self,
        ids: NDArray[np.int64],
        lexical: dict[int, float],
        semantic: dict[int, float],
        floor: float,
        subjects: set[str],
        k: int,
        mode: str,
    ) -> list[Hit]:
        near = [i for i in ids.tolist() if i in lexical or semantic.get(i, 0.0) >= floor]
        traits = self._traits(near)
        kept = [i for i in near if i in traits]
        if not kept:
            return []
        weight = {"hybrid": SEMANTIC_WEIGHT, "meaning": 1.0, "words": 0.0}[mode]
        cosine = np.array([semantic.get(i, np.nan) for i in kept])
        nearest = max(max(semantic.values(), default=0.0), 1e-6)
        times = np.array([traits[i].timestamp for i in kept], np.float64)
        named = [(traits[i].who or "").casefold() in subjects for i in kept]
        given = [traits[i].importance for i in kept]
        parts = {
            "lexical": (1 - weight) * np.array([lexical.get(i, 0.0) for i in kept]),
            "semantic": weight * np.maximum(np.nan_to_num(cosine), 0.0) / nearest,
            "subject": SUBJECT_BONUS * np.array(named, np.float64),
            "importance": IMPORTANCE_WEIGHT * np.array([0.5 if g is None else g for g in given]),
            "recency": RECENCY_WEIGHT * (times - times.min()) / max(np.ptp(times), 1.0),
        }
        score = sum(parts.values(), np.zeros(len(kept)))
        parts["cosine"] = cosine
        best = np.lexsort((kept, -score))[:k]
        return self._hits(
            [
                (
                    float(score[n]),
                    kept[n],
                    {name: float(v[n]) for name, v in parts.items() if not np.isnan(v[n])},
                )
                for n in best
            ]
        )

    def _traits(self, ids: Sequence[int]) -> dict[int, _Traits]:
        found: dict[int, _Traits] = {}
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            marks = ",".join("?" * len(part))
            for i, who, importance, timestamp in self._records.rows(
                f"SELECT id, who, importance, timestamp FROM memories WHERE id IN ({marks})", part
            ):
                found[i] = _Traits(who, importance, timestamp)
        return found

    def _hits(self, scored: Sequence[tuple[float, int, dict[str, float]]]) -> list[Hit]:
        memories = self._records.get([i for _, i, _ in scored])
        return [Hit(memories[i], score, parts) for score, i, parts in scored if i in memories]
