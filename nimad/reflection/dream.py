"""Pairs of memories that should perhaps be one, or be linked: suggested, never done.

A dream looks at each memory once, in the order of ids, and compares it with those nearest to it in
meaning.  What it finds is kept as two ids and a figure (nimad/store/suggestions.py) until somebody
accepts or rejects it:

=========== ===================================================== ==============================
kind        what was found                                        what accepting it does
=========== ===================================================== ==============================
duplicate   one speaker said the same in the same words, or       the newer one is forgotten; the
            nearly                                                older one takes its relations
repeat      one speaker said nearly the same in other words       a relation `same_as`
link        a memory and the nearest one of another session share a relation `related_to`
            several words that tell, and no edge connects them
=========== ===================================================== ==============================

Crash prose: pairs and the id up to which memories were looked at are one transaction, and so are a
relation and the end of its suggestion.  Accepting a duplicate first copies relations, then forgets
the memory, with which the suggestion goes: a crash in between leaves the suggestion, and accepting
it again copies nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import field

from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.errors import NotFound
from nimad.model import Memory, Relation
from nimad.namespaces import Namespaces
from nimad.recall.subjects import LONG
from nimad.reflection.themes import SMALL_TALK, SOLID, vectors_of
from nimad.store import goals, suggestions
from nimad.store.bounded import get_within
from nimad.store.relations import neighbours
from nimad.store.suggestions import Pair, Suggestion
from nimad.store.words import STOP_WORDS
from nimad.text import common_form, tokens, words_of

STEP_ROWS = 10
"""Number of memories that one step looks at: some 50 ms [memories]."""
NEAREST = 8
"""Number of memories that each is compared with [memories]."""
KEEP_AFTER = 500
"""Number of memories after which what was found is written [memories]."""
MOST_WAITING = 1000
"""Number of suggestions that wait, from which on nothing more is looked for [suggestions]."""
SAME_WORDS = 0.8
"""Share of the words of two texts that both have, from which on they are nearly the same."""
REPEAT, LINK = 0.7, 0.6
"""How far from "near" to "the same" the cosine of a repeat, and of a link, lies at least."""
TELLING_REPEAT, TELLING_LINK = 0.6, 0.5
"""Share of the telling words of the shorter text that the other one has, at least: vectors alone
find all small talk alike."""
TELLING = 3
"""Number of telling words that both texts have, at least [words]."""
TELLING_LETTERS = 4
"""Length of the shortest word that tells, in ASCII [characters]."""
EDGES = 200
"""Number of edges of a memory that are looked at [edges]."""
RELATIONS = {"repeat": "same_as", "link": "related_to"}
"""What accepting a suggestion of a kind adds."""


@dataclass
class Dreamer:
    """Goes on where the last dream stopped; `position` is the last id that was looked at."""

    store: MemoryStore
    position: int = -1
    found: list[Pair] = field(default_factory=list)
    looked: int = 0
    new: int = 0
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.position < 0:
            self.position = suggestions.dreamt_to(self.store.records)
        named = self.store.records.values_of("who", lambda name: len(name) <= LONG)
        self.names = {word for name in named for word in tokens(name)}

    def more(self) -> bool:
        """Whether there is a memory to look at, and room for what is found."""
        sql = "SELECT 1 FROM memories WHERE id > ? LIMIT 1"
        if self.store.records.value(sql, (self.position,)) is None:
            return False
        waiting = "SELECT count(*) FROM suggestions WHERE NOT rejected"
        return int(self.store.records.value(waiting)) + len(self.found) < MOST_WAITING

    def step(self, *, keep: bool = True) -> None:
        """Look at the next few memories; now and then, and at the end, write what was found."""
        sql = "SELECT id FROM memories WHERE id > ? ORDER BY id LIMIT ?"
        ids = [n for (n,) in self.store.records.rows(sql, (self.position, STEP_ROWS))]
        if ids:
            self.found += pairs(self.store, ids, self.names)
            self.position = ids[-1]
        before, self.looked = self.looked // KEEP_AFTER, self.looked + len(ids)
        if keep and (before != self.looked // KEEP_AFTER or len(ids) < STEP_ROWS):
            self.write()

    def write(self) -> None:
        """Keep what was found, and how far memories were looked at."""
        with self.store.records.write() as tx:
            self.new += suggestions.add(tx, self.found, self.position)
        self.found = []


def dream(store: MemoryStore, seconds: float, *, keep: bool = True) -> tuple[Dreamer, int]:
    """Look at memories for some seconds; what was found, and how many are left."""
    dreamer = Dreamer(store)
    until = time.monotonic() + seconds
    with store.under_way.tell("dream", lambda: 1 - (until - time.monotonic()) / (seconds or 1)):
        while dreamer.more() and time.monotonic() < until:
            store.query_priority.yield_to_queries()
            dreamer.step(keep=keep)
    if keep and dreamer.found:
        dreamer.write()
    left = store.records.value("SELECT count(*) FROM memories WHERE id > ?", (dreamer.position,))
    return dreamer, int(left)


def pairs(store: MemoryStore, ids: Sequence[int], names: Collection[str] = ()) -> list[Pair]:
    """What some memories form pairs with, each pair once, the older memory first; `names` are
    tokens of names of speakers, which tell nothing."""
    index, embedder = store.semantic.serving
    near, room = embedder.scale.near, 1 - embedder.scale.near
    memories = [m for m in get_within(store.records, ids).values() if _is_solid(m)]
    found: dict[tuple[int, int], Pair] = {}
    for memory, row in zip(memories, vectors_of(store, memories), strict=True):
        numbers, scores = index.search(row, NEAREST + 1)
        close = {
            int(number): float(score)
            for number, score in zip(numbers, scores, strict=True)
            if number != memory.id and score >= near + LINK * room
        }
        others = get_within(store.records, list(close))
        wanted = goals.of_memories(store.records, [memory.id, *close]).keys()
        if not close or memory.id in wanted:
            continue
        kinds: set[str] = set()
        edges = {step.id for step in neighbours(store.records, memory.id, 1, EDGES)}
        for number in sorted(close.keys() - wanted, key=lambda n: (-close[n], n)):
            other = others.get(number)
            if other is None or other.namespace != memory.namespace or not _is_solid(other):
                continue
            kind = _kind(memory, other, (close[number] - near) / room, names)
            if kind is None or kind in kinds or (kind in RELATIONS and number in edges):
                continue
            kinds.add(kind)  # the nearest one of a kind will do
            first, second = sorted((memory.id, number))
            found.setdefault((first, second), Pair(kind, first, second, round(close[number], 4)))
    return list(found.values())


def _is_solid(memory: Memory) -> bool:
    """Whether a memory says enough to be compared."""
    return len(words_of(memory.text[:200])) >= SOLID


def _kind(one: Memory, other: Memory, cosine: float, names: Collection[str]) -> str | None:
    """What two memories form; `cosine`: from "near" (0) to "the same" (1)."""
    words, others = (frozenset(tokens(memory.text[:4000])) for memory in (one, other))
    same_speaker = common_form(one.who or "") == common_form(other.who or "")
    if same_speaker and len(words & others) >= SAME_WORDS * len(words | others):
        return "duplicate"
    telling = [
        {
            word
            for word in each - STOP_WORDS - SMALL_TALK
            if word not in names and (len(word) >= TELLING_LETTERS or not word.isascii())
        }
        for each in (words, others)
    ]
    both, least = len(telling[0] & telling[1]), min(map(len, telling))
    if both < TELLING:
        return None
    if same_speaker and cosine >= REPEAT and both >= TELLING_REPEAT * least:
        return "repeat"
    apart = one.session is None or one.session != other.session
    return "link" if apart and both >= TELLING_LINK * least else None


# --- what becomes of a suggestion -----------------------------------------------------------------


def find(store: MemoryStore, number: int, within: Namespaces | None) -> Suggestion:
    """A suggestion that waits.  Raises NotFound, also for one outside of some namespaces."""
    found = suggestions.waiting(store.records, 1, within, number)
    if not found:
        raise NotFound(kind="suggestion", id=number)
    return found[0]


def accept(store: MemoryStore, number: int, within: Namespaces | None = None) -> Suggestion:
    """Do what a suggestion asks for (see above).  Raises NotFound, DiskFull."""
    found = find(store, number, within)
    with store.records.write() as tx:
        if found.kind in RELATIONS:
            relation = Relation(found.second, found.first, RELATIONS[found.kind], found.score)
            tx.add_relations([(relation, None, None)])
            suggestions.settle(tx, number, rejected=False)
        else:  # the one that stays gets the relations of the other that it has not
            sql = (
                "SELECT origin, target, n.name, weight FROM relations r"
                " JOIN names n ON n.id = r.relation WHERE origin = ?1 OR target = ?1 ORDER BY r.id"
            )
            has = {row[:3] for row in tx.rows(sql, (found.first,))}
            wanted: dict[tuple[int, int, str], float | None] = {}
            for *ends, name, weight in tx.rows(sql, (found.second,)):
                origin, target = (found.first if end == found.second else end for end in ends)
                if origin != target and (origin, target, name) not in has:
                    wanted.setdefault((origin, target, name), weight)
            edges = [Relation(*edge, weight=weight) for edge, weight in wanted.items()]
            if edges:
                tx.add_relations([(edge, None, None) for edge in edges])
    if found.kind not in RELATIONS:
        store.forget([found.second])
    else:
        store.on_change()
    return found


def reject(store: MemoryStore, number: int, within: Namespaces | None = None) -> Suggestion:
    """Never suggest a pair again.  Raises NotFound."""
    found = find(store, number, within)
    with store.records.write() as tx:
        suggestions.settle(tx, number, rejected=True)
    return found
