"""Opens a snapshot with the reader that its kind needs; sources.kind in the records names it."""

from __future__ import annotations

from pathlib import Path

from nimad.errors import SourceUnsupported
from nimad.legacy.source import LegacySource

GRAPH = "nima-sqlite"
"""A graph database: the snapshot is an SQLite file without a write-ahead log."""
SUFFIXES = {GRAPH: ".sqlite"}
"""Kind -> how the file name of its snapshot ends."""


def open_snapshot(kind: str, path: Path) -> LegacySource:
    """Open the snapshot in `path`.

    Raises SourceUnsupported for a kind that this version does not know, SourceNotRecognised,
    SourceCorrupt.
    """
    if kind == GRAPH:
        from nimad.legacy.sqlite import LegacyGraph

        return LegacyGraph.open(path)
    raise SourceUnsupported(path=path, what=f"a source of the kind {kind}")
