"""A small source of each kind, with every trap that its format is known for, and an edit of it.

These are written by hand, after the tools' own schemas; what tools write that can run here is tried
by `tests/agents/test_sources.py` (`make test-agents`).
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
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
    lines(home / "agents" / "cook" / "sessions" / "s2.jsonl", _said(1, "user", "Is it done?"))
    put(home / "workspace-cook" / "MEMORY.md", "- Anna likes it salty\n")
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


# --- databases ------------------------------------------------------------------------------------


def database(path: Path, script: str, **tables: list[dict[str, Any]]) -> Path:
    """A database in WAL mode whose last commit is still in the log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    live = path.with_name("live.db")
    with closing(sqlite3.connect(live)) as connection:
        connection.executescript(
            f"PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; {script}"
        )
        for table, found in tables.items():
            for row in found:
                names, marks = ", ".join(row), ", ".join("?" * len(row))
                sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
                connection.execute(sql, tuple(row.values()))
        connection.commit()
        for suffix in ("", "-wal"):
            shutil.copy(f"{live}{suffix}", f"{path}{suffix}")
    for suffix in ("", "-wal", "-shm"):
        Path(f"{live}{suffix}").unlink(missing_ok=True)
    return path


def change(path: Path, script: str) -> None:
    """Change a database as its program would."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


SERVICE = """
CREATE TABLE memories (id INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT UNIQUE NOT NULL,
  content TEXT NOT NULL, tags TEXT, memory_type TEXT, metadata TEXT, created_at REAL,
  updated_at REAL, created_at_iso TEXT, updated_at_iso TEXT, deleted_at REAL DEFAULT NULL,
  superseded_by TEXT);
CREATE TABLE memory_graph (source_hash TEXT NOT NULL, target_hash TEXT NOT NULL,
  similarity REAL NOT NULL, connection_types TEXT NOT NULL, metadata TEXT,
  created_at REAL NOT NULL, PRIMARY KEY (source_hash, target_hash));
CREATE VIRTUAL TABLE memory_content_fts USING fts5(content);
"""


def _service(number: int, content: Any, **more: Any) -> dict[str, Any]:
    told = {"content_hash": f"h{number}", "content": content, "tags": "tea, home,"}
    told |= {"memory_type": "note", "metadata": '{"conversation_id": "c1", "n": 1e999}'}
    return {**told, "created_at": 1_770_000_000.25 + number, **more}


def mcp_memory_service(root: Path) -> Path:
    graph = {"similarity": 0.8, "connection_types": '["causal"]', "created_at": 1.0}
    return database(
        root / "mcp-memory" / "sqlite_vec.db",
        SERVICE,
        memories=[
            _service(1, "Anna likes tea"),
            _service(2, "The kettle is blue", metadata="no JSON"),
            _service(3, "deleted", deleted_at=1.0),
            _service(4, "replaced", superseded_by="h1"),
            _service(5, b"\xff\xfe"),
            _service(6, "undated", created_at=None, tags=None, memory_type=None),
        ],
        memory_graph=[
            {"source_hash": "h1", "target_hash": "h2", **graph},
            {"source_hash": "h1", "target_hash": "h3", **graph},
        ],
    ).parent


def edit_mcp_memory_service(home: Path) -> tuple[int, int, int]:
    script = "UPDATE memories SET deleted_at = 2.0 WHERE content_hash = 'h2';"
    script += "UPDATE memories SET tags = 'other' WHERE content_hash = 'h1';"
    script += "INSERT INTO memories (content_hash, content) VALUES ('h7', 'Bert likes coffee')"
    change(home / "sqlite_vec.db", script)
    return 1, 1, 1


MEM0 = """
CREATE TABLE history (id TEXT PRIMARY KEY, memory_id TEXT, old_memory TEXT, new_memory TEXT,
  event TEXT, created_at DATETIME, updated_at DATETIME, is_deleted INTEGER,
  actor_id TEXT, role TEXT);
