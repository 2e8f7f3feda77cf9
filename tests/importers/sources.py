"""A small source of each kind, with every trap that its format is known for, and an edit of it.

Sources of tools that can run here are made by `make_fixtures.py`; these are written by hand.
"""

from __future__ import annotations

import json
import zipfile
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


# --- exports of chats -----------------------------------------------------------------------------


def zipped(path: Path, **files: Any) -> Path:
    """A zip; __ stands for / in the names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in files.items():
            text = value if isinstance(value, str) else json.dumps(value)
            archive.writestr(name.replace("__", "/") + ".json", text)
    return path


def _turn(number: int, sender: str, text: str, parent: int | None = None, **more: Any) -> Any:
    told = {"uuid": f"m{number}", "sender": sender, "text": text, "content": []}
    told |= {"created_at": f"2026-06-{number:02}T09:00:00.123456Z", "attachments": []}
    return told | ({"parent_message_uuid": f"m{parent}"} if parent is not None else {}) | more


ROOT = "00000000-0000-4000-8000-000000000000"


def _claude_conversations() -> list[Any]:
    blocks = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "On the shelf."}]
    pasted = [{"extracted_content": "a long text that was pasted"}]
    return [
        {
            "uuid": "c1",
            "name": "The kettle",
            "created_at": "2026-06-01T09:00:00Z",
            "chat_messages": [
                _turn(1, "human", "Where is the kettle?", parent_message_uuid=ROOT),
                _turn(2, "assistant", "In the garden.", 1),
                _turn(3, "assistant", "", 1, content=blocks),
                _turn(4, "human", "", 3, attachments=pasted),
                _turn(5, "assistant", "I have read it.", 4, created_at="no date"),
            ],
        },
        {"uuid": "c2", "name": "", "chat_messages": [_turn(6, "human", 'Flat, [of] "]}"')]},
        {"name": "no uuid"},
        "a text in place of a conversation",
    ]


def claude_ai(root: Path) -> Path:
    """The new form: zips in a directory, with a manifest beside them."""
    home = root / "claude-export"
    zipped(home / "conversations-000.zip", conversations=_claude_conversations())
    memory = {"conversations_memory": "**Work**\n\n- Anna builds lanterns\n- She drinks tea\n"}
    memory |= {"project_memories": {"p1": "The lantern is of brass."}, "account_uuid": "a1"}
    zipped(home / "memories-000.zip", memories__one=memory)
    project = {"uuid": "p1", "name": "Lantern", "description": "A lantern", "docs": []}
    zipped(home / "projects-000.zip", projects__p1=project)
    put(home / "manifest.json", '{"files": []}')
    return home


def edit_claude_ai(home: Path) -> tuple[int, int, int]:
    told = _claude_conversations()
    told[0]["chat_messages"].append(_turn(7, "human", "Thanks!", 5))
    told[1]["chat_messages"][0]["text"] = "Other words"
    zipped(home / "conversations-000.zip", conversations=told)
    return 1, 1, 0


def _node(number: int, role: str, parent: int | None, *parts: Any, **more: Any) -> tuple[str, Any]:
    content = {"content_type": more.pop("content_type", "text"), "parts": list(parts)}
    message = {"id": f"n{number}", "author": {"role": role}, "content": content}
    message |= {"create_time": 1_770_000_000.5 + number, "metadata": {}, "recipient": "all", **more}
    above = None if parent is None else f"n{parent}"
    return f"n{number}", {"id": f"n{number}", "parent": above, "children": [], "message": message}


def _chatgpt_conversations() -> list[Any]:
    hidden = {"is_visually_hidden_from_conversation": True}
    nodes = [
        ("root", {"id": "root", "parent": None, "children": ["n0"], "message": None}),
        _node(0, "system", None, "you are", metadata=hidden),
        _node(1, "user", 0, "profile", content_type="user_editable_context"),
        _node(2, "user", 1, "Where is the lamp?", {"content_type": "image_asset_pointer"}),
        _node(3, "assistant", 2, "the branch that was left"),
        _node(4, "assistant", 2, "thinking", content_type="thoughts"),
        _node(5, "assistant", 4, "search()", recipient="web"),
        _node(6, "tool", 5, "lamp: cellar"),
        _node(7, "assistant", 6, "In the cellar.", create_time=None),
        _node(8, "user", 7, "Secret", metadata=hidden),
    ]
    told = {"title": "The lamp", "create_time": 1_770_000_000.0, "current_node": "n8"}
    circle = dict([_node(1, "user", 1, "round and round")])
    return [
        {**told, "conversation_id": "g1", "mapping": dict(nodes)},
        {**told, "conversation_id": "g2", "mapping": dict(nodes), "is_do_not_remember": True},
        {**told, "id": "g3", "mapping": circle, "current_node": "n1"},
        {"title": "broken", "mapping": 7},
    ]


def chatgpt(root: Path) -> Path:
    """The new form: conversations in several files."""
    told = _chatgpt_conversations()
    files = {"conversations-000": told[:2], "conversations-001": told[2:], "user": {"id": "x"}}
    return zipped(root / "chatgpt.zip", **files)


def edit_chatgpt(path: Path) -> tuple[int, int, int]:
    told = _chatgpt_conversations()
    told[1]["is_do_not_remember"] = False
    told[0]["mapping"]["n2"]["message"]["content"]["parts"] = ["Where is the lamp now?"]
    zipped(path, conversations=told)
    return 2, 1, 0


MADE: dict[str, Made] = {
    "openclaw": Made(openclaw, 11, 3, edit_openclaw),
    "claude-code": Made(claude_code, 4, 1, edit_claude_code),
    "server-memory": Made(server_memory, 6, 1, edit_server_memory),
    "claude-ai": Made(claude_ai, 9, 1, edit_claude_ai),
    "chatgpt": Made(chatgpt, 3, 1, edit_chatgpt),
}
