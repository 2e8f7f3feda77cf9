"""What is known of a person, from what that person said: no mind reading, only their words.

Topics, tone and what was announced are of their own memories; who else names them is told by ids.
Whether an announcement was kept is not known here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import tzinfo
from itertools import islice

import numpy as np

from nimad.core.store import MemoryStore
from nimad.model import Filter
from nimad.reflection import lines, quotes
from nimad.reflection.lines import NAMED, Line
from nimad.reflection.narrative import LOOKED, statements, tone_lines
from nimad.reflection.themes import themes_of
from nimad.store.bounded import get_within
from nimad.text import common_form, words_of

TOPICS = 3
"""Number of topics [themes]."""
ANNOUNCED = 5
"""Number of announcements that are quoted, the latest first [quotations]."""
QUOTED = 5
"""Number of other quotations [quotations]."""


def describe(store: MemoryStore, name: str, where: Filter, zone: tzinfo) -> list[Line]:
    """What memories by a person tell of them, and which others name them.

    Cost: as a narrative, of the latest 300 memories at most.
    """
    where = replace(where, who=name)
    ids, times = store.recall.rows(where, "id", "time")
    named = _mentions(store, name, replace(where, who=None))
    if not len(ids):
        text = f"No memory is by {name}."
        return [Line("nothing", text, []), *named]
    latest = ids[np.lexsort((ids, times))[::-1][:LOOKED]].tolist()
    found = get_within(store.records, latest)
    memories = [found[number] for number in latest if number in found]
    dated = np.flatnonzero(times)
    first, last = int(ids[0]), int(ids[-1])
    span = "at no known date"
    if len(dated):
        ends = dated[np.lexsort((dated, times[dated]))][[0, -1]]
        first, last = ids[ends].tolist()
        begin, end = (lines.day(at, zone, minutes=True) for at in times[ends].tolist())
        span = f"first heard {begin}, last {end}"
    who = memories[0].who or name
    number = lines.memories(len(ids))
    told = {"who": who, "count": len(ids)}
    both = list(dict.fromkeys([first, last]))
    made = [Line("head", f"{who}: {number}, {span}.", both, more=told)]
    for theme in themes_of(store, memories, TOPICS, [name]):
        text = f"Talks of {theme.name or 'other things'}: {lines.memories(len(theme.members))}."
        more = {"name": theme.name, "count": len(theme.members)}
        made.append(Line("theme", text, [m.id for m in theme.members[:NAMED]], more=more))
    made += tone_lines(memories)
    promises = (
        Line("promise", quotes.shortened(sentence), [memory.id], more=lines.origin_of(memory))
        for memory in memories
        for sentence in quotes.sentences(memory.text)
        if quotes.is_promise(sentence)
    )
    said = statements(store, memories)[:QUOTED]
    told_ids = {line.ids[0] for line in said}
    others = (
        lines.quote(memory, text)
        for memory in memories
        if memory.id not in told_ids and len(words_of(text := quotes.quotation(memory.text))) >= 3
    )
    said += islice(others, QUOTED - len(said))
    return [*made, *islice(promises, ANNOUNCED), *said, *named]


def _mentions(store: MemoryStore, name: str, where: Filter) -> list[Line]:
    """The memories of others that name a person, best first; no line where there are none."""
    wanted = set(words_of(common_form(name)))
    hits = store.recall.query(name, 4 * NAMED, "words", where) if wanted else []
    ids = [
        hit.memory.id
        for hit in hits
        if common_form(hit.memory.who or "") != common_form(name)
        and wanted <= set(words_of(common_form(hit.memory.text)))
    ][:NAMED]
    return [Line("mention", "Named by others here.", ids)] if ids else []
