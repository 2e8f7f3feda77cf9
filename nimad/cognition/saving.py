"""Moving memories between stores in this process, and from legacy files into one."""

from __future__ import annotations

from pathlib import Path

from nimad.cognition.embedded import FILES, Embedded
from nimad.disk.durable import write_durable
from nimad.errors import UsageError

PAGE = 500
NOTE = b"The memories are in records.sqlite, beside this file: nimad keeps them there.\n"


def copy_into(source: Embedded, target: Embedded) -> int:
    """Copy every memory, in order, into an empty store; how many.

    Raises UsageError when the target holds memories.  A crash leaves whole pages of them there.
    """
    if target.store.records.counts()["memories"]:
        raise UsageError(
            detail=f"{target.state} holds other memories already; load them, or save elsewhere"
        )
    after, copied = 0, 0
    while page := source.store.export(after, PAGE):
        after = page[-1].id
        for memory in page:
            memory.id, memory.source = 0, None
        copied += len(target.store.remember_many(page))
    return copied


def load_into(home: Embedded, path: Path) -> int:
    """Take over a legacy file or directory into a store; how many memories it has now.

    Raises SourceNotRecognised and the like.
    """
    from nimad.cognition.taking import take_over

    take_over(home, path)
    return home.store.records.counts()["memories"]


def mark(filepath: str | Path) -> None:
    """Leave a note where a file would lie, for programs that look whether it exists.

    A legacy file of that name is never overwritten.
    """
    place = Path(filepath).expanduser()
    if place.suffix in FILES and not place.exists():
        write_durable(place, [NOTE])
