"""Which memories are neighbours: chains in the order of time, kept right as rows come and go.

The memories of one session, or of one conversation without sessions, form a chain, however far
apart they are in time.

Memories that name neither may be talk all the same, of somebody who keeps no sessions: those of one
namespace that say who speaks, follow each other within GAP, and are by two speakers.  Two by the
same speaker belong to it where another one speaks close by (BURST).  What one person notes down is
no talk, nor is what has no speaker.  Equal times are in the order of ids, that of their arrival: so
talk keeps its neighbours when it came without times, or with those of its sessions only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nimad.recall.reading import NONE

if TYPE_CHECKING:
    from nimad.recall.columns import Columns

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

GAP = 10 * 60_000
"""So long a silence [ms] does not end talk: after a longer one, something else began.  Not fitted:
labelled dialogues give the time of a session at best, and there any gap does the same."""
BURST = 4
"""So many memories further on another one must speak, for two by the same speaker to be talk."""
_REACH = (BURST + 1) * GAP
"""No neighbours change further than this from a row that comes or goes."""


def chain_new(columns: Columns, start: int) -> None:
    """Put the rows from `start` on where they belong."""
    rows = np.arange(start, columns.count)
    for row in rows[columns.session[rows] > NONE].tolist():
        _chain(columns, row)
    _renew(columns, rows)


def chain_all(columns: Columns) -> None:
    """All chains anew: one sort.  Who keeps his neighbours keeps his length."""
    old_before, old_after = columns.before.copy(), columns.after.copy()
    rows = np.flatnonzero(columns.alive & (columns.session != NONE))
    order = rows[np.lexsort((rows, columns.time[rows], columns.session[rows]))]
    sessions = columns.session[order]
    same = sessions[1:] == sessions[:-1]
    near = same & ((sessions[1:] > NONE) | _talk(columns, order, same))
    columns.before[:] = NONE
    columns.after[:] = NONE
    columns.after[order[:-1][near]] = order[1:][near]
    columns.before[order[1:][near]] = order[:-1][near]
    columns.length[(columns.before != old_before) | (columns.after != old_after)] = np.nan
    columns.ends = ends(columns)


def unchain(columns: Columns, rows: Rows) -> None:
    """Take rows that are no longer alive out of their chains; those beside them become neighbours.

    In talk without a session only where that is not too far.
    """
    for row in rows[columns.session[rows] > NONE].tolist():
        before, after = int(columns.before[row]), int(columns.after[row])
        if columns.ends.get(int(columns.session[row])) == row:
            columns.ends[int(columns.session[row])] = before
        _link(columns, before, after)
    columns.before[rows] = columns.after[rows] = NONE
    _renew(columns, rows)


def ends(columns: Columns) -> dict[int, int]:
    """The last row of every session, by its code."""
    last = np.flatnonzero(columns.alive & (columns.session > NONE) & (columns.after == NONE))
    return dict(zip(columns.session[last].tolist(), last.tolist(), strict=True))


def _chain(columns: Columns, row: int) -> None:
    """Put a new row where its time belongs in its session: nearly always at the end."""
    session = int(columns.session[row])
    before, after = columns.ends.get(session, NONE), NONE
    while before != NONE and columns.time[before] > columns.time[row]:
        before, after = int(columns.before[before]), before
    _link(columns, before, row)
    _link(columns, row, after)
    if after == NONE:
        columns.ends[session] = row


def _link(columns: Columns, before: int, after: int) -> None:
    """Make two rows neighbours; one of them may be NONE."""
    if before != NONE:
        columns.after[before] = after
        columns.length[before] = np.nan
    if after != NONE:
        columns.before[after] = before
        columns.length[after] = np.nan


# --- talk without a session ---------------------------------------------------------------------


def _renew(columns: Columns, rows: Rows) -> None:
    """The neighbours anew around rows that came or went, of those without a session."""
    codes = columns.session[rows]
    for code in np.unique(codes[codes < NONE]).tolist():
        times = columns.time[rows[codes == code]]
        _renew_between(columns, code, int(times.min()) - _REACH, int(times.max()) + _REACH)


def _renew_between(columns: Columns, code: int, first: int, last: int) -> None:
    """The neighbours anew between two times; who speaks beyond them counts for bursts.

    One comparison of every time, 40 µs for 100,000; the rest has to do with those found.
    """
    order = np.flatnonzero(columns.time >= first - _REACH)
    time = columns.time[order]
    order = order[(time <= last + _REACH) & (columns.session[order] == code) & columns.alive[order]]
    order = order[np.argsort(columns.time[order], kind="stable")]
    near = _talk(columns, order, np.ones(max(len(order) - 1, 0), np.bool_))
    before, after = np.full_like(order, NONE), np.full_like(order, NONE)
    after[:-1][near] = order[1:][near]
    before[1:][near] = order[:-1][near]
    inside = (columns.time[order] >= first) & (columns.time[order] <= last)
    rows, before, after = order[inside], before[inside], after[inside]
    changed = (columns.before[rows] != before) | (columns.after[rows] != after)
    columns.length[rows[changed]] = np.nan
    columns.before[rows] = before
    columns.after[rows] = after


def _talk(columns: Columns, order: Rows, same: Flags) -> Flags:
    """bool[n - 1]: whether each of `order: int64[n]`, in the order of time, and the next are talk.

    `same: bool[n - 1]`, whether both are of one namespace.
    """
    close = same & (np.diff(columns.time[order]) <= GAP)
    talk: Flags = close & (np.diff(columns.who[order]) != 0)
    for _ in range(BURST):
        nearby = talk.copy()
        nearby[1:] |= talk[:-1]
        nearby[:-1] |= talk[1:]
        talk = nearby & close
    return talk
