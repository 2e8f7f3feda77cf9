"""Opens a snapshot with the reader that its kind needs; sources.kind in the records names it."""

from __future__ import annotations

from datetime import UTC, tzinfo
from pathlib import Path

from nimad.errors import SourceUnsupported
from nimad.legacy.detect import FILES, GRAPH
from nimad.legacy.source import LegacySource

SUFFIXES = {GRAPH: ".sqlite", FILES: ".tar"}
"""Kind -> how the file name of its snapshot ends: a database without a write-ahead log; a tar of
the files as they are."""


def open_snapshot(kind: str, path: Path, zone: tzinfo = UTC, check: bool = False) -> LegacySource:
    """Open the snapshot in `path`; `zone` is that of times in it which name none.

    `check`: a survey follows, for which files are read in one go.

    Raises SourceUnsupported for a kind that this version does not know, SourceNotRecognised,
    SourceCorrupt.
    """
    if kind == GRAPH:
        from nimad.legacy.sqlite import LegacyGraph

        graph = LegacyGraph.open(path)
        graph.zone = zone
        return graph
    if kind == FILES:
        from nimad.legacy.files import LegacyFiles

        files = LegacyFiles.open(path, check)
        files.zone = zone
        return files
    raise SourceUnsupported(path=path, what=f"a source of the kind {kind}")
