"""Claude Code: what it noted by itself, CLAUDE.md, and its transcripts.

Read are `projects/SLUG/memory/*.md` and `CLAUDE.md` as notes, and `projects/SLUG/SESSION.jsonl`: of
a turn the prompt and the last text.  Not read: side agents, results of tools, summaries that
replace a conversation, thinking.  A transcript that is gone leaves its memories: Claude Code
deletes old ones by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from nimad.importers.files import Unfit, objects, opened, read_note, walk
from nimad.importers.items import Event, Importer, Item, Part, Rejected, Whole, moment
from nimad.importers.markdown import day_in, entries, front_matter
from nimad.importers.transcripts import Conversation, Message, text_of, turns
from nimad.model import Memory

AGENT = "claude-code"
OWN_NOTES = ("CLAUDE.md", "CLAUDE.local.md")
SKIPPED = frozenset(
    {".git", "node_modules", "plugins", "todos", "shell-snapshots", "statsig", "subagents"}
)
_ROLES = {"user": "input", "assistant": "output"}
_ASIDE = ("isSidechain", "isMeta", "isCompactSummary", "isVisibleInTranscriptOnly")


def detect(path: Path) -> float:
    """~/.claude, a project of it, a directory with CLAUDE.md, or a transcript."""
    if path.is_file():
        if path.name in OWN_NOTES:
            return 0.9
        return 0.95 * (path.suffix == ".jsonl" and _is_transcript(path))
    if (path / "projects").is_dir() and any(path.glob("projects/*/*.jsonl")):
        return 0.95
    if any(path.glob("projects/*/memory/*.md")) or path.name == ".claude":
        return 0.9
    if any(_is_transcript(file) for file in sorted(path.glob("*.jsonl"))[:3]):
        return 0.9
    in_project = path.name == "memory" and path.parent.parent.name == "projects"
    return 0.85 if in_project else 0.6 * (path / "CLAUDE.md").is_file()


def read(path: Path) -> Iterator[Event]:
    """Notes first, then transcripts."""
    if path.is_file():
        if path.suffix == ".md":
            yield from _note(path.name, path)
        else:
            yield from _session(path.name, path)
        return
    sessions: list[tuple[str, Path]] = []
    for told in walk(path, lambda name: name.endswith((".md", ".jsonl")), SKIPPED):
        if isinstance(told, Rejected):
            yield Part(f"notes/{told.key}")
            yield told
        elif told[0].endswith(".jsonl"):
            sessions.append(told)
        elif told[1].name in OWN_NOTES or told[1].parent.name == "memory":
            yield from _note(*told)
    yield Whole("notes/")
    for name, file in sessions:
        if _is_transcript(file):
            yield from _session(name, file)


def _is_transcript(path: Path) -> bool:
    """Whether one of the first lines names its session; those before it may be summaries."""
    try:
        with opened(path) as file:
            lines = islice(objects(file, ""), 20)
            return any(not isinstance(told, Rejected) and "sessionId" in told[1] for told in lines)
    except Unfit:
        return False


def _note(name: str, path: Path) -> Iterator[Event]:
    yield Part(f"notes/{name}")
    try:
        about = front_matter(read_note(path))
    except Unfit as error:
        yield Rejected(name, str(error), True)
        return
    project = re.search(r"/projects/([^/]+)/", f"/{name}")
    tags = (f"project:{project[1]}",) if project else ()
    for entry in entries(about.rest):
        extra: dict[str, Any] = {"file": name}
        extra |= {"heading": entry.heading} if entry.heading else {}
        if (
            isinstance(title := about.values.get("name") or about.values.get("title"), str)
            and title
        ):
            extra["title"] = title
        at = moment(day_in(path.name), extra)
        memory = Memory(entry.text, session=name, timestamp=at, tags=tags, agent=AGENT, extra=extra)
        yield Item("", memory)


def _session(name: str, path: Path) -> Iterator[Event]:
    yield Part(f"sessions/{name}")
    refused: list[Rejected] = []
    about = Conversation(path.stem, agent=AGENT)

    def messages() -> Iterator[Message]:
        with opened(path) as file:
            for told in objects(file, name):
                if isinstance(told, Rejected):
                    refused.append(told)
                    continue
                line = told[1]
                if isinstance(line.get("sessionId"), str):
                    about.session = line["sessionId"]
                if isinstance(line.get("cwd"), str):
                    about.where = line["cwd"]
                role = _ROLES.get(str(line.get("type")))
                message = line.get("message")
                if role and isinstance(message, dict) and not any(map(line.get, _ASIDE)):
                    said = text_of(message.get("content"))
                    yield Message(str(line.get("uuid") or ""), role, said, line.get("timestamp"))

    try:
        yield from turns(messages(), about)
    except Unfit as error:
        yield Rejected(name, str(error), True)
    yield from refused


CLAUDE_CODE = Importer("claude-code", "Claude Code's notes and transcripts", detect, read)
