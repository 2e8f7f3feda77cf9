"""OpenClaw: its notes in Markdown, and transcripts of before it kept them in SQLite.

Read are `MEMORY.md`, `USER.md` and `memory/**/*.md` of each workspace, and
`agents/ID/sessions/*.jsonl`.  Not read: `DREAMS.md` (text for review), transcripts in SQLite (a
format that moves; OpenClaw exports them), the index (made of the notes).

Source: docs/concepts/memory.md of openclaw 2026.9.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nimad.importers.files import Unfit, first_object, objects, opened, read_note, walk
from nimad.importers.items import Event, Importer, Item, Part, Rejected, Whole, moment
from nimad.importers.markdown import day_in, entries
from nimad.importers.transcripts import Conversation, Message, text_of, turns
from nimad.model import DEFAULT_NAMESPACE, Memory

NOTES = frozenset({"MEMORY.md", "USER.md"})
SKIPPED = frozenset({".git", "node_modules", "skills", "plugins", ".obsidian", ".trash"})
_ROLES = {"user": "input", "assistant": "output"}
_SENDER = re.compile(
    r"Sender \(untrusted[^)]*\)[^\n]*\n?\s*```json\s*.{0,2000}?"
    r"\"(?:name|label)\":\s*\"([^\"]{1,100})\"",
    re.DOTALL,
)


def detect(path: Path) -> float:
    """A state directory, its agents, a workspace, or a transcript."""
    if path.is_file():
        first = first_object(path) if path.suffix == ".jsonl" else {}
        shape = first.get("type") == "session" or isinstance(_message(first).get("role"), str)
        return 0.9 if shape and "sessionId" not in first else 0.0
    agents = path if path.name == "agents" else path / "agents"
    if any(agents.glob("*/sessions")):
        return 0.95
    if (path / "openclaw.json").is_file() or (path / "workspace" / "MEMORY.md").is_file():
        return 0.9
    mine = (
        (path / "AGENTS.md").is_file() or (path / "SOUL.md").is_file() or (path / "memory").is_dir()
    )
    return 0.8 if mine and (path / "MEMORY.md").is_file() and path.name != ".claude" else 0.0


def read(path: Path) -> Iterator[Event]:
    """Notes first: they are what was thought worth keeping."""
    if path.is_file():
        yield from _session(path.name, path, None)
        return
    sessions: list[tuple[str, Path]] = []

    def is_wanted(name: str) -> bool:
        return name.endswith((".md", ".jsonl")) and ".deleted." not in name

    for told in walk(path, is_wanted, SKIPPED):
        if isinstance(told, Rejected):
            yield Part(f"notes/{told.key}")
            yield told
        elif told[0].endswith(".jsonl"):
            sessions.append(told)
        elif told[1].name in NOTES or re.search(r"(^|/)memory/(?!.*DREAMS\.md$)", told[0]):
            yield from _note(*told)
    yield Whole("notes/")
    for name, file in sessions:
        if found := re.search(r"(?:^|/)agents/([^/]+)/sessions/[^/]+$", f"{path.name}/{name}"):
            yield from _session(name, file, found[1])


def _namespace(agent: str | None) -> str:
    """Where our plugin keeps what an agent remembers, which no other one is to see."""
    return DEFAULT_NAMESPACE if agent in (None, "main") else f"agent.{agent}"


def _note(name: str, path: Path) -> Iterator[Event]:
    yield Part(f"notes/{name}")
    try:
        text = read_note(path)
    except Unfit as error:
        yield Rejected(name, str(error), True)
        return
    owner = re.search(r"(?:^|/)workspace-([^/]+)/", name)
    agent = owner[1] if owner else None
    about_user = path.name == "USER.md" and "status:" in text
    for entry in entries(text):
        if entry.status == "superseded" or (about_user and entry.status not in ("", "active")):
            continue
        extra: dict[str, Any] = {
            "file": name,
            **({"heading": entry.heading} if entry.heading else {}),
        }
        when = f"{entry.day}T12:00:00" if entry.day else day_in(path.name)
        tags = (f"project:{entry.project}",) if entry.project else ()
        at = moment(when, extra)
        memory = Memory(
            entry.text,
            who="self",
            session=name,
            agent=agent,
            namespace=_namespace(agent),
            timestamp=at,
            tags=tags,
            importance=entry.importance,
            extra=extra,
        )
        yield Item("", memory)


def _message(line: dict[str, Any]) -> dict[str, Any]:
    found = line.get("message")
    return found if line.get("type") == "message" and isinstance(found, dict) else {}


def _session(name: str, path: Path, agent: str | None) -> Iterator[Event]:
    part = f"sessions/{name}"
    yield Part(part)
    refused: list[Rejected] = []

    def messages() -> Iterator[Message]:
        with opened(path) as file:
            for told in objects(file, name):
                if isinstance(told, Rejected):
                    refused.append(told)
                    continue
                message = _message(told[1])
                role = _ROLES.get(str(message.get("role")))
                if role is None:
                    continue
                key = str(told[1].get("id") or message.get("id") or "")
                time = message.get("timestamp") or told[1].get("timestamp")
                content = message.get("content")
                if role == "output" and (thought := text_of(content, "thinking")):
                    yield Message(f"{key}.t" if key else "", "contemplation", thought, time)
                said = text_of(content)
                sender = _SENDER.search(said[:4000])
                yield Message(
                    key, role, said, time, sender[1] if sender and role == "input" else ""
                )

    about = Conversation(path.stem, agent=agent, namespace=_namespace(agent), extra={"file": name})
    try:
        yield from turns(messages(), about)
    except Unfit as error:
        yield Rejected(name, str(error), True)
    yield from refused


OPENCLAW = Importer("openclaw", "OpenClaw's notes and transcripts", detect, read)
