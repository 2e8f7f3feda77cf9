"""A narrative of memories: counts, people, themes with quotations, tone, what is open.

Extractive: a line counts memories or quotes one, and names the ids that it rests on.  Many memories
are not all read: the weightiest, and of equal ones the latest, stand for them (`LOOKED`); counts of
memories and people are of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from datetime import tzinfo

import numpy as np
from numpy.typing import NDArray

from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.model import Filter, Memory
from nimad.recall import speaker_prefix
from nimad.recall.subjects import NO_SUBJECT
from nimad.reflection import affects, lines, quotes
from nimad.reflection.lines import NAMED, Line
from nimad.reflection.themes import Theme, cosines, themes_of, vectors_of
from nimad.store import goals
from nimad.store.bounded import get_within
from nimad.text import common_form, words_of

LOOKED = 300
"""Number of memories that are read for one narrative [memories]."""
THEMES = 5
"""Number of themes [themes]."""
READ_FOR_QUOTES = 30
"""Number of memories in the middle of a theme that quotations are chosen from [memories]."""
QUOTES = 3
"""Number of quotations of a theme [quotations]."""
PEOPLE = 5
"""Number of people that are named [people]."""
STATEMENTS = 5
"""Number of things that somebody says of themselves [quotations]."""
SAME = 0.75
"""Cosine from which two statements are taken for the same, said again."""
NOTHING = "There is nothing to tell: no memory fits."

Ids = NDArray[np.int64]


@dataclass
class Narrative:
    """Lines, of how many memories, how many of them were read, and the tokens of the lines."""

    lines: list[Line] = field(default_factory=list)
    memories: int = 0
    looked: int = 0
    tokens: int = 0


def narrate(
    store: MemoryStore, where: Filter, zone: tzinfo, budget: int, count: Callable[[str], int]
) -> Narrative:
    """What the memories that pass a filter tell, in at most `budget` tokens.

    With `where.who`: what they say of themselves, and who else spoke in their sessions.  Goals are
    told as what is open, not as memories.  The same for the same memories, in every process.
    """
    ids, times, importance, who = store.recall.rows(where, "id", "time", "importance", "who")
    open_goals = goals.goals(store.records, within=where.within)
    kept = ~np.isin(ids, [goal.memory for goal in goals.goals(store.records, None)])
    ids, times, importance, who = ids[kept], times[kept], importance[kept], who[kept]
    if not len(ids):
        return Narrative([Line("nothing", NOTHING, [])])
    order = np.lexsort((-ids, -times, -importance))[:LOOKED]
    found = get_within(store.records, ids[order].tolist())
    memories = [found[number] for number in ids[order].tolist() if number in found]
    people = _people(store, where, ids, times, who)
    names = [str(line.more["who"]) for line in people]
    made = [_head(ids, times, zone), *people]
    if where.who is not None:
        made += statements(store, memories)
    for place, theme in enumerate(themes_of(store, memories, THEMES, names)):
        made += _theme(theme, len(memories), place)
    made += tone_lines(memories)
    texts = store.records.get([goal.memory for goal in open_goals[:PEOPLE]])
    for goal in open_goals[:PEOPLE]:
        if memory := texts.get(goal.memory):
            text = quotes.shortened(memory.text.strip())
            told = {"priority": goal.priority, "due": goal.due}
            made.append(Line("goal", text, [goal.memory], 60 + goal.priority, told))
    fitting, tokens = lines.within_budget(made, budget, count, zone)
    return Narrative(fitting, len(ids), len(memories), tokens)


def _head(ids: Ids, times: Ids, zone: tzinfo) -> Line:
    """How many memories, and from when to when."""
    number = lines.memories(len(ids))
    dated = np.flatnonzero(times)
    if not len(dated):
        return Line("head", f"{number}, none of a known date.", ids[:1].tolist(), 100)
    dated = dated[np.lexsort((dated, times[dated]))]
    first, last = dated[0], dated[-1]
    begin, end = (lines.day(int(times[at]), zone) for at in (first, last))
    span = begin if begin == end else f"{begin} to {end}"
    named = list(dict.fromkeys([int(ids[first]), int(ids[last])]))
    return Line("head", f"{number}, {span}.", named, 100, {"count": len(ids)})


def _people(
    store: MemoryStore, where: Filter, ids: Ids, times: Ids, who: NDArray[np.int32]
) -> list[Line]:
    """Who speaks most; of one person: who else spoke in their sessions."""
    verb = "said"
    if where.who is not None:
        (own,) = store.recall.rows(where, "session")
        everyone = replace(where, who=None)
        names = ("id", "time", "who", "session")
        ids, times, others, sessions = store.recall.rows(everyone, *names)
        there = np.isin(sessions, np.unique(own[own != NO_SUBJECT])) & (others != who[0])
        ids, times, who = ids[there], times[there], others[there]
        verb = "said in the same sessions"
    usual = (who > NO_SUBJECT) | np.isin(who, list(speaker_prefix.recurring(who)))
    codes, counts = np.unique(who[usual], return_counts=True)
    made: list[Line] = []
    for place in np.lexsort((codes, -counts))[:PEOPLE]:
        mine = np.flatnonzero(who == codes[place])
        latest = ids[mine[np.lexsort((ids[mine], times[mine]))[::-1][:NAMED]]].tolist()
        memory = store.records.get(latest[:1]).get(latest[0])
        name = ""
        if memory:  # what stands before the colon of its text, where `who` does not tell
            name = memory.who or memory.text.partition(":")[0].strip()[:60]
        if name:
            number = int(counts[place])
            text = f"{name}: {verb} {number:,} of them."
            more = {"who": name, "count": number}
            made.append(Line("person", text, latest, 90 - len(made), more))
    return made


def _theme(theme: Theme, looked: int, place: int) -> list[Line]:
    """A theme and its quotations, in the order of time."""
    number = len(theme.members)
    title = f"{theme.name or 'Other'}: {number} of {looked} memories that were read."
    ids = [memory.id for memory in theme.members[:NAMED]]
    more = {"name": theme.name, "count": number}
    made = [Line("theme", title, ids, 80 - place, more)]
    words = {common_form(word) for word in theme.words}
    said: dict[str, tuple[Memory, str]] = {}
    for memory in theme.members[:READ_FOR_QUOTES]:
        text = quotes.quotation(memory.text, words)
        said.setdefault(common_form(text), (memory, text))
    said.pop("", None)
    fitting = sorted(said, key=lambda plain: words.isdisjoint(words_of(plain)))[:QUOTES]
    chosen = [
        lines.quote(*said[plain], 79.5 - place - 20 * number)
        for number, plain in enumerate(fitting)
    ]
    return made + sorted(chosen, key=lambda line: (line.more["timestamp"] or 0, line.ids[0]))


def tone_lines(memories: Sequence[Memory]) -> list[Line]:
    """The affects that were told with memories; no line where none was."""
    means, telling = affects.tone(memories)
    if not means:
        return []
    shown = ", ".join(f"{name} {value:.2f}" for name, value in list(means.items())[:3])
    text = f"Tone, as told with {len(telling)} of the memories that were read: {shown}."
    ids = [memory.id for memory in telling[:NAMED]]
    return [Line("tone", text, ids, 70, {"affect": means, "count": len(telling)})]


def statements(store: MemoryStore, memories: Sequence[Memory]) -> list[Line]:
    """What speakers say of themselves, the most repeated first; `also` names the repetitions."""
    found = [
        (memory, quotes.shortened(sentence))
        for memory in memories
        for sentence in quotes.sentences(memory.text)
        if quotes.is_about_self(sentence)
    ][:LOOKED]
    if not found:
        return []
    rows = vectors_of(store, [Memory(text, id=-1 - at) for at, (_, text) in enumerate(found)])
    near = cosines(rows, rows) >= SAME
    alone = np.ones(len(found), np.bool_)
    made: list[Line] = []
    for place in np.argsort(-near.sum(axis=1), kind="stable"):
        if alone[place]:
            memory, text = found[place]
            again = {found[at][0].id for at in np.flatnonzero(near[place])} - {memory.id}
            alone[near[place]] = False
            line = lines.quote(memory, text, 85 - len(made))
            line.more["also"] = sorted(again)[: 2 * NAMED]
            made.append(line)
        if len(made) == STATEMENTS:
            break
    return made
