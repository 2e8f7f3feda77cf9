"""The memories of a session as a chain in the order of time: keeps the neighbours right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nimad.recall.reading import NONE

if TYPE_CHECKING:
    from nimad.recall.columns import Columns


def chain(columns: Columns, row: int) -> None:
    """Put a new row where its time belongs in its session: nearly always at the end."""
    session = int(columns.session[row])
    if session == NONE:
        return
    before, after = columns.ends.get(session, NONE), NONE
    while before != NONE and columns.time[before] > columns.time[row]:
        before, after = int(columns.before[before]), before
    link(columns, before, row)
    link(columns, row, after)
    if after == NONE:
        columns.ends[session] = row


def link(columns: Columns, before: int, after: int) -> None:
    """Make two rows neighbours; one of them may be NONE."""
    if before != NONE:
        columns.after[before] = after
        columns.length[before] = np.nan
    if after != NONE:
        columns.before[after] = before
        columns.length[after] = np.nan


def chain_all(columns: Columns) -> None:
    """All chains anew: one sort.  Who keeps his neighbours keeps his length."""
    old_before, old_after = columns.before.copy(), columns.after.copy()
    rows = np.flatnonzero(columns.alive & (columns.session != NONE))
    order = rows[np.lexsort((rows, columns.time[rows], columns.session[rows]))]
    columns.before[:] = NONE
    columns.after[:] = NONE
    same = columns.session[order[1:]] == columns.session[order[:-1]]
    columns.after[order[:-1][same]] = order[1:][same]
    columns.before[order[1:][same]] = order[:-1][same]
    columns.length[(columns.before != old_before) | (columns.after != old_after)] = np.nan
    last = order[np.append(~same, True)] if len(order) else order
    columns.ends = dict(zip(columns.session[last].tolist(), last.tolist(), strict=True))
