"""Notes in Markdown as entries: a bullet, or a paragraph, is one; what is code stays together.

A comment such as `<!-- observed: 2026-05-08 | status: active -->` belongs to the entry below it, as
OpenClaw writes it; `<!-- importance: 1-10 -->` and `<!-- project: NAME -->` to the one they end.
Line numbers are not kept: they change when a line is put before, and the entry has not changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any

from nimad.dataclass import dataclass
from nimad.importers.files import Unfit, read_json

_BULLET = re.compile(r"(\s*)(?:[-*+]|\d{1,9}[.)])\s+(?:\[(.)\]\s+)?(.*)")
_HEADING = re.compile(r"\s{0,3}(?:(#{1,6})\s+(.*?)\s*#*|\*\*([^*]{1,100})\*\*:?)\s*")
"""Also a line in bold alone, which models write."""
_OBSERVED = re.compile(r"\s*<!--\s*observed:\s*([^|]{0,40}?)\s*\|\s*status:\s*(\w+)\s*-->\s*")
_RULE = re.compile(r"\s*(-{3,}|\*{3,}|_{3,})\s*")
_COMMENT = re.compile(
    r"<!--\s*(?:(importance|project|trigger):\s*([^>]{0,200}?)\s*)?-->|<!--.*?-->", re.DOTALL
)
_DAY = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?:-(\d{2})(\d{2})(?!\d))?")
SHORTEST = 3
"""Length of the shortest entry [characters]."""


@dataclass
class Entry:
    """One entry: its text, the heading above it, and what comments say of it.  `mark` is what
    stands in the box of a task ("x", " ", "-"), "" where it is none."""

    text: str
    heading: str = ""
    day: str | None = None
    status: str = ""
    importance: float | None = None
    project: str = ""
    mark: str = ""


def entries(text: str) -> Iterator[Entry]:
    """The entries of a note, without its front matter."""
    headings: list[str] = []
    current: Entry | None = None
    observed: re.Match[str] | None = None
    fenced = below = False
    for line in text.split("\n"):
        fence = line.lstrip().startswith(("```", "~~~"))
        bullet, heading = _BULLET.fullmatch(line), _HEADING.fullmatch(line)
        mark = None if fenced else _OBSERVED.fullmatch(line)
        apart = not line.strip() or heading or _RULE.fullmatch(line) or mark
        if not fenced and (apart or bullet):
            yield from _finished(current)
            current = None
        if fenced or fence:
            current = current or Entry("", " / ".join(headings))
            current.text += f"\n{line}"
        elif heading:
            depth = len(heading[1]) - 1 if heading[1] else len(headings) - below
            headings = [*headings[:depth], heading[2] or heading[3]]
            below = not heading[1]
        elif mark:
            observed = mark
        elif bullet:
            current = Entry(bullet[3], " / ".join(headings), mark=bullet[2] or "")
        elif not apart:
            current = current or Entry("", " / ".join(headings))
            current.text += f"\n{line.strip()}"
        if current and observed:
            current.day = found[1] if (found := _DAY.fullmatch(observed[1])) else None
            current.status, observed = observed[2], None
        fenced ^= fence
    yield from _finished(current)


def _finished(entry: Entry | None) -> Iterator[Entry]:
    if entry is None:
        return
    for comment in _COMMENT.finditer(entry.text):
        if comment[1] == "importance" and comment[2].isdigit():
            entry.importance = min(int(comment[2]), 10) / 10
        elif comment[1] == "project":
            entry.project = comment[2]
    entry.text = _COMMENT.sub("", entry.text).strip()
    if len(entry.text) >= SHORTEST:
        yield entry


def day_in(name: str) -> str | None:
    """The time in a file's name, `2026-05-08` or `2026-05-08-1430`, in ISO 8601; a day alone is at
    its noon."""
    found = _DAY.search(name)
    if found is None:
        return None
    return f"{found[1]}T{found[2]}:{found[3]}:00" if found[2] else f"{found[1]}T12:00:00"


@dataclass
class FrontMatter:
    """What stands between `---` at the begin of a note: names and texts, or lists of texts."""

    values: dict[str, Any] = field(default_factory=dict)
    rest: str = ""


def front_matter(text: str) -> FrontMatter:
    """The front matter of a note and what follows it.  Of YAML only what notes use is read: a text
    a name, a list in brackets or of dashes; anything else is left out."""
    lines = text.split("\n")
    end = next((n for n, line in enumerate(lines[1:400], 1) if line.rstrip() == "---"), 0)
    if lines[0].rstrip() != "---" or not end:
        return FrontMatter({}, text)
    values: dict[str, Any] = {}
    name = ""
    for line in lines[1:end]:
        if found := re.fullmatch(r"([\w-]{1,60}):\s*(.*?)\s*", line):
            name, said = found[1].lower(), found[2]
            values[name] = _list(said) if said.startswith("[") else said.strip("\"'")
        elif (found := re.fullmatch(r"\s*-\s+(.*?)\s*", line)) and name:
            listed = values[name] if isinstance(values[name], list) else []
            values[name] = [*listed, found[1].strip("\"'")]
    return FrontMatter(values, "\n".join(lines[end + 1 :]))


def _list(said: str) -> list[str]:
    try:
        found = read_json(said.encode())
        if isinstance(found, list):
            return [str(one) for one in found]
    except Unfit:
        pass
    return [one.strip().strip("\"'") for one in said.strip("[]").split(",") if one.strip()]
