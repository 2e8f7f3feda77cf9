"""Hybrid recall: words (BM25) and blocks (cosine) fused into one ranking.

    score = (1 - w) lexical + w semantic + subject + date + literal + layer + instruction
            - asks + importance + recency (+ exact)

Both sides look at every memory that a query may return, and both are brought to 0..1 over all of
them: fusing ranks, or the best hundred of each side, throws the distances away.  What the sides
are is told in `lexical` and `semantic`, every weight in `weights`.

Nothing is returned when nothing fits: a question must be met by words and meaning together to a
degree that depends on the embedder (`CosineScale`).  A memory that is the query, word for word,
always comes first.  Everything is deterministic: equal scores are ordered by id.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nimad.embed.base import Embedder
from nimad.errors import UsageError
from nimad.index.blocks import BlockIndex
from nimad.index.quantise import Ids
from nimad.locks import ReadWriteLock
from nimad.model import EVERYTHING, Filter, Hit, Memory, now_ms
from nimad.recall import context
from nimad.recall.columns import Columns
from nimad.recall.columns_cache import KEEP_CHANGES, ColumnsCache
from nimad.recall.columns_follower import ColumnsFollower
from nimad.recall.context import Passage
from nimad.recall.query_context import STRICTNESS, QueryContext, Stopwatch
from nimad.recall.scopes import Scopes
from nimad.recall.weights import DEFAULT, Weights
from nimad.store.bounded import get_within
from nimad.store.records import Records
from nimad.text import word_pattern
from nimad.times import local_zone
from nimad.words.index import TermIndex
from nimad.words.segment import Segment

if TYPE_CHECKING:
    from nimad.recall.evidence import Evidence
    from nimad.recall.scoring import Scoring

MODES = ("hybrid", "meaning", "words")

_FOLLOW_ROWS, _SPARING_ROWS = 500, 64
"""New memories or changes taken over between two queries, and where somebody asks: 5 and .7 ms."""


class Recall:
    """Answers queries over one store; safe to use from many threads.  `parts` gives the index and
    the embedder that belong together at this moment."""

    def __init__(
        self,
        records: Records,
        parts: Callable[[], tuple[BlockIndex, Embedder]],
        weights: Weights = DEFAULT,
        clock: Callable[[], int] = now_ms,
        file: Path | None = None,
        terms: TermIndex | None = None,
    ) -> None:
        """`file` is where the columns are kept between two starts; without one they are not.

        `terms`: the words index; without one, one in memory is made of all texts.
        """
        self.weights = weights
        self._records = records
        self._parts = parts
        self._clock = clock
        self._terms = terms or TermIndex(records)
        self._columns = Columns()
        self._follower = ColumnsFollower(records, self._terms, self._columns)
        self.columns_cache = ColumnsCache(file, records, self._columns)
        self._scopes = Scopes(records, self._columns, weights)
        self._serving: tuple[BlockIndex, Embedder] | None = None
        self._unacknowledged = (0, 0)
        self._fresh: tuple[object, ...] | None = None
        """What the columns were last found to be up to date at."""
        self._lock = ReadWriteLock()
        """Shared by queries, which change nothing; held alone to follow the records."""

    @cached_property
    def _scoring(self) -> Scoring:
        from nimad.recall.scoring import Scoring  # no start waits for it

        return Scoring(self._records, self._columns, self._terms, self.weights)

    def load(self) -> None:
        """Take the columns up, from their file and what was written since."""
        with self._reading():
            pass

    def every_id(self) -> Ids:
        """int64[n], ascending: the ids of all memories."""
        with self._reading():
            columns = self._columns
            every: Ids = columns.id[columns.alive[:]] if columns.dead else columns.id[:]
            return every

    def warm_up(self) -> None:
        """Touch every part once: the first query is as fast as the second."""
        word_pattern(ascii_only=False)
        self.query("warm up", 1, "hybrid", Filter())

    def follow(
        self,
        seconds: float = math.inf,
        give_way: Callable[[], object] = lambda: None,
        *,
        sparing: bool = False,
    ) -> bool:
        """Take over what was written up to now, in steps: then the next query need not.  Call it
        after writing many memories; queries are answered between the steps.

        Calls `give_way` before each step, which is shorter when `sparing`, and begins none after
        some `seconds`; True where something is left then.
        """
        head, end = self._records.head(), time.monotonic() + seconds
        rows = _SPARING_ROWS if sparing else _FOLLOW_ROWS
        while self._columns.seen < head:
            if time.monotonic() > end:
                return True
            give_way()
            with self._lock.exclusive():
                self._follower.sync(rows)
        return False

    def spare(self, after: int, last: int) -> None:
        """Queries need not have the changes above one up to another, additions all of them: their
        writer calls `follow` and tells its client only then.  Ends with `spare(0, 0)`."""
        self._unacknowledged = after, last

    def words_changed(self, sealed: Sequence[Segment], complete: bool) -> None:
        """These files of words count from now on, and they and what came later are all words there
        are (`complete`), or not yet."""
        with self._lock.exclusive():
            self._terms.restart(sealed, complete)
            self._terms.follow(self._columns.last_id)

    def keep(self, most_changes: int = KEEP_CHANGES) -> bool:
        """Write the columns to their file when that is due; whether it did.  Raises DiskFull.

        From then on they lie in the file, not in memory.
        """
        saved = self.columns_cache.save_when_due(self._reading(), most_changes)
        if saved:
            with self._lock.exclusive():
                self._scopes.clear()  # which hold the file of before
                self.columns_cache.map_saved()
        return saved

    def discard_columns(self) -> None:
        """Delete the file of the columns, so that nothing of it is left on the disk."""
        self.columns_cache.discard()
        with self._lock.exclusive():
            self._scopes.clear()
            self._columns.load()  # after the file is gone: it can no longer be mapped again
            self._drop_segments()

    def rest(self) -> None:
        """Give back what queries have read of the files."""
        with self._lock.shared():
            self._columns.give_back()
        self._terms.rest()
        with self._lock.exclusive():
            self._drop_segments()
        if self._has_scoring:
            self._scoring.rest()

    def close(self) -> None:
        """Give back what is held besides memory."""
        self._terms.close()
        if self._has_scoring:
            self._scoring.close()

    @property
    def _has_scoring(self) -> bool:
        """Whether anything was asked: to rest or to end makes no ranking."""
        return "_scoring" in self.__dict__

    def _drop_segments(self) -> None:
        """Let go of an index that was replaced, and of files that the index no longer has; to be
        called with the lock."""
        if self._serving is not None:
            self._serve_index()
        if self._has_scoring:
            self._scoring.drop_segments(self._parts()[0])

    def query(
        self,
        text: str,
        k: int,
        mode: str,
        where: Filter,
        now: int | None = None,
        watch: Stopwatch | None = None,
        zone: tzinfo | None = None,
        strictness: float = STRICTNESS,
    ) -> list[Hit]:
        """The best `k` memories for a text, best first; none when nothing fits.

        Args:
            now: epoch milliseconds from which "yesterday" in the text counts; default: the clock.
            watch: is told how long each part took, and when it is too long.
            zone: whose days "yesterday" and "May 2023" mean; default: this machine's.
            strictness: how much evidence an answer needs, in [0, 1]: at 0 everything passes.

        Raises UsageError for an unknown mode, QueryTooLong.
        """
        if mode not in MODES:
            raise UsageError(detail=f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        if k < 1:
            return []
        watch = watch or Stopwatch()
        at = self._clock() if now is None else now
        with self._reading() as parts:
            scope = self._scopes.of(where)
            watch.lap("wait")
            zone = zone or local_zone()
            context = QueryContext(text, k, mode, scope, at, zone, *parts, watch, strictness)
            scored = self._scoring.best(context) if scope.count else []
        watch.lap("fusion")
        memories = get_within(self._records, [number for number, *_ in scored])
        watch.lap("records")
        return [
            Hit(memories[number], score, made, copies)
            for number, score, made, copies in scored
            if number in memories
        ]

    def evidence(
        self,
        text: str,
        mode: str,
        where: Filter,
        now: int | None = None,
        watch: Stopwatch | None = None,
        zone: tzinfo | None = None,
        strictness: float = STRICTNESS,
    ) -> Evidence | None:
        """What `query` decides by whether to answer; None when there is nothing to look at."""
        at = self._clock() if now is None else now
        with self._reading() as parts:
            scope = self._scopes.of(where)
            if not scope.count:
                return None
            watch, zone = watch or Stopwatch(), zone or local_zone()
            context = QueryContext(text, 1, mode, scope, at, zone, *parts, watch, strictness)
            return self._scoring.evidence(context)

    def ids(self, where: Filter) -> Ids | None:
        """int64[m], ascending: the ids of what passes a filter; None when nothing is left out."""
        with self._reading():
            return self._scopes.of(where).ids

    def rows(self, where: Filter, *names: str) -> list[NDArray[Any]]:
        """Some columns of what passes a filter, in the order of ids; see `Columns`."""
        with self._reading():
            mask = self._scopes.of(where).mask
            return [getattr(self._columns, name)[mask] for name in names]

    def similar(self, memory: Memory, k: int, allowed: Ids | None = None) -> list[Hit]:
        """The `k` memories nearest in meaning to one, itself left out; scores are cosines.  By the
        vector that the index holds of it; one that is not encoded yet is embedded now."""
        blocks, embedder = self._parts()
        query = blocks.vector(memory.id)
        if query is None:
            query = embedder.embed([memory.text])[0]
        ids, scores = blocks.search(query, k + 1, allowed)
        near = [(float(s), int(i)) for i, s in zip(ids, scores, strict=True) if i != memory.id]
        memories = get_within(self._records, [i for _, i in near[:k]])
        return [
            Hit(memories[i], score, {"cosine": score})
            for score, i in near[:k]
            if score > 0 and i in memories
        ]

    def passages(
        self, hits: list[Hit], most: int, upto: int | None = None, where: Filter = EVERYTHING
    ) -> list[Passage]:
        """The best `most` passages of hits, nothing in them later than `upto`; see `context`."""
        with self._reading():
            around = context.ids_around(self._columns, hits)
        return context.passages(self._records, hits, around, upto, most, where)

    def _serve_index(self) -> None:
        parts = self._parts()
        if parts != self._serving:  # another embedder, or a rebuild: other lengths
            self._columns.forget_lengths()
            self._serving = parts

    def _stale(self) -> bool:
        if self._parts() != self._serving:
            return True
        seen, (after, last) = self._columns.seen, self._unacknowledged
        state = self._records.commits, seen, after, last  # before the head is read
        if state == self._fresh:
            return False
        head = self._records.head()
        if head != seen and not (after <= seen and head <= last):
            return True
        self._fresh = state
        return False

    @contextmanager
    def _reading(self) -> Iterator[tuple[BlockIndex, Embedder]]:
        """Inside, the columns hold what was written before, and nothing changes them.  Of what is
        not acknowledged yet (`spare`) they may hold a part.

        The first reader to find them stale follows the records; later readers also see them stale
        and wait behind it.  Gives the index and the embedder that the columns' lengths belong to.
        """
        if self._stale():
            with self._lock.exclusive():
                if self._stale():
                    if self._serving is None:
                        self.columns_cache.restore()
                    while not self._follower.sync():
                        pass
                    self._serve_index()
        with self._lock.shared():
            assert self._serving is not None
            yield self._serving
