"""The export of ChatGPT: `conversations.json`, or `conversations-000.json` and on (since 2026).

A conversation is a tree; what the user sees is the way from `current_node` up to the root.  What
was hidden from the user, the profile that is put before each conversation, and reasoning are left
out; one that is not to be remembered is, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from nimad.importers.files import UNREADABLE, Member, Unfit, members
from nimad.importers.items import Event, Importer, Part, Rejected
from nimad.importers.json_stream import ArrayReader
from nimad.importers.transcripts import Conversation, Message, turns

BEGIN = 1 << 20
"""Begin of a file that tells whose it is [bytes]."""
FILE = re.compile(r"(.*/)?conversations(-\d+)?\.json")
_ROLES = {"user": "input", "assistant": "output"}
_SAID = ("text", "multimodal_text")
"""Kinds of content that were said; others are tools, reasoning, the user's profile."""


def detect(path: Path) -> float:
    """An export whose conversations are trees."""
    for member in members(path):
        if isinstance(member, Member) and FILE.fullmatch(member.name):
            with member.open() as file:
                begin = file.read(BEGIN)
                return 0.95 if b'"mapping"' in begin and b'"chat_messages"' not in begin else 0.0
    return 0.0


def read(path: Path) -> Iterator[Event]:
    """The conversations of all files."""
    for member in members(path):
        if isinstance(member, Rejected):
            yield member
        elif FILE.fullmatch(member.name):
            try:
                with member.open() as file:
                    yield from _conversations(member.name, file)
            except UNREADABLE as error:
                yield Rejected(member.name, str(error)[:200], True)


def _conversations(name: str, file: IO[bytes]) -> Iterator[Event]:
    reader = ArrayReader(file)
    for number, value in enumerate(reader.values(), 1):
        where = f"{name}, conversation {number}"
        if isinstance(value, Unfit):
            yield Rejected(where, str(value))
            continue
        told = value if isinstance(value, dict) else {}
        session = told.get("conversation_id") or told.get("id")
        if not isinstance(session, str) or not isinstance(told.get("mapping"), dict):
            yield Rejected(where, "it has no id, or no messages")
            continue
        yield Part(f"conversations/{session}")
        if not told.get("is_do_not_remember"):
            extra = {"title": str(told["title"])[:300]} if told.get("title") else {}
            about = Conversation(session, assistant="ChatGPT", extra=extra, framed=False)
            way = _way(told)
            if not way and any(
                _within(told["mapping"], key).get("message") for key in told["mapping"]
            ):
                yield Rejected(where, "its current node leads to none of its messages")
            yield from turns(_messages(told, way), about)
    if not reader.whole:
        yield Rejected(name, "it ends in the middle, or holds no list", True)


def _way(told: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The messages from the current node back to the first, by their keys."""
    nodes = dict(told["mapping"])
    at = told.get("current_node")
    way: list[tuple[str, dict[str, Any]]] = []
    while isinstance(at, str) and isinstance(node := nodes.pop(at, None), dict):
        if isinstance(node.get("message"), dict):
            way.append((at, node["message"]))
        at = node.get("parent")
    return way


def _messages(told: dict[str, Any], way: list[tuple[str, dict[str, Any]]]) -> Iterator[Message]:
    """What was said on the way to the current node, in its order."""
    time = told.get("create_time")
    for key, message in reversed(way):
        author, content = _within(message, "author"), _within(message, "content")
        hidden = _within(message, "metadata").get("is_visually_hidden_from_conversation")
        role = _ROLES.get(str(author.get("role")))
        apart = message.get("recipient") not in (None, "all")  # a call of a tool
        if role is None or hidden or apart or content.get("content_type") not in _SAID:
            continue
        parts = content.get("parts")
        texts = [
            part.get("text") if isinstance(part, dict) else part
            for part in (parts if isinstance(parts, list) else [])
        ]
        text = "\n".join(one for one in texts if isinstance(one, str)).strip()
        time = message.get("create_time") or time  # may be null
        yield Message(str(message.get("id") or key), role, text, time)


def _within(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


CHATGPT = Importer(
    "chatgpt", "ChatGPT's export", detect, read, lambda path: "every export of the account"
)
