"""Which memories are neighbours in a session, kept right as rows come and go.

A session is namespace, conversation and session together; its memories are neighbours in the order
of time, however far apart they are.

Memories that name neither conversation nor session may still be talk: those of one namespace that
say who speaks, follow each other within GAP, and are by two speakers.  Two by the same speaker
belong to it where another one speaks close by (BURST); a speaker that only the text names ("Anna:
...", see `speaker_prefix`) must speak again so close by.  Notes of one person are no talk, nor is
what has no speaker.  Equal times are in the order of ids, that of arrival: so talk keeps its
neighbours when it came without times, or with those of its sessions only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nimad.recall.columns import NONE, Columns, Rows
from nimad.recall.subjects import NO_SUBJECT

Flags = NDArray[np.bool_]

GAP = 10 * 60_000
"""Silence after which talk is taken to be over [ms].  Not fitted: labelled dialogues give the time
of a session at best, and there any gap does the same."""
BURST = 4
"""Memories within which another one must speak, for two by the same speaker to be talk."""
_REACH = (2 * BURST + 1) * GAP
"""Time around a row that comes or goes in which neighbours may change [ms]."""


def link_new_rows(columns: Columns, start: int) -> None:
    """Give the rows from `start` on their neighbours."""
    rows, ends = np.arange(start, columns.count), columns.ends(start)
    sessions, times = columns.session[rows].tolist(), columns.time[rows].tolist()
    pairs: list[tuple[int, int]] = []
    for row, session, moment in zip(rows.tolist(), sessions, times, strict=True):
        if session <= NONE:
            continue
        last = ends.get(session, NONE)  # its place is nearly always behind it
        time = columns.time[last] if last < start else times[last - start]
        if last == NONE or time <= moment:
            pairs.append((last, row))
            ends[session] = row
            continue
        _link_ends(columns, pairs)
        pairs = []
        before, after = last, NONE
        while before != NONE and columns.time[before] > moment:
            before, after = int(columns.before[before]), before
        _link(columns, before, row)
        _link(columns, row, after)
    _link_ends(columns, pairs)
    _renew_talk(columns, rows)


def _link_ends(columns: Columns, pairs: list[tuple[int, int]]) -> None:
    """Make rows at the ends of sessions, NONE for a new one, and rows behind them neighbours."""
    ends, rows = np.array(pairs, np.int64).reshape(-1, 2).T
    columns.touch(("before",), rows)
    columns.before[rows] = ends
    columns.length[rows] = 0
    ends, rows = ends[ends != NONE], rows[ends != NONE]
    columns.touch(("after",), ends)
    columns.after[ends] = rows
    columns.length[ends] = 0


def link_all_rows(columns: Columns) -> None:
    """All neighbours anew, by one sort.  Rows whose neighbours are unchanged keep their length."""
    old_before, old_after = columns.before.copy(), columns.after.copy()
    rows = np.flatnonzero(columns.alive[:] & ~columns.session.equal(NONE))
    order = rows[np.lexsort((rows, columns.time[rows], columns.session[rows]))]
    sessions = columns.session[order]
    same = sessions[1:] == sessions[:-1]
    near = same & ((sessions[1:] > NONE) | _talk(columns, order, same))
    columns.touch(("before", "after"), 0)
    columns.before[:] = NONE
    columns.after[:] = NONE
    columns.after[order[:-1][near]] = order[1:][near]
    columns.before[order[1:][near]] = order[:-1][near]
    columns.length[(columns.before != old_before) | (columns.after != old_after)] = 0
    columns.forget_ends()


def unlink_rows(columns: Columns, rows: Rows) -> None:
    """Take rows that are no longer alive out of their sessions; the rows beside become neighbours.
    In talk without a session only where they are close enough."""
    ends = columns.ends()
    for row in rows[columns.session[rows] > NONE].tolist():
        before, after = int(columns.before[row]), int(columns.after[row])
        if ends.get(int(columns.session[row])) == row:
            ends[int(columns.session[row])] = before
        _link(columns, before, after)
    columns.touch(("before", "after"), rows)
    columns.before[rows] = columns.after[rows] = NONE
    _renew_talk(columns, rows)


def _link(columns: Columns, before: int, after: int) -> None:
    """Make two rows neighbours; one of them may be NONE."""
    if before != NONE:
        columns.touch(("after",), before)
        columns.after[before] = after
        columns.length[before] = 0
    if after != NONE:
        columns.touch(("before",), after)
        columns.before[after] = before
        columns.length[after] = 0


# --- talk without a session ---------------------------------------------------------------------


def _renew_talk(columns: Columns, rows: Rows) -> None:
    """The neighbours anew around rows without a session that came or went."""
    codes = columns.session[rows]
    for code in np.unique(codes[codes < NONE]).tolist():
        times = columns.time[rows[codes == code]]
        first, last = int(times.min()) - _REACH, int(times.max()) + _REACH
        # speakers beyond these count for bursts; 40 µs for 100,000 rows
        order = np.flatnonzero(columns.time.since(first - _REACH))
        order = order[columns.time[order] <= last + _REACH]
        order = order[(columns.session[order] == code) & columns.alive[order]]
        moments = columns.time[order]
        order = order[np.argsort(moments, kind="stable")]
        moments.sort()
        near = _talk(columns, order, np.ones(max(len(order) - 1, 0), np.bool_))
        before, after = np.full_like(order, NONE), np.full_like(order, NONE)
        after[:-1][near] = order[1:][near]
        before[1:][near] = order[:-1][near]
        inside = (moments >= first) & (moments <= last)
        inner, before, after = order[inside], before[inside], after[inside]
        changed = (columns.before[inner] != before) | (columns.after[inner] != after)
        columns.length[inner[changed]] = 0
        columns.touch(("before", "after"), inner[changed])
        columns.before[inner] = before
        columns.after[inner] = after


def _talk(columns: Columns, order: Rows, same: Flags) -> Flags:
    """bool[n - 1]: whether each of `order: int64[n]`, in the order of time, and the next are talk.
    `same: bool[n - 1]`, whether both are of one namespace."""
    close = same & (np.diff(columns.time[order]) <= GAP)
    who = columns.who[order]
    # a prefix that does not recur within a stretch without a silence may be a title
    stretch = np.cumsum(np.append(True, ~close))[: len(order)]
    speaks: Flags = who > NO_SUBJECT
    for step in range(1, BURST + 1):
        again = (who[step:] == who[:-step]) & (stretch[step:] == stretch[:-step])
        speaks[step:] |= again
        speaks[:-step] |= again
    close &= speaks[1:] & speaks[:-1]
    talk: Flags = close & (np.diff(who) != 0)
    for _ in range(BURST):
        nearby = talk.copy()
        nearby[1:] |= talk[:-1]
        nearby[:-1] |= talk[1:]
        talk = nearby & close
    return talk
