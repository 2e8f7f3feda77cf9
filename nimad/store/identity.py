"""Who a store is in a fleet: its UUID, and those it had before it was restored elsewhere.

`meta.identity` is a JSON list of [UUID, first id]: memory n was made under the last entry whose
first id is not above n.  That and n are the memory's global key, the same on each board.  A store
has no UUID until it first needs one.  A copy of it that lives on elsewhere needs another (`renew`),
for both would give the same ids to different memories; what was there before keeps its key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from nimad.dataclass import dataclass
from nimad.store.records import Records
from nimad.store.schema import last_number
from nimad.store.transaction import Transaction

META = "identity"
RENEW = f"""
UPDATE meta SET value = json_insert(value, '$[#]',
    json_array(lower(hex(randomblob(16))), {last_number("memories")} + 1)) WHERE key = '{META}'
"""
"""SQL that gives a restored store a UUID of its own; see `renew`."""


@dataclass(frozen=True)
class Identity:
    """The UUIDs of a store (hexadecimal), each with the first id that was made under it."""

    parts: tuple[tuple[str, int], ...]

    @property
    def store(self) -> str:
        """The UUID under which memories are made now."""
        return self.parts[-1][0]

    def store_of(self, number: int) -> str:
        """The UUID under which a memory of this board was made."""
        return next((s for s, first in reversed(self.parts) if first <= number), self.parts[0][0])

    def is_own(self, store: str, number: int) -> bool:
        """Whether a global key is that of a memory of this board."""
        return self.store_of(number) == store


def _read(rows: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]) -> Identity | None:
    found = rows("SELECT value FROM meta WHERE key = ?", (META,))
    return Identity(tuple(map(tuple, json.loads(found[0][0])))) if found else None


def identity(records: Records) -> Identity:
    """Who this store is; decided now where it was not yet."""
    if (known := _read(records.rows)) is not None:
        return known
    from uuid import uuid4

    with records.write() as tx:
        made = _read(tx.rows) or Identity(((uuid4().hex, 0),))
        tx.set_meta(META, json.dumps(made.parts))
    return made


def renew(tx: Transaction) -> None:
    """Give a restored store a UUID of its own, in place of that of the store it is a copy of; it
    keeps none where it had none.  To be called before anything is remembered in it."""
    tx.execute(RENEW)
