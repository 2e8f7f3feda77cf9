"""Which backups were made of the records, so that a purge can tell what still holds what it purged.

The last MOST of them, in `meta`: where the client that asked for one said it would be, when it was
made, and how far it reaches.  One is noted before the first byte is read, so that a purge meanwhile
knows of it; until it is done nobody knows how far it reaches (None), and it counts for everything.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from nimad.store.records import Records
from nimad.store.transaction import Transaction

KEY = "backups"
"""The key in `meta`."""
MOST = 50
"""Backups that are remembered [backups]."""

Known = dict[str, Any]
"""`path`, `made` [epoch ms], `sequence`, and the highest ids of a memory and of a source in it:
`last_memory`, `last_source`."""


def known(records: Records) -> list[Known]:
    """The backups that are remembered, oldest first."""
    return _read(records.meta(KEY))


def latest(records: Records) -> Known | None:
    """The path and the time of the last one that was finished."""
    done = [each for each in known(records) if each["sequence"] is not None]
    return {name: done[-1][name] for name in ("path", "made")} if done else None


def _read(written: str | None) -> list[Known]:
    return json.loads(written) if written else []


def note(records: Records, path: str, **facts: int | None) -> None:
    """Remember a backup, in place of what was known of one at that path before."""
    new = {"path": path, **facts}
    with records.write() as tx:
        _keep(tx, [*(each for each in _current(tx) if each["path"] != path), new])


def forget(records: Records, paths: Collection[str]) -> int:
    """Forget backups that are gone; how many were known."""
    with records.write() as tx:
        before = _current(tx)
        left = [each for each in before if each["path"] not in paths]
        _keep(tx, left)
    return len(before) - len(left)


def holding(records: Records, ids: Collection[int], sources: Collection[int]) -> list[Known]:
    """Those that may hold memories with these ids, or rows of the snapshots of these sources."""

    def reaches(last: int | None, first: int | None) -> bool:
        return first is not None and (last is None or last >= first)

    of_memory, of_source = min(ids, default=None), min(sources, default=None)
    return [
        each
        for each in known(records)
        if reaches(each["last_memory"], of_memory) or reaches(each["last_source"], of_source)
    ]


def _current(tx: Transaction) -> list[Known]:
    found = tx.rows("SELECT value FROM meta WHERE key = ?", (KEY,))
    return _read(found[0][0] if found else None)


def _keep(tx: Transaction, backups: list[Known]) -> None:
    tx.set_meta(KEY, json.dumps(backups[-MOST:]))
