"""Follows the records: new memories become rows of the columns, deleted ones leave them.

It does not matter what wrote them.  What the log no longer holds is found by comparing ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.recall import session_neighbours, speaker_prefix
from nimad.recall.columns import CODES, MOST_WORDS, NONE, Columns, Session, fingerprints
from nimad.recall.layers import is_instruction
from nimad.recall.subjects import NO_SUBJECT, Subjects
from nimad.store import rows
from nimad.store.bounded import rows_within
from nimad.store.records import Records
from nimad.words.index import TermIndex

_PAGE, _PAGE_CHARS = 5000, 250_000
"""Memories read by one statement, and the length of their texts [memories], [characters]."""
_CHANGES = 100_000
"""Changes of the log read at once."""
_BULK_ROWS = _PAGE // 10
"""New rows from which on all neighbours are found by one sort."""
_DEAD_SHARE = 4
"""Rows for one dead row: with more dead ones, they are taken out."""

_CODED = "".join(f", {rows.SHOWN[name]}" for name in CODES)
PAGE_SQL = f"""
SELECT m.id, ifnull(CAST(m.timestamp AS INTEGER), 0), ifnull(m.namespace & 2147483647, 0),
       ifnull(m.layer & 2147483647, 0), m.conversation & 2147483647, m.session & 2147483647,
       CAST(m.who AS TEXT), CAST(m.importance AS REAL), CAST(ifnull(m.text, '') AS TEXT){_CODED}
