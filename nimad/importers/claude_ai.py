"""The export of Claude.ai: a zip, zips in a directory (since about August 2026), or their files.

What Claude noted of its user comes first, bullet by bullet; then the conversations.  Of answers
that were made again the branch to the last message counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from nimad.importers.files import UNREADABLE, Member, Unfit, members, read_json
from nimad.importers.items import Event, Importer, Item, Part, Rejected, moment
from nimad.importers.json_stream import ArrayReader
from nimad.importers.markdown import entries
from nimad.importers.transcripts import Conversation, Message, text_of, turns
from nimad.model import Memory

BEGIN = 1 << 16
"""Begin of a file that tells whose it is [bytes]."""
MAX_SMALL = 12 << 20
"""Size of the largest file that is read whole [bytes]."""
_ROLES = {"human": "input", "assistant": "output"}


def detect(path: Path) -> float:
    """An export whose conversations have messages as Claude.ai's do."""
    for member in members(path):
        if isinstance(member, Member) and _is(member, "conversations"):
            with member.open() as file:
                return 0.95 if b'"chat_messages"' in file.read(BEGIN) else 0.0
    names = [member.name for member in members(path) if isinstance(member, Member)]
    return 0.7 if any("memories-000.zip/" in name for name in names) else 0.0


def _is(member: Member, what: str) -> bool:
    """Whether a member is `what`.json, or one of a directory of that name."""
    *directories, name = member.name.rsplit("/", 2)
    stem = name.removesuffix(".json").lower()
    return stem.partition("-")[0] == what or (bool(directories) and directories[-1] == what)


def read(path: Path) -> Iterator[Event]:
    """Memories, projects, conversations: the smallest first."""
    for what, told in (("memories", _memories), ("projects", _projects), ("", _conversations)):
        for member in members(path):
            if isinstance(member, Rejected):
                if not what:
                    yield member
            elif _is(member, what or "conversations"):
                try:
                    with member.open() as file:
                        yield from told(member.name, file)
                except UNREADABLE as error:
                    yield Rejected(member.name, str(error)[:200], True)


def _objects(name: str, file: IO[bytes]) -> list[dict[str, Any]]:
    """The objects of a small file: one, or a list."""
    data = file.read(MAX_SMALL + 1)
    if len(data) > MAX_SMALL:
        raise Unfit(f"it is larger than {MAX_SMALL >> 20} MiB")
    found = read_json(data)
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]


def _memories(name: str, file: IO[bytes]) -> Iterator[Event]:
    for one in _objects(name, file):
        account = str(one.get("account_uuid") or "account")
        notes: dict[str, Any] = {"": one.get("conversations_memory")}
        for also in ("project_memories", "memory_files"):
            notes |= one[also] if isinstance(one.get(also), dict) else {}
        for about, text in notes.items():
            if isinstance(text, str):
                yield Part(f"memories/{account}/{about}" if about else f"memories/{account}")
                tags = (f"project:{about}",) if about else ()
                for entry in entries(text):
                    extra = {"heading": entry.heading} if entry.heading else None
                    memory = Memory(
                        entry.text, who="Claude", timestamp=None, tags=tags, extra=extra
                    )
                    yield Item("", memory)


def _projects(name: str, file: IO[bytes]) -> Iterator[Event]:
    for one in _objects(name, file):
        if not isinstance(one.get("uuid"), str):
            continue
        yield Part(f"projects/{one['uuid']}")
        for about in ("description", "prompt_template"):
            if isinstance(text := one.get(about), str) and text.strip():
                extra: dict[str, Any] = {"project": str(one.get("name") or "")[:200]}
                at = moment(one.get("created_at"), extra)
                tags = (f"project:{one['uuid']}",)
                yield Item(about, Memory(text, timestamp=at, tags=tags, extra=extra))


def _conversations(name: str, file: IO[bytes]) -> Iterator[Event]:
    reader = ArrayReader(file)
    for number, value in enumerate(reader.values(), 1):
        where = f"{name}, conversation {number}"
        if isinstance(value, Unfit):
            yield Rejected(where, str(value))
        elif not isinstance(value, dict) or not isinstance(value.get("uuid"), str):
            yield Rejected(where, "it has no uuid")
        else:
            yield Part(f"conversations/{value['uuid']}")
            extra = {"title": str(value["name"])[:300]} if value.get("name") else {}
            about = Conversation(value["uuid"], assistant="Claude", extra=extra, framed=False)
            yield from turns(_messages(_branch(value.get("chat_messages"))), about)
    if not reader.whole:
        yield Rejected(name, "it ends in the middle, or holds no list", True)


def _branch(messages: Any) -> list[dict[str, Any]]:
    """The messages that lead to the last one; all of them, where none names its parent."""
    listed = [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    by_id = {str(message.get("uuid")): message for message in listed}
    if not any(str(message.get("parent_message_uuid")) in by_id for message in listed):
        return listed
    found: list[dict[str, Any]] = []
    at = str(listed[-1].get("uuid"))
    while (message := by_id.pop(at, None)) is not None:
        found.append(message)
        at = str(message.get("parent_message_uuid"))
    return found[::-1]


def _messages(branch: list[dict[str, Any]]) -> Iterator[Message]:
    for message in branch:
        role = _ROLES.get(str(message.get("sender")))
        text = text_of(message.get("content")).strip() or message.get("text")
        attached = message.get("attachments")
        if not text and isinstance(attached, list):  # a long text that was pasted
            texts = [one.get("extracted_content") for one in attached if isinstance(one, dict)]
            text = "\n".join(one for one in texts if isinstance(one, str))
        if role and isinstance(text, str):
            yield Message(str(message.get("uuid") or ""), role, text, message.get("created_at"))


CLAUDE_AI = Importer(
    "claude-ai", "Claude.ai's export", detect, read, lambda path: "every export of the account"
)
