"""A folder of notes in Markdown: Obsidian's, basic-memory's, or any.

Each bullet and paragraph is a memory, with the tags of its note and its own (#tag).  Of
basic-memory's observations `- [category] text #tag (context)` the category is a tag; its relations
`- type [[Note]]`, and other links, lead to the first memory of the note that is named.

Source: docs/NOTE-FORMAT.md of basic-memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nimad.importers.files import Unfit, read_note, walk
from nimad.importers.items import (
    Event,
    Importer,
    Item,
    Linked,
    Part,
    Rejected,
    Whole,
    moment,
)
from nimad.importers.markdown import Entry, FrontMatter, day_in, entries, front_matter
from nimad.model import Memory

SKIPPED = frozenset({".obsidian", ".trash", ".git", "node_modules", ".stversions", ".sync"})
DATES = ("created", "created_at", "date", "modified", "updated")
"""Names in front matter that tell when, the first one counts."""
_LINK = re.compile(
    r"!?\[\[([^\[\]|#\n]{1,200})(?:#[^\[\]|\n]{0,200})?(?:\|([^\[\]\n]{1,200}))?\]\]"
)
_TAG = re.compile(r"(?<![\w#&/])#(\w[\w/-]{0,80})")
_CATEGORY = re.compile(r"\[([^\[\]()\d:][^\[\]():]{0,40})\]\s+(?!\()")
"""Not `[x]`, which is a task's mark, nor `[00:01]`, nor `[text](link)`."""
_RELATION = re.compile(r"([\w -]{1,60}?)\s+\[\[[^\]]+\]\]\s*(?:\([^)]*\))?")


def _is_note(name: str) -> bool:
    return name.lower().endswith((".md", ".markdown"))


def detect(path: Path) -> float:
    """A folder with notes, or a note; others are surer of their own."""
    if path.is_file():
        return 0.3 * _is_note(path.name)
    if (path / ".obsidian").is_dir():
        return 0.85
    return 0.3 * any(not isinstance(told, Rejected) for told in walk(path, _is_note, SKIPPED))


def read(path: Path) -> Iterator[Event]:
    """A part a note."""
    if path.is_file():
        yield from _note(path.name, path, {})
        return
    found = list(walk(path, _is_note, SKIPPED))
    names = [told[0] for told in found if not isinstance(told, Rejected)]
    by_name = {Path(name).stem.casefold(): name for name in reversed(names)}
    by_name |= {name.rpartition(".")[0].casefold(): name for name in names}
    for told in found:
        if isinstance(told, Rejected):
            yield Part(f"notes/{told.key}")
            yield told
        else:
            yield from _note(*told, by_name)
    yield Whole("notes/")


def _note(name: str, path: Path, by_name: dict[str, str]) -> Iterator[Event]:
    yield Part(f"notes/{name}")
    try:
        note = front_matter(read_note(path, found=bool(by_name)))
    except Unfit as error:
        yield Rejected(name, str(error), True)
        return
    for entry in entries(note.rest):
        yield Item("", _memory(name, entry, note))
        related = _RELATION.fullmatch(entry.text)
        seen: set[str] = {name}
        for link in _LINK.finditer(entry.text):
            target = by_name.get(link[1].strip().casefold())
            if target is not None and target not in seen:
                seen.add(target)
                relation = related[1].strip() if related else "links to"
                yield Linked("", f"notes/{target}", "", relation)


def _memory(name: str, entry: Entry, note: FrontMatter) -> Memory:
    values = note.values
    given = values.get("tags") or values.get("tag") or []
    tags = given if isinstance(given, list) else re.split(r"[,\s]+", given)
    tags = [tag.lstrip("#") for tag in tags]
    tags += [found for found in _TAG.findall(entry.text) if not found.isdigit()]
    said = entry.text
    if category := _CATEGORY.match(said):
        tags.append(category[1].strip())
        said = said[category.end() :]
    extra: dict[str, Any] = {"file": name, **({"heading": entry.heading} if entry.heading else {})}
    extra |= {
        about: values[about]
        for about in ("title", "type", "permalink")
        if isinstance(values.get(about), str) and values[about]
    }
    when = next((values[date] for date in DATES if isinstance(values.get(date), str)), None)
    at = moment(when or day_in(Path(name).name), extra)
    if related := _RELATION.fullmatch(said):
        title = extra.get("title") or Path(name).stem
        said = f"{title} {related[1].replace('_', ' ')}{said[related.end(1) :]}"
    said = _LINK.sub(lambda found: found[2] or found[1], said)
    return Memory(
        said, session=name, timestamp=at, tags=tuple(tags), importance=entry.importance, extra=extra
    )


MARKDOWN = Importer("markdown", "notes in Markdown", detect, read, links=True)
