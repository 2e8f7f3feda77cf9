"""A small source of each kind, with every trap that its format is known for, and an edit of it.

Sources of tools that can run here are made by `make_fixtures.py`; these are written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Made:
    """A kind's source.

    Attributes:
        write: makes it in an empty directory; the path to import.
        items, refused: what the first import takes and refuses.
        edit: changes it; how many items are added, changed and gone by that.
    """

    write: Callable[[Path], Path]
    items: int
    refused: int
    edit: Callable[[Path], tuple[int, int, int]]


def lines(path: Path, *values: Any) -> Path:
    """A file of JSON Lines; texts stand in it as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def put(path: Path, text: str) -> Path:
    """A file of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# --- OpenClaw -------------------------------------------------------------------------------------


def _said(number: int, role: str, *blocks: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": b} if isinstance(b, str) else b for b in blocks]
    message = {"role": role, "content": content, "timestamp": 1_770_000_000_000 + number * 1000}
    return {"type": "message", "id": f"m{number}", "message": message}


def openclaw(root: Path) -> Path:
    home = root / "dot-openclaw"
    workspace = home / "workspace"
    put(
        workspace / "MEMORY.md",
        "# Anna\n\n- Anna lives in Berlin <!-- importance: 8 -->\n- Anna plays chess"
        " <!-- project: club -->\n- Anna plays chess\n\n## Work\nShe builds lanterns\nby hand.\n\n"
        "```\ncode - stays\n- together\n```\n<!-- trigger: never -->\n",
    )
    put(
        workspace / "USER.md",
        "<!-- observed: 2026-02-01 | status: superseded -->\n- Lives in Hamburg\n"
        "<!-- observed: 2026-03-01 | status: active -->\n- Lives in Bremen\n",
    )
    put(workspace / "DREAMS.md", "- a dream that is for review\n")
    put(workspace / "memory" / "2026-03-04-1430.md", "Met Bert at the station.\n")
    put(workspace / "memory" / "imports" / "old.md", "The kettle was bought in 2019.\n")
    (workspace / "memory" / "broken.md").write_bytes(b"caf\xe9\n")
    (workspace / "memory" / "link.md").symlink_to("/etc/hostname")
    frame = "<relevant-memories>\n[1] the kettle\n</relevant-memories>\n"
    metadata = 'Sender (untrusted metadata):\n```json\n{"name": "Carla"}\n```\n'
    sessions = home / "agents" / "main" / "sessions"
    lines(
        sessions / "s1.jsonl",
        {"type": "session", "id": "s1", "version": 3},
        _said(1, "user", f"{frame}{metadata}Where is the lantern?"),
        _said(2, "assistant", {"type": "thinking", "thinking": "In the shed, I believe."}),
        _said(3, "assistant", "Let me look.", {"type": "toolCall", "name": "look"}),
        _said(4, "toolResult", "shed: lantern"),
        _said(5, "assistant", "It hangs in the shed."),
        _said(6, "user", "Read HEARTBEAT.md if it exists"),
        _said(7, "assistant", "HEARTBEAT_OK"),
        '{"type":"message","id":"m8","message":{"role":"user","content":[{"type":"te',
    )
    lines(sessions / "s0.jsonl.deleted.1770000000.jsonl", _said(1, "user", "deleted"))
    return home


def edit_openclaw(home: Path) -> tuple[int, int, int]:
    memory = home / "workspace" / "MEMORY.md"
    memory.write_text(memory.read_text().replace("lives in Berlin", "lives in Munich"))
    (home / "workspace" / "memory" / "imports" / "old.md").unlink()
    put(home / "workspace" / "memory" / "2026-04-01.md", "- Bert moved\n- to Rome\n")
    return 3, 0, 2


# --- Claude Code ----------------------------------------------------------------------------------


def _line(number: int, kind: str, content: Any, **more: Any) -> dict[str, Any]:
    told = {"uuid": f"u{number}", "sessionId": "session-1", "cwd": "/home/anna/lantern"}
    told |= {"timestamp": f"2026-05-0{number}T10:00:00.000Z", "message": {"content": content}}
    return {"type": kind, **told, **more}


def claude_code(root: Path) -> Path:
    project = root / "dot-claude" / "projects" / "-home-anna-lantern"
    put(root / "dot-claude" / "CLAUDE.md", "- Use tabs\n")
    put(
        project / "memory" / "build.md",
        "---\nname: build\ndescription: how it is built\n---\n\nThe lantern is built with make.\n",
    )
    result = [{"type": "tool_result", "content": "ten thousand lines"}]
    lines(
        project / "session-1.jsonl",
        {"type": "summary", "summary": "Lanterns", "leafUuid": "u9"},
        _line(1, "user", "How is the lantern built?"),
        _line(2, "assistant", [{"type": "thinking", "thinking": "..."}]),
        _line(3, "assistant", [{"type": "text", "text": "I look."}, {"type": "tool_use"}]),
        _line(4, "user", result),
        _line(5, "assistant", [{"type": "text", "text": "With make."}]),
        _line(6, "assistant", [{"type": "text", "text": "side"}], isSidechain=True),
        _line(7, "user", "<command-name>/clear</command-name>"),
        _line(8, "user", "caveat", isMeta=True),
        "\x00\x00 no JSON",
    )
    return root / "dot-claude"


def edit_claude_code(home: Path) -> tuple[int, int, int]:
    file = home / "projects" / "-home-anna-lantern" / "session-1.jsonl"
    good = [json.loads(line) for line in file.read_text().splitlines()[:-1]]
    lines(file, *good, _line(9, "user", "Thanks, and the wick?"), _line(10, "assistant", "Cotton."))
    put(home / "CLAUDE.md", "- Use spaces\n")
    return 3, 0, 1


# --- the memory server ----------------------------------------------------------------------------


def server_memory(root: Path) -> Path:
    return lines(
        root / "memory.jsonl",
        {
            "type": "entity",
            "name": "Anna",
            "entityType": "person",
            "observations": ["likes tea", 7],
        },
        {"type": "entity", "entityName": "Acme", "entityType": "company", "observations": []},
        {"type": "relation", "from": "Anna", "to": "Acme", "relationType": "works_at"},
        {"type": "relation", "from_id": "Acme", "to_id": "Anna", "relation_type": "employs"},
        {"type": "relation", "from": "Anna", "to": "nobody", "relationType": "knows"},
        {"type": "other"},
    )


def edit_server_memory(path: Path) -> tuple[int, int, int]:
    told = path.read_text().replace("likes tea", "likes coffee").replace('{"type": "other"}\n', "")
    path.write_text(told)
    return 1, 0, 1


MADE: dict[str, Made] = {
    "openclaw": Made(openclaw, 11, 3, edit_openclaw),
    "claude-code": Made(claude_code, 4, 1, edit_claude_code),
    "server-memory": Made(server_memory, 6, 1, edit_server_memory),
}
