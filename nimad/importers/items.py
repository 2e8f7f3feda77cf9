"""What an importer tells: parts, the items in them, what it had to refuse, and what is connected.

A source is a series of parts (a file of notes, a session, a database).  After a part has begun, all
items that follow are its own.  The key of an item is stable: a second look at the same source
gives the same one.  Where a source has ids of its own it is one of these; a line of notes, which
has none, is named by a digest of what it says: one that was edited is another item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from nimad import times
from nimad.dataclass import dataclass
from nimad.model import Memory


@dataclass(frozen=True, slots=True)
class Part:
    """A part begins.  Of a `whole` one, what is stored and not told again is gone from there."""

    name: str
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Item:
    """A memory of the part, and its key there; "" names it by its text, as that is stored: a secret
    that is masked leaves no digest."""

    key: str
    memory: Memory


@dataclass(frozen=True, slots=True)
class Rejected:
    """What could not be taken, and why.  `unread` says that the part may hold more that could not
    be read: then nothing of it counts as gone."""

    key: str
    reason: str
    unread: bool = False


@dataclass(frozen=True, slots=True)
class Linked:
    """A relation from an item of the part ("": the last one) to another item: its part and key, or
    a part alone, which stands for its first item."""

    key: str
    target_part: str
    target_key: str
    relation: str
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """All parts whose names begin with `prefix` were told: a part that is stored and was not is
    gone from the source, with its items; but for those below a part that was not read and whose
    name ends with a slash."""

    prefix: str


Event: TypeAlias = Part | Item | Rejected | Linked | Whole


@dataclass(frozen=True)
class Importer:
    """A kind of source.

    Attributes:
        kind: its name.
        title: what it is, for people.
        detect: how sure it is that a path is one, in [0, 1]; it looks at names and the begin of
            files, and raises nothing but OSError and ValueError.
        read: what stands there; raises NimadError where nothing can be read.
        identity: by what the source is known again; an export is saved under another name each
            time, so it is not always the path.
        links: whether it tells relations.
    """

    kind: str
    title: str
    detect: Callable[[Path], float]
    read: Callable[[Path], Iterator[Event]]
    identity: Callable[[Path], str] = str
    links: bool = False


def key_of(*texts: str) -> str:
    """16 hexadecimal digits that stand for some texts."""
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=8).hexdigest()


def moment(value: Any, extra: dict[str, Any]) -> int | None:
    """A time as epoch milliseconds, None for none; what cannot be read is kept in `extra`."""
    try:
        return times.read(value, times.local_zone()).at
    except ValueError:
        extra["time"] = str(value)[:100]
        return None
