"""Finds the legacy stores below a directory: graph databases, checkpoints, sparse memories.

| files                                             | become one source       |
|---------------------------------------------------|-------------------------|
| each `*.sqlite`, `*.sqlite3`, `*.db`              | by itself               |
| `*.pt`, `*.pth` of a directory and its `archive/` | per directory, together |
| `*.pkl`, `*.json` of a sparse memory              | per directory, together |

Standard library only; nothing is unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from nimad.dataclass import dataclass
from nimad.errors import NimadError, SourceNotRecognised, SourceUnreadable
from nimad.legacy.detect import (
    CHECKPOINT,
    CHECKSUM,
    GRAPH,
    HEAD_BYTES,
    STORES,
    Detected,
    check_owner,
    detect,
    open_plain,
    os_error,
    store_of,
)

ARCHIVE = "archive"
MAX_DEPTH = 8
"""Levels of directories below the given one that are looked into."""
MAX_FILES = 200_000
"""Files below a directory that are looked at."""
JSON_SIGNS = (b'"num_blocks"', b'"block_dim"', b'"raw_text"')
"""What tells a sparse memory from all the other JSON in a directory, by its begin."""


@dataclass
class Found:
    """The stores below a path, and (path, why not) of files that look like one but are none."""

    stores: list[Detected] = field(default_factory=list)
    refused: list[tuple[Path, NimadError]] = field(default_factory=list)


def find(path: Path) -> Found:
    """The store that `path` is, or all that are below it.

    Raises what `detect` raises of a file; of a directory, SourceNotRecognised when there is
    nothing in it that looks like a store.
    """
    try:
        is_directory = path.is_dir()
        root = path.resolve() if is_directory else path
    except OSError as error:
        raise os_error(error, path) from error
    if not is_directory:
        return Found([detect(path)])
    found = Found()
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in _files(root):
        kind = _kind(file)
        if kind == GRAPH:
            _try(found, file)
        elif kind is not None and _try(found, file) is not None:
            home = file.parent  # an archive belongs to the directory above
            if home.name == ARCHIVE and home != root and any(home.parent.glob("*.p*")):
                home = home.parent
            groups.setdefault((home, kind), []).append(file)
    for (directory, kind), files in sorted(groups.items()):
        # the pickle of a sparse memory is the store; JSON beside it is an export of it
        main = min(files, key=lambda file: (file.suffix == ".json", file))
        called = directory if kind == CHECKPOINT else main
        found.stores.append(store_of(files, directory, called))
    if not found.stores and not found.refused:
        raise SourceNotRecognised(path=path, detail="there is no NIMA store in that directory")
    return found


def _files(root: Path) -> Iterator[Path]:
    """The ordinary files below a directory, in order; links to directories are not followed."""
    seen = 0

    def complain(error: OSError) -> None:
        if Path(error.filename or "") == root:
            raise SourceUnreadable(path=root, detail=error.strerror or str(error))

    for directory, below, files in os.walk(root, onerror=complain):
        depth = len(Path(directory).relative_to(root).parts)
        below[:] = sorted(n for n in below if not n.startswith(".")) if depth < MAX_DEPTH else []
        for name in sorted(files):
            seen += 1
            if seen > MAX_FILES:
                detail = f"more than {MAX_FILES} files are below it: name the store itself"
                raise SourceNotRecognised(path=root, detail=detail)
            yield Path(directory, name)


def _kind(file: Path) -> str | None:
    """What a file looks like by its name, and JSON by its begin: there is much of it."""
    suffix = file.suffix.lower()
    if suffix == ".json":
        try:
            with open_plain(file.resolve()) as opened:
                head = opened.read(HEAD_BYTES)
        except (OSError, RuntimeError):  # Python 3.11 says so when links go round in a circle
            return None
        if not any(sign in head for sign in JSON_SIGNS):
            return None
    return STORES.get(suffix)


def _try(found: Found, file: Path) -> Detected | None:
    """Add a file's store, or the reason why it is none."""
    try:
        check_owner(file)
        if file.with_name(file.name + CHECKSUM).is_file():
            check_owner(file.with_name(file.name + CHECKSUM))
        store = detect(file)
    except NimadError as error:
        found.refused.append((file, error))
        return None
    if store.kind == GRAPH:
        found.stores.append(store)
    return store