FROM memories m
WHERE m.id BETWEEN ? AND ? ORDER BY m.id LIMIT ?
"""
"""A row as its types say, whatever a flipped bit made of it: one must not cost all answers."""
_QUESTION_MARKS = ("?", "？", "؟")


class ColumnsFollower:
    """Keeps columns and postings in step with the records.  Not for several threads."""

    def __init__(self, records: Records, terms: TermIndex, columns: Columns) -> None:
        self._records = records
        self._terms = terms
        self._columns = columns

    def sync(self, most: int = 1 << 60) -> bool:
        """Take over what changed since the last call; True when nothing is left.

        `most` bounds the changes and the new memories of one call.  Every call gets further (it
        reads new rows, or ends at a later change), whatever was deleted meanwhile.

        Changes are applied together: the memories that came are those with ids above all known
        ones, so whether they came one by one or at once is the same, and one that is gone again is
        not read at all.  Deletions follow; to delete what is not here does nothing.
        """
        columns, head = self._columns, self._records.head()
        self._terms.follow(columns.last_id)  # what a file of the columns was ahead of the words
        if head == columns.seen:
            return True
        changes = self._records.changes(columns.seen, min(most, _CHANGES))
        # asked last: what was pruned while the changes were read would be missing from them
        if changes is None or columns.seen < self._records.pruned_to():
            # By the ids that exist: of what the columns hold only times may change, and no id is
            # given twice, so nothing else needs to be read again.
            last = int(self._records.value("SELECT max(id) FROM memories") or 0)
            if not self._read_new(last, most):
                return False
            gone = columns.id[columns.alive[:] & ~np.isin(columns.id[:], self._records.ids())]
            self._remove([(number, number) for number in gone.tolist()])
            self._read_times([(0, last)])
            columns.seen = head
            return True
        memories = [change for change in changes if change.kind == "memory"]
        last = max((change.last for change in memories if change.op == "add"), default=0)
        if not self._read_new(last, most):
            return False
        self._remove([(c.first, c.last) for c in memories if c.op == "delete"])
        if moved := [(c.first, c.last) for c in memories if c.op == "change"]:
            self._read_times(moved)
        columns.seen = changes[-1].seq if changes else head
        if columns.dead * _DEAD_SHARE > columns.count:
            columns.compact()
        return columns.seen >= head

    def _read_new(self, last: int, most: int) -> bool:
        """Read the memories above the known ones, up to an id; whether all of them were read."""
        columns = self._columns
        start = columns.count
        while most and columns.last_id < last:
            bounds = (columns.last_id + 1, last, min(most, _PAGE))
            page = rows_within(self._records, PAGE_SQL, bounds, (6, 8), _PAGE_CHARS)
            if not page:
                break
            words = self._terms.add([row[0] for row in page], [row[8] for row in page])
            columns.append(_fields_of(page, words, columns.subjects, columns.sessions))
            most -= len(page)
        added = columns.count - start
        if added:
            if added > _BULK_ROWS:
                session_neighbours.link_all_rows(columns)
            else:
                session_neighbours.link_new_rows(columns, start)
            columns.version += 1
            columns.changed += added
        return most > 0

    def _read_times(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Read the times of the memories in ranges of ids anew, and who is beside whom with them:
        of all ranges at once, as a client may change many dates, and many times the same ones."""
        columns = self._columns
        sql = (
            "SELECT m.id, ifnull(CAST(timestamp AS INTEGER), 0) FROM json_each(?) AS span"
            " CROSS JOIN memories m ON m.id BETWEEN span.value ->> 0 AND span.value ->> 1"
        )
        spans = json.dumps(_joined(ranges))
        found = np.array(self._records.rows(sql, (spans,)), np.int64).reshape(-1, 2)
        found = found[np.isin(found[:, 0], columns.id[:])]
        rows = columns.rows_of(found[:, 0])
        changed = columns.time[rows] != found[:, 1]
        if changed.any():
            columns.set_times(rows, found[:, 1])
            session_neighbours.link_all_rows(columns)
            columns.note_edit()
            columns.changed += int(np.count_nonzero(changed))

    def _remove(self, ranges: Sequence[tuple[int, int]]) -> None:
        """The memories in ranges of ids are gone; those that are not here are left out."""
        columns = self._columns
        if not ranges or not columns.count:
            return
        first, last = np.array(ranges, np.int64).T
        lows, highs = columns.id.searchsorted(first), columns.id.searchsorted(last, "right")
        doomed = np.zeros(columns.count, np.bool_)
        for low, high in zip(lows.tolist(), highs.tolist(), strict=True):
            doomed[low:high] = True
        rows = np.flatnonzero(doomed & columns.alive[:])
        if len(rows):
            columns.mark_dead(rows)
            session_neighbours.unlink_rows(columns, rows)


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of ids in their order, those that touch each other as one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _fields_of(
    page: Sequence[tuple[Any, ...]],
    words: NDArray[np.int64],
    subjects: Subjects,
    sessions: dict[Session, int],
) -> dict[str, Sequence[Any] | NDArray[Any]]:
    """The values of each column for rows of PAGE_SQL; new names and sessions are given codes."""
    (ids, times, spaces, layers, talks, names, who, weights, texts, *coded) = zip(
        *page, strict=True
    )
    speakers = [
        subjects.code(name) if name else speaker_prefix.code_of_text(text)
        for name, text in zip(who, texts, strict=True)
    ]
    return {
        "id": ids,
        "time": times,
        "namespace": spaces,
        "layer": layers,
        "session": [
            loose_session(space, speaker)
            if talk is None and session is None
            else sessions.setdefault((space, talk, session), len(sessions))
            for space, talk, session, speaker in zip(spaces, talks, names, speakers, strict=True)
        ],
        "who": speakers,
        "alive": [True] * len(page),
        "importance": [0.5 if weight is None else weight for weight in weights],
        "words": np.minimum(words, MOST_WORDS),
        "asks": [text.rstrip(" ").endswith(_QUESTION_MARKS) for text in texts],
        "instructs": [is_instruction(text) for text in texts],
        "print": fingerprints(texts),
        **{
            name: [codes.get(value, 0) for value in values]
            for (name, codes), values in zip(CODES.items(), coded, strict=True)
        },
    }


def loose_session(space: int, speaker: int) -> int:
    """The code in place of a session's for a memory that names none.  Below NONE, one for each
    namespace (an id of a name); NONE for a memory without a speaker."""
    return NONE if speaker == NO_SUBJECT else NONE - space
