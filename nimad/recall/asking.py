"""One query on its way through the ranking."""

from __future__ import annotations

from dataclasses import dataclass

from nimad.embed.base import Embedder
from nimad.index.blocks import BlockIndex
from nimad.recall.scopes import Scope
from nimad.recall.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True)
class Asking:
    """What was asked, of what, and with which parts of the store."""

    text: str
    k: int
    mode: str
    scope: Scope
    now: int
    blocks: BlockIndex
    embedder: Embedder
    watch: Stopwatch
