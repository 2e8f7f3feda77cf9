"""Making the whole graph anew from the records, in a file of its own.

Crash prose: until `GraphFiles.swap_in` renames it, the new file is garbage that the next start
removes; nothing refers to it.  Inside it nothing needs to survive a crash, so the rows are copied
without transactions and folded in once, at the end.

The rows are read page by page while others write.  The watermark is the feed's head before the
first page, so whatever comes or goes during the reading is in the log after it; following the log
skips what is there already.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from nimad.disk.durable import crash_point
from nimad.graph.engine import Engine, GraphLimits
from nimad.graph.feed import ChangeFeed, every
from nimad.graph.files import GraphFiles
from nimad.graph.tables import (
    MEMBER,
    MEMORY,
    RELATION,
    TURN,
    Meta,
    copy,
    create_tables,
    member_lines,
    memory_line,
    relation_line,
    turn_line,
    write_meta,
)
from nimad.model import Turn

ROW_BYTES = 200
"""A row takes 20 to 50 bytes in the end, and as much again while the log is folded in."""


@dataclass(slots=True)
class _Ids:
    """Which memory ids there are: one bit of knowledge in a byte each."""

    present: bytearray = field(default_factory=bytearray)

    def add(self, number: int) -> None:
        if number >= len(self.present):
            self.present.extend(bytes(number + 1 + len(self.present) // 2 - len(self.present)))
        self.present[number] = 1

    def __call__(self, number: int) -> bool:
        return 0 <= number < len(self.present) and bool(self.present[number])


def build(files: GraphFiles, limits: GraphLimits, feed: ChangeFeed | None) -> None:
    """Write `files.new`: the graph of everything in the feed; an empty one without a feed.

    Relations and memberships whose end is gone are left out.  Raises GraphFailed, DiskFull (the
    file is then removed).  Cost: about 5 microseconds a row and the engine's share, see `tables`.
    """
    files.sweep()
    files.check_room(0 if feed is None else ROW_BYTES * sum(feed.counts().values()))
    engine = Engine(files.new, files.engine, limits)
    try:
        create_tables(engine)
        write_meta(engine, Meta() if feed is None else _fill(engine, feed))
        crash_point("graph.filled")
        engine.checkpoint()
    except BaseException:
        engine.close()
        with suppress(OSError):
            files.sweep()
        raise
    engine.close()
    crash_point("graph.built")


def _fill(engine: Engine, feed: ChangeFeed) -> Meta:
    watermark, counts = feed.head(), feed.counts()
    known, turns, built = _Ids(), list[Turn](), 0

    def memories() -> Iterator[str]:
        nonlocal built
        for page in every(feed.memory_keys, counts["memories"]):
            for key in page:
                known.add(key[0])
                built += 1
                yield memory_line(key)

    def relations() -> Iterator[str]:
        nonlocal built
        for page in every(feed.relation_rows, counts["relations"]):
            for relation in page:
                if known(relation.source) and known(relation.target):
                    built += 1
                    yield relation_line(relation)

    copy(engine, MEMORY, memories())
    for page in every(feed.turn_rows, counts["turns"]):
        turns.extend(page)
    built += len(turns)
    copy(engine, TURN, map(turn_line, turns))
    copy(engine, MEMBER, (line for turn in turns for line in member_lines(turn, known)))
    turns.clear()
    copy(engine, RELATION, relations())
    return Meta(watermark=watermark, built=built)
