"""Makes bundles of files and opens them, as nimactl and nimad do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from nimad.legacy.bundle import take_bundle
from nimad.legacy.files import LegacyFiles
from nimad.legacy.source import LegacyNode
from nimad.legacy.stores import find
from nimad.legacy.values import canonical


def bundle(path: Path, target: Path) -> Path:
    """The bundle of the one store at `path`, written to `target`."""
    (store,) = find(path).stores
    with take_bundle(store.members, store.path, target.parent) as taken:
        target.write_bytes(os.pread(taken.fd, taken.size_bytes, 0))
    return target


def opened(path: Path, into: Path) -> LegacyFiles:
    """The one store at `path`, open."""
    return LegacyFiles.open(bundle(path, into / "bundle.tar"))


def nodes(files: LegacyFiles) -> list[LegacyNode]:
    """Every episode, each found to be rebuilt from its memory."""
    mapper = files.mapper("x")
    found = files.nodes(mapper, None, 1_000_000)
    for node in found:
        assert isinstance(node, LegacyNode), node
        assert canonical(mapper.row(node.memory)) == canonical(node.row)
    return [node for node in found if isinstance(node, LegacyNode)]


def texts(found: Sequence[LegacyNode]) -> list[str]:
    """What they say."""
    return [node.memory.text for node in found]
