"""Conversations as turns: what a person said, and the last that was answered to it.

What stands between calls of tools, and what programs put into a message, was said to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Any

from nimad.dataclass import dataclass
from nimad.human import user_name
from nimad.importers.items import Item, moment
from nimad.model import DEFAULT_NAMESPACE, Memory

_FENCE = "```json.*?```"
_INJECTED = [
    re.compile(pattern, re.DOTALL | re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"<(relevant-memories|system-reminder|active_memory_plugin)>.*?(</\1>|\Z)\s*",
        r"\[NIMA RECALL[^\]]{0,200}\].*?\[End recall[^\]]{0,200}\]\s*",
        r"🎭\s{0,3}AFFECT STATE[^\n]*\n?",
        r"\[(?:Dynamic affect|message_id:|Queued messages)[^\]]{0,200}\]\s*",
        rf"^[^\n]{{0,80}}\(untrusted[^)\n]{{0,80}}\)[^\n]*\n?\s*{_FENCE}\s*",
        r"^---\s*Queued #\d+\s*",
    )
]
"""What OpenClaw, nima-core, Claude Code and nimad put into a message."""
_NOISE = re.compile(
    r"HEARTBEAT_OK|NO_REPLY|^GatewayRestart:|Pre-compaction memory flush|^Read HEARTBEAT\.md"
    r"|^<(?:command-|local-command|bash-|task-)|^Caveat: The messages below|^\[Request interrupted"
)
"""What is no exchange between a person and an agent."""
LOOKED_AT = 20_000
"""Length of a message's begin that is cleaned; a pattern may take the square of it [characters]."""


@dataclass(slots=True)
class Message:
    """One message of a conversation, in its order.  `role` is a layer: input, contemplation,
    output."""

    key: str
    role: str
    text: str
    time: Any = None
    who: str = ""


@dataclass(slots=True)
class Conversation:
    """What all items of a conversation share."""

    session: str
    agent: str | None = None
    namespace: str = DEFAULT_NAMESPACE
    where: str | None = None
    assistant: str = "self"
    tags: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    framed: bool = True
    """Whether programs put text of theirs into messages, as agents' do."""


def without_frames(text: str) -> str:
    """A message as its author wrote it."""
    head, rest = text[:LOOKED_AT], text[LOOKED_AT:]
    for pattern in _INJECTED:
        head = pattern.sub("", head)
    return (head + rest).strip()


def text_of(content: Any, kind: str = "text") -> str:
    """The text of a message: a string, or what stands in blocks of one kind."""
    if isinstance(content, str):
        return content if kind == "text" else ""
    blocks = content if isinstance(content, list) else []
    found = [one.get(kind) for one in blocks if isinstance(one, dict) and one.get("type") == kind]
    return "\n".join(text for text in found if isinstance(text, str))


def turns(messages: Iterable[Message], about: Conversation) -> Iterator[Item]:
    """The items of a conversation: for each input its last output, and all contemplation between.

    A turn is named by the key of its input, else by its time or place; what is said before the
    first one belongs to none.
    """
    turn: dict[str, Message] = {}
    place = 0
    for message in messages:
        if about.framed:
            message.text = without_frames(message.text)
        if not message.text:
            continue
        if message.role == "input":
            yield from _items(turn, about, place)
            turn = {}
            place += 1
        elif message.role == "contemplation" and "contemplation" in turn:
            message.text = f"{turn['contemplation'].text}\n{message.text}"
            message.key = turn["contemplation"].key
        turn[message.role] = message
    yield from _items(turn, about, place)


def _items(turn: dict[str, Message], about: Conversation, place: int) -> Iterator[Item]:
    if about.framed and any(_NOISE.search(message.text[:LOOKED_AT]) for message in turn.values()):
        return
    if "output" not in turn:
        turn.pop("contemplation", None)
    asked = turn.get("input")
    name = asked.key or str(asked.time or place) if asked else None
    for role in ("input", "contemplation", "output"):
        if (message := turn.get(role)) is None:
            continue
        extra = dict(about.extra)
        who = message.who or (user_name() if role == "input" else about.assistant)
        at = moment(message.time, extra)
        yield Item(
            message.key,
            Memory(
                message.text,
                who=who,
                timestamp=at,
                layer=role,
                agent=about.agent,
                namespace=about.namespace,
                where=about.where,
                session=about.session,
                turn=name,
                tags=about.tags,
                extra=extra or None,
            ),
        )
