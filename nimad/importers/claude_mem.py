"""claude-mem: what a model noted of sessions of Claude Code, and what was asked in them.

Observations and summaries are a model's words, so they are in the layer output; prompts are input.
Columns came by and by, so each is looked for.

Source: src/services/sqlite/SessionStore.ts of claude-mem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nimad.errors import NimadError
from nimad.human import user_name
from nimad.importers.databases import has_tables, listed, open_database, rows, text, unpacked
from nimad.importers.items import Event, Importer, Item, Part, Rejected, moment
from nimad.model import Memory

NAME, AGENT = "claude-mem.db", "claude-code"
_SESSIONS = ("memory_session_id", "sdk_session_id", "content_session_id", "claude_session_id")
_SHARED = (*_SESSIONS, "project", "created_at_epoch", "created_at")
_TOLD = ("title", "subtitle", "narrative")
_SUMMARY = ("request", "investigated", "learned", "completed", "next_steps", "notes")
_FILES = ("files_read", "files_modified", "files_edited")
COLUMNS = {
    "observations": (*_SHARED, *_TOLD, "text", "type", "facts", "concepts", *_FILES),
    "session_summaries": (*_SHARED, *_SUMMARY, *_FILES),
    "user_prompts": (*_SHARED, "prompt_text", "prompt_number"),
}
"""What is read of each table."""


def detect(path: Path) -> float:
    """The database, or its directory."""
    return 0.9 * has_tables(path, NAME, "observations", "session_summaries")


def read(path: Path) -> Iterator[Event]:
    """A part a table."""
    refused: list[Rejected] = []
    try:
        with open_database(path, NAME) as tables:
            for table, columns in COLUMNS.items():
                yield Part(table)
                for key, row in rows(tables, table, columns, refused):
                    if said := _TEXTS[table](row):
                        yield Item(str(key), _memory(table, said, row))
                yield from refused
                refused.clear()
    except NimadError as error:
        yield Rejected(NAME, error.message, True)


def _observed(row: dict[str, Any]) -> str:
    facts = [f"- {fact}" for fact in listed(unpacked(row["facts"]))]
    lines = [*(text(row[name]) for name in _TOLD), *facts]
    return "\n".join(filter(None, lines)) or text(row["text"])


def _summed_up(row: dict[str, Any]) -> str:
    return "\n".join(
        f"{name.replace('_', ' ')}: {text(row[name])}" for name in _SUMMARY if text(row[name])
    )


_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "observations": _observed,
    "session_summaries": _summed_up,
    "user_prompts": lambda row: text(row["prompt_text"]),
}


def _memory(table: str, said: str, row: dict[str, Any]) -> Memory:
    asked = table == "user_prompts"
    extra: dict[str, Any] = {}
    for name in _FILES:
        if files := listed(unpacked(row.get(name))):
            extra[name] = files[:50]
    tags = [text(row.get("type")), *listed(unpacked(row.get("concepts")))]
    tags += [f"project:{row['project']}"] if text(row["project"]) else []
    at = moment(row["created_at_epoch"] or row["created_at"], extra)
    return Memory(
        said,
        who=user_name() if asked else "claude-mem",
        timestamp=at,
        layer="input" if asked else "output",
        agent=AGENT,
        session=next((found for name in _SESSIONS if (found := text(row[name]))), None),
        tags=tuple(tag for tag in tags if tag),
        extra=extra,
    )


CLAUDE_MEM = Importer("claude-mem", "claude-mem's database", detect, read)
