"""Postings of the words index, read a term at a time and kept: what BM25 needs, without FTS5's.

FTS5 finds rows fast and scores them slowly: its `bm25()` costs more than everything else in a
query.  So the postings of a term (which memory holds it, how often) are read once, through
`fts5vocab`, and kept in RAM within a budget.  Memories that came later stand in a small FTS5 table
in memory, the tail, until it is full and everything is read anew.  Forgotten memories may stay in
the postings: the caller knows what exists.

Words are cut by `nimad.text`, scripts without spaces into pairs of characters; FTS5 only stems
them.  One character of such a script alone is looked for as the beginning of pairs, and words of
other scripts by their beginnings (`nimad.text.asked_for`).
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.errors import RecordsDamaged, WordsDamaged
from nimad.store.records import Records
from nimad.store.schema import TOKENIZER
from nimad.store.transaction import WORDS_GAP
from nimad.text import asked_for, beginning, indexed, is_paired, signs, tokens

POSTINGS_KEPT = 600_000
"""Postings kept of all terms together, at 8 bytes or so: about 5 MB."""
TERM_COST = 64
"""What a kept term takes besides its postings, in postings; one that no memory holds, too."""
TAIL_ROWS = 512
"""Most memories in the tail: a look into it costs some microseconds."""
BULK_ROWS = 100
"""Memories that come at once from which on they are not put there: reading their terms anew costs a
query less."""


@dataclass(frozen=True, slots=True)
class Postings:
    """ids: int64[n], ascending; counts: float32[n], how often each holds the term in its text."""

    ids: NDArray[np.int64]
    counts: NDArray[np.float32]

    @classmethod
    def of(cls, ids: NDArray[np.int64]) -> Postings:
        """From ids in any order, one for each occurrence."""
        unique, counts = np.unique(ids, return_counts=True)
        return cls(unique, counts.astype(np.float32))


@dataclass(frozen=True, slots=True)
class _Kept:
    postings: Postings
    upto: int
    """Later memories are in the tail."""


class TermIndex:
    """Terms and their postings over one store; `cut` and `postings` are for many threads."""

    def __init__(
        self, records: Records, on_damage: Callable[[RecordsDamaged], None] | None = None
    ) -> None:
        """`on_damage` is told that the index cannot be read; without it that stays an error."""
        self._records = records
        self._on_damage = on_damage
        self.complete = not records.rows(WORDS_GAP)
        """Whether every memory is in the index; else nothing is read of it."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0
        self._tail = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._tail.executescript(
            f"CREATE VIRTUAL TABLE tail USING fts5 (text, tokenize = '{TOKENIZER}');"
            "CREATE VIRTUAL TABLE tail_terms USING fts5vocab (tail, instance);"
            f"CREATE VIRTUAL TABLE one USING fts5 (text, tokenize = '{TOKENIZER}');"
            "CREATE VIRTUAL TABLE one_terms USING fts5vocab (one, instance);"
        )
        self._tail_rows = 0
        self.cut: Callable[[str], tuple[str, ...]] = lru_cache(maxsize=4096)(self._cut)

    def close(self) -> None:
        """Close the tail."""
        self._tail.close()

    def report_damage(self, error: RecordsDamaged) -> None:
        """Tell that the index cannot be read; raises `error` when there is no one to tell."""
        if self._on_damage is None:
            raise error
        self._on_damage(error)

    # --- what the records say -----------------------------------------------------------------

    def clear(self) -> None:
        """Forget everything that was read: the index was made anew, or much was added."""
        self._kept.clear()
        self._size = 0
        self._tail.execute("DELETE FROM tail")
        self._tail_rows = 0

    def added(self, first: int, last: int) -> None:
        """Memories with these ids (a range) came; reads their texts when they are few."""
        if not self._kept:
            return
        many = last - first + 1
        if many > BULK_ROWS or self._tail_rows + many > TAIL_ROWS:
            self.clear()
            return
        rows = self._records.rows(
            "SELECT id, text FROM memories WHERE id BETWEEN ? AND ?", (first, last)
        )
        self._tail.executemany(
            "INSERT INTO tail (rowid, text) VALUES (?, ?)",
            [(number, " ".join(indexed(text))) for number, text in rows],
        )
        self._tail_rows += len(rows)

    def removed(self, first: int, last: int) -> None:
        """Memories with these ids (a range) are gone: their texts leave the tail."""
        if self._tail_rows:
            self._tail.execute("DELETE FROM tail WHERE rowid BETWEEN ? AND ?", (first, last))

    # --- what a query asks --------------------------------------------------------------------

    def _cut(self, word: str) -> tuple[str, ...]:
        """What is asked of the index for a word: in the common form, stemmed, or its pairs."""
        found: list[str] = []
        for token in tokens(word) or signs(word):
            term = asked_for(token)
            found += self._stem(token) if term is token and not is_paired(token) else [term]
        return tuple(found)

    def _stem(self, token: str) -> list[str]:
        with self._lock:
            self._tail.execute("DELETE FROM one")
            self._tail.execute("INSERT INTO one VALUES (?)", (token,))
            rows = self._tail.execute("SELECT term FROM one_terms ORDER BY offset").fetchall()
        return [row[0] for row in rows]

    def postings(self, term: str, upto: int) -> Postings:
        """Who holds a term; `upto`: the last id that the caller knows.

        Raises WordsDamaged, also while the index is incomplete.
        """
        if not self.complete:
            raise WordsDamaged(path=self._records.path, detail="it is being made anew")
        with self._lock:
            kept = self._kept.get(term)
            if kept is None:
                kept = self._read(term, upto)
            else:
                self._kept.move_to_end(term)
            late: list[tuple[int]] = []
            if self._tail_rows:
                condition, bounds = _condition(term)
                sql = f"SELECT doc FROM tail_terms WHERE {condition} AND doc > ?"
                late = self._tail.execute(sql, (*bounds, kept.upto)).fetchall()
        if not late:
            return kept.postings
        more = Postings.of(np.array(late, np.int64).reshape(-1))
        return Postings(
            np.concatenate([kept.postings.ids, more.ids]),
            np.concatenate([kept.postings.counts, more.counts]),
        )

    def holders(self, term: str) -> int:
        """About how many memories hold a term; much cheaper than to read which.

        Raises WordsDamaged.
        """
        with self._lock:
            kept = None if self._tail_rows else self._kept.get(term)
        if kept is not None:
            return len(kept.postings.ids)
        condition, bounds = _condition(term)
        sql = f"SELECT sum(doc) FROM temp.holders WHERE {condition}"
        return int(_of_index(self._records, sql, bounds)[0][0] or 0)

    def _read(self, term: str, upto: int) -> _Kept:
        ids = occurrences(self._records, term)
        found = Postings.of(ids[ids <= upto])
        kept = _Kept(found, upto)
        self._kept[term] = kept
        self._size += len(found.ids) + TERM_COST
        while self._size > POSTINGS_KEPT and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._size -= len(gone.postings.ids) + TERM_COST
        return kept


def occurrences(records: Records, term: str) -> NDArray[np.int64]:
    """The id of a memory for each time its text holds a term of the index; int64[n].

    Raises WordsDamaged.
    """
    condition, bounds = _condition(term)
    sql = f"SELECT doc FROM temp.terms WHERE {condition} AND col != 'who'"
    return np.array(_of_index(records, sql, bounds), np.int64).reshape(-1)


def _of_index(records: Records, sql: str, bounds: tuple[str, ...]) -> list[tuple[Any, ...]]:
    try:
        return records.rows(sql, bounds)
    except RecordsDamaged as error:  # nothing but the index was read
        raise WordsDamaged(**error.fields) from error


def _condition(term: str) -> tuple[str, tuple[str, ...]]:
    """SQL that picks the rows of a vocabulary for a term, and its parameters."""
    if (first := beginning(term)) is not None:
        return "term >= ? AND term < ?", (first, first + chr(0x10FFFF))
    return "term = ?", (term,)


def lengths(sizes: Sequence[bytes | None]) -> list[int]:
    """How many words each text has, of FTS5's `docsize` records: a varint for each column."""
    found = []
    for size in sizes:
        value = 0
        for byte in (size or b"")[:9]:  # the varint of the first column
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                break
        found.append(value)
    return found