"""


def _event(number: int, memory: str, event: str, text: str | None) -> dict[str, Any]:
    told = {"id": f"e{number}", "memory_id": memory, "new_memory": text, "event": event}
    told |= {
        "created_at": f"2026-04-0{number}T08:00:00-07:00",
        "is_deleted": int(event == "DELETE"),
    }
    return {**told, "actor_id": "anna", "role": "user"}


def mem0(root: Path) -> Path:
    events = [
        _event(1, "m1", "ADD", "Anna lives in Berlin"),
        _event(2, "m2", "ADD", "Anna has a dog"),
        _event(3, "m1", "UPDATE", "Anna lives in Rome"),
        _event(4, "m2", "DELETE", None),
        _event(5, "m3", "ADD", "Anna plays chess"),
    ]
    return database(root / "mem0" / "history.db", MEM0, history=events).parent


def edit_mem0(home: Path) -> tuple[int, int, int]:
    path = home / "history.db"
    row = "INSERT INTO history (id, memory_id, new_memory, event, is_deleted) VALUES"
    script = f"{row} ('e6', 'm1', 'Anna lives in Paris', 'UPDATE', 0);"
    change(
        path, script + f"{row} ('e7', 'm3', NULL, 'DELETE', 1); {row} ('e8', 'm4', 'Tea', 'ADD', 0)"
    )
    return 1, 1, 1


CLAUDE_MEM = """
CREATE TABLE observations (id INTEGER PRIMARY KEY AUTOINCREMENT, memory_session_id TEXT NOT NULL,
  project TEXT NOT NULL, text TEXT, type TEXT NOT NULL, title TEXT, subtitle TEXT, facts TEXT,
  narrative TEXT, concepts TEXT, files_read TEXT, files_modified TEXT, prompt_number INTEGER,
  created_at TEXT NOT NULL, created_at_epoch INTEGER NOT NULL);
CREATE TABLE session_summaries (id INTEGER PRIMARY KEY AUTOINCREMENT,
  memory_session_id TEXT NOT NULL, project TEXT NOT NULL, request TEXT, investigated TEXT,
  learned TEXT, completed TEXT, next_steps TEXT, created_at TEXT,
  created_at_epoch INTEGER NOT NULL);
CREATE TABLE user_prompts (id INTEGER PRIMARY KEY AUTOINCREMENT, content_session_id TEXT NOT NULL,
  prompt_number INTEGER NOT NULL, prompt_text TEXT NOT NULL, created_at TEXT,
  created_at_epoch INTEGER NOT NULL);
"""


def claude_mem(root: Path) -> Path:
    seen = {"memory_session_id": "s1", "project": "lantern", "created_at": "2026-05-01T00:00:00Z"}
    seen |= {"created_at_epoch": 1_777_593_600_000}
    asked = {"content_session_id": "s1", "prompt_number": 1, "created_at_epoch": 1_777_593_600_000}
    told = {"title": "The wick", "facts": '["of cotton", 7]', "concepts": '["lamps"]'}
    return database(
        root / "claude-mem" / "claude-mem.db",
        CLAUDE_MEM,
        observations=[
            {**seen, "type": "discovery", "text": "an old one"},
            {**seen, "type": "feature", "narrative": "It burns.", **told, "files_read": '["a.py"]'},
        ],
        session_summaries=[{**seen, "request": "Light it", "learned": "It burns"}],
        user_prompts=[{**asked, "prompt_text": "Light the lantern"}],
    ).parent


def edit_claude_mem(home: Path) -> tuple[int, int, int]:
    script = "DELETE FROM observations WHERE id = 1;"
    script += "UPDATE session_summaries SET completed = 'It is lit'"
    change(home / "claude-mem.db", script)
    return 0, 1, 1


# --- notes ----------------------------------------------------------------------------------------


def markdown(root: Path) -> Path:
    vault = root / "vault"
    put(
        vault / "Anna.md",
        "---\ntitle: Anna\ntags: [people, berlin]\ncreated: 2026-02-03T10:00:00\n---\n\n"
        "# Anna\n\n- [fact] She plays chess #games (since 2020)\n- works_at [[Acme]]\n"
        "- [x] call her\n- [00:01] a time is no category\n- [a link](https://example.org)\n\n"
        "See [[Bert|her friend]].\n",
    )
    put(vault / "work" / "Acme.md", "Acme builds lanterns. #123 #work/lamps\n")
    put(vault / "daily" / "2026-03-04.md", "Rain all day.\n")
    put(vault / ".obsidian" / "notes.md", "settings\n")
    put(vault / ".trash" / "old.md", "thrown away\n")
    put(vault / "Empty.md", "")
    (vault / "circle.md").symlink_to(vault / "circle.md")
    return vault


def edit_markdown(vault: Path) -> tuple[int, int, int]:
    (vault / "work" / "Acme.md").rename(vault / "Acme Ltd.md")
    put(vault / "daily" / "2026-03-04.md", "Rain all day.\n\nSun at night.\n")
    return 2, 0, 1


MADE: dict[str, Made] = {
    "openclaw": Made(openclaw, 13, 3, edit_openclaw),
    "claude-code": Made(claude_code, 4, 1, edit_claude_code),
    "server-memory": Made(server_memory, 6, 1, edit_server_memory),
    "claude-ai": Made(claude_ai, 9, 1, edit_claude_ai),
    "chatgpt": Made(chatgpt, 3, 1, edit_chatgpt),
    "mcp-memory-service": Made(mcp_memory_service, 3, 1, edit_mcp_memory_service),
    "mem0": Made(mem0, 2, 0, edit_mem0),
    "claude-mem": Made(claude_mem, 4, 0, edit_claude_mem),
    "markdown": Made(markdown, 8, 1, edit_markdown),
}
