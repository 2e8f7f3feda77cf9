"""All kinds of sources that `nimactl import` knows, and which of them a path is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from nimad.errors import InputUnusable, UsageError
from nimad.importers.chatgpt import CHATGPT
from nimad.importers.claude_ai import CLAUDE_AI
from nimad.importers.claude_code import CLAUDE_CODE
from nimad.importers.claude_mem import CLAUDE_MEM
from nimad.importers.files import shown
from nimad.importers.items import Importer
from nimad.importers.mcp_memory_service import MCP_MEMORY_SERVICE
from nimad.importers.mem0 import MEM0
from nimad.importers.notes import MARKDOWN
from nimad.importers.openclaw import OPENCLAW
from nimad.importers.server_memory import SERVER_MEMORY

IMPORTERS = {
    each.kind: each
    for each in (
        OPENCLAW,
        CLAUDE_CODE,
        SERVER_MEMORY,
        CLAUDE_AI,
        CHATGPT,
        MCP_MEMORY_SERVICE,
        MEM0,
        MARKDOWN,
        CLAUDE_MEM,
    )
}
"""By kind; where two are equally sure of a path, the first one has it."""


def recognise(path: Path) -> Importer | None:
    """The importer that is surest that a path is its own; None where none is."""
    if not path.is_file() and not path.is_dir():
        return None  # a look would take away what a pipe holds
    best, sure = None, 0.0
    for importer in IMPORTERS.values():
        with suppress(OSError, ValueError):
            if (found := importer.detect(path)) > sure:
                best, sure = importer, found
    return best


def is_foreign(path: Path) -> bool:
    """Whether it is what another tool remembers, or a directory, which can be nothing else."""
    return path.is_dir() or recognise(Path(os.path.realpath(path))) is not None


def find_importer(path: Path, kind: str | None) -> Importer:
    """The importer of a kind, or of what a path is.  Raises UsageError, InputUnusable."""
    known = ", ".join(IMPORTERS)
    if kind and kind not in IMPORTERS:
        raise UsageError(detail=f"there is no kind {kind[:60]}; there are {known}")
    found = IMPORTERS[kind] if kind else recognise(path)
    if found is None:
        detail = f"it looks like none of {known}; --from KIND says which it is"
        raise InputUnusable(path=shown(path), detail=detail)
    return found
