"""The lines that every reflection is told in: a sentence, and the memories that it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from datetime import tzinfo
from typing import Any

from nimad import times
from nimad.dataclass import dataclass
from nimad.model import Memory

QUOTED = ("quote", "promise", "goal")
"""Kinds of lines that are cut out of the one memory that they name."""
NAMED = 5
"""Number of memories that a line names which rests on many [ids]."""
ENVELOPE = 4
"""Tokens that the marks around a line take [tokens]."""


@dataclass
class Line:
    """One line.

    Attributes:
        kind: what it tells; that of a "quote" is cut out of its memory, as it stands there.
        text: the sentence, without its ids.
        ids: the memories that it rests on, the most telling first.
        weight: of two lines the heavier one stays when not all fit in a budget.
        more: figures for programs.
    """

    kind: str
    text: str
    ids: list[int]
    weight: float = 0.0
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As the protocol has it."""
        return {"kind": self.kind, "text": self.text, "ids": self.ids, **self.more}


def quote(memory: Memory, text: str, weight: float = 0.0) -> Line:
    """A line that quotes a memory."""
    return Line("quote", text, [memory.id], weight, origin_of(memory))


def origin_of(memory: Memory) -> dict[str, Any]:
    """Who said it, and when: the figures of a line that quotes a memory."""
    return {"who": memory.who, "timestamp": memory.timestamp}


def told(lines: Sequence[Line], zone: tzinfo) -> str:
    """Lines as a text: each ends in its ids, quotations stand in quotation marks."""
    return "\n".join(written(line, zone) for line in lines)


def written(line: Line, zone: tzinfo) -> str:
    """One line as a text."""
    ids = f"[{' '.join(map(str, line.ids))}]" if line.ids else ""
    if line.kind not in QUOTED:
        return f"{line.text} {ids}".rstrip()
    who = line.more.get("who") or ""
    at = line.more.get("timestamp")
    head = ", ".join(part for part in (day(at, zone, minutes=True) if at else "", who) if part)
    return f'  {head}{": " if head else ""}"{line.text}" {ids}'


def memories(number: int) -> str:
    """`1 memory`, `4,112 memories`."""
    return "1 memory" if number == 1 else f"{number:,} memories"


def day(at: int, zone: tzinfo, *, minutes: bool = False) -> str:
    """A time [epoch milliseconds] as a local date; with its minute, if asked for."""
    moment = times.local(at, zone).replace(tzinfo=None).isoformat(" ", "minutes")
    return moment if minutes else moment[:10]


def within_budget(
    lines: Sequence[Line], budget: int, count: Callable[[str], int], zone: tzinfo
) -> tuple[list[Line], int]:
    """The heaviest lines whose tokens fit, in their order, and the tokens of all of them."""
    kept: set[int] = set()
    spent = 0
    for place in sorted(range(len(lines)), key=lambda at: (-lines[at].weight, at)):
        tokens = count(written(lines[place], zone)) + ENVELOPE
        if spent + tokens <= budget:
            kept.add(place)
            spent += tokens
    return [line for place, line in enumerate(lines) if place in kept], spent
