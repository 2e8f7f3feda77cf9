"""Which of NIMA's file formats some bytes are, by how they begin, and the reader for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nimad.errors import SourceNotRecognised, SourceUnsupported
from nimad.legacy import checkpoint, sparse
from nimad.legacy.detect import BEFORE_ZIP, NO_STORE, OLD_TORCH, PICKLE_PROTOCOLS, ZIP_MAGIC
from nimad.legacy.parsed import Parsed
from nimad.legacy.pickle_vm import TextSink


def read_file(view: memoryview, name: str, written: float, texts: TextSink | None = None) -> Parsed:
    """Read a checkpoint, a pickle or JSON.

    `texts` is told of each text in a pickle, with its place in `view`.  Raises SourceCorrupt,
    SourceUnsafe, SourceUnsupported, SourceNotRecognised; each names `name`.
    """
    head = bytes(view[:64])
    if not head:
        raise SourceNotRecognised(path=name, detail="it is empty")
    if head.startswith(ZIP_MAGIC):
        return checkpoint.read(view, name, name, written, texts)
    if head.startswith(BEFORE_ZIP):
        raise SourceUnsupported(path=name, what=OLD_TORCH)
    if head[:1] == b"\x80" and head[1:2] in PICKLE_PROTOCOLS:
        return sparse.read_pickle(view, name, name, written, texts)
    if head.lstrip()[:1] == b"{":
        return sparse.read_json(view, name, name, written)
    raise SourceNotRecognised(path=name, detail=NO_STORE)


def check_entries(view: memoryview, path: Path | str, seen: Callable[[], None]) -> None:
    """Compare what has CRCs with them.  Raises SourceCorrupt."""
    if bytes(view[:4]) == ZIP_MAGIC:
        checkpoint.check(view, path, seen)
