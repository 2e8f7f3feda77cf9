"""What an audit finds: duplicates, junk, contradictions, what has no date, what nobody finds.

Each finding is told with the command that mends it; nothing is changed here.  Memories are read
page by page, once, and again where two may be near duplicates.  Cost: 100 us a memory, of which a
query never waits for more than a page; up to 300 bytes a memory while it lasts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import field
from datetime import tzinfo
from heapq import nlargest
from itertools import islice
from typing import Any, NamedTuple

from nimad.audit import duplicates
from nimad.audit.contradictions import differ, statements
from nimad.audit.duplicates import LOOKED, Duplicates, Words, are_near, joined
from nimad.audit.junk import kind_of_junk
from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.limits import AUDIT_KINDS
from nimad.model import now_ms
from nimad.namespaces import Namespaces
from nimad.reflection.lines import day, memories
from nimad.store.bounded import BYTES, beginning, characters
from nimad.store.namespaces import memories_within
from nimad.text import common_form, tokens

PAGE = 50
"""Number of memories that are read at a time [memories]."""
READ = 4000
"""Length of the part of a text that is looked at for junk and statements [characters]."""
SAMPLE = 4000
"""Number of memories whose words tell which are common [memories]."""
MOST_IDS = 100
"""Number of memories that one finding names, and its command mends [ids]."""
LARGE = 100_000
"""Size from which a memory is told as large [bytes]."""
OLD_DAYS = 180
"""Time for which a memory was kept, from which on it counts that it was never found [days]."""
SMALL_TALK = 6
"""Number of words of a turn's text below which it is talk, which may well be said again [words]."""
BOILERPLATE = 20
"""Number of times from which on such talk is told as junk [memories]."""
QUOTED = 80
"""Length of a text in a finding [characters]."""


@dataclass
class Finding:
    """One thing that could be mended: the ids it is about (MOST_IDS at most), a sentence, and the
    command that mends it."""

    kind: str
    ids: list[int]
    what: str
    command: str


@dataclass
class Audit:
    """What was found, the number of findings of each kind, and of memories that were read."""

    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    looked: int = 0


class Row(NamedTuple):
    """What is read of a memory; `text` is its beginning, `length` that of all of it, `namespace`
    and `agent` are numbers of names, `kept` tells of a document or a goal."""

    id: int
    text: str
    length: int
    who: str | None
    namespace: int
    agent: int
    timestamp: int
    created: int
    turn: int | None
    kept: bool
    untrusted: bool
    found: int
    size: int


_SELECT = (
    f"SELECT m.id, {beginning('m.text', LOOKED)}, {characters('m.text')}, m.who, m.namespace,"
    " ifnull(m.agent, 0), m.timestamp, m.created, m.turn,"
    " m.key IS NOT NULL OR EXISTS (SELECT 1 FROM goals g WHERE g.memory = m.id),"
    f" ifnull(m.origin = 'untrusted', 0), m.access_count, {BYTES}"
    " FROM memories m WHERE m.id > ? AND {} ORDER BY m.id LIMIT ?"
)


def audit(
    store: MemoryStore,
    zone: tzinfo,
    within: Namespaces | None = None,
    kinds: Collection[str] = AUDIT_KINDS,
    limit: int = 20,
) -> Audit:
    """Look at every memory (of some namespaces); up to `limit` findings of each of some kinds, the
    weightiest first."""
    found = _Collected(store, zone)
    done = Audit(looked=0)
    total = max(1, store.records.counts()["memories"])
    with store.under_way.tell("audit", lambda: done.looked / total):
        for row in _rows(store, within):
            done.looked += 1
            found.add(row)
    makers: dict[str, Callable[[], Iterable[Finding]]] = {
        "duplicate": found.same,
        "near_duplicate": found.nearly_same,
        "junk": found.junk,
        "contradiction": found.contradictions,
        "undated": found.undated,
        "large": found.large,
        "never_found": found.never_found,
    }
    for kind in AUDIT_KINDS:
        if kind in kinds:
            made = iter(makers[kind]())
            shown = list(islice(made, limit))
            done.findings += shown
            done.counts[kind] = len(shown) + sum(1 for _ in made)
    return done


def _rows(store: MemoryStore, within: Namespaces | None) -> Iterator[Row]:
    """Every memory, by id; queries go first between two pages."""
    sql = _SELECT.format(memories_within(store.records, within))
    after = 0
    while True:
        store.query_priority.yield_to_queries()
        page = [Row(*row) for row in store.records.rows(sql, (after, PAGE))]
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].id


class _Collected:
    """What is kept of the memories while they are read, and what it comes to."""

    def __init__(self, store: MemoryStore, zone: tzinfo) -> None:
        self._store, self._zone = store, zone
        self._duplicates = Duplicates(_common_words(store))
        self._talk: dict[bytes, list[int]] = {}
        self._junk: list[tuple[int, str]] = []
        self._statements: dict[tuple[int, str, str], list[tuple[int, int, str]]] = {}
        self._sizes: list[tuple[int, int]] = []
        self._undated: list[int] = []
        self._unfound: list[int] = []
        self._found_now = store.writer.accesses.ids()
        self._old = now_ms() - OLD_DAYS * 86_400_000

    def add(self, row: Row) -> None:
        """Keep what matters of a memory."""
        if row.size >= LARGE:
            self._sizes.append((row.size, row.id))
        if row.kept:
            return
        if not row.timestamp:
            self._undated.append(row.id)
        unfound = not row.found and row.id not in self._found_now
        self._unfound += [row.id] if unfound and 0 < row.created < self._old else []
        head = row.text[:READ]
        if wrong := kind_of_junk(head):
            self._junk.append((row.id, wrong))
            return
        group = f"{row.namespace}\0{row.agent}\0{common_form(row.who or '')}"
        if row.turn is not None and len(tokens(row.text[:200])) < SMALL_TALK:
            key = duplicates.digest(f"{group}\0{common_form(row.text)}")
            self._talk.setdefault(key, []).append(row.id)
        else:
            self._duplicates.add(row.id, group, row.text, row.length)
        if not row.untrusted:
            for said in statements(head, row.who):
                about = (row.namespace, said.subject, said.key)
                self._statements.setdefault(about, []).append((row.timestamp, row.id, said.value))

    # --- what it comes to -------------------------------------------------------------------------

    def same(self) -> Iterator[Finding]:
        """Memories that are the same word for word: the first one stays."""
        for ids in sorted(self._duplicates.exact(), key=lambda ids: (-len(ids), ids)):
            what = f"{memories(len(ids))} say the same: {self._quote(ids[0])}"
            yield Finding("duplicate", ids[:MOST_IDS], what, forget(ids[1:MOST_IDS]))

    def nearly_same(self) -> Iterator[Finding]:
        """Memories that nearly are: the one with most words stays, of equal ones the first."""
        groups = joined(self._near_pairs())
        for ids in sorted(groups, key=lambda ids: (-len(ids), ids)):
            ids = ids[:MOST_IDS]
            sizes = {number: len(words.words) for number, words in self._words(ids).items()}
            best = max(ids, key=lambda number: (sizes.get(number, 0), -number))
            what = f"{memories(len(ids))} say nearly the same: {self._quote(best)}"
            rest = [number for number in ids if number != best]
            yield Finding("near_duplicate", ids, what, forget(rest))

    def _near_pairs(self) -> Iterator[tuple[int, int]]:
        """Pairs of near duplicates; those are read that were not known to be connected."""
        seen: set[tuple[int, int]] = set()
        waiting: list[tuple[int, int]] = []

        def checked() -> Iterator[tuple[int, int]]:
            self._store.query_priority.yield_to_queries()
            words = self._words(sorted({number for pair in waiting for number in pair}))
            for one, other in waiting:
                if one in words and other in words and are_near(words[one], words[other]):
                    yield one, other
            waiting.clear()

        for found in self._duplicates.candidates():
            if len(seen) >= duplicates.MOST_PAIRS:
                break
            for one, other in found.tolist():
                pair = (min(one, other), max(one, other))
                if pair not in seen:
                    seen.add(pair)
                    waiting.append(pair)
                    if len(waiting) == duplicates.VERIFIED:
                        yield from checked()
        yield from checked()

    def junk(self) -> Iterator[Finding]:
        """What nobody will want to find."""
        for ids in sorted(self._talk.values(), key=lambda ids: (-len(ids), ids)):
            if len(ids) >= BOILERPLATE:
                what = f"{memories(len(ids))} are the same few words: {self._quote(ids[0])}"
                yield Finding("junk", ids[:MOST_IDS], what, forget(ids[:MOST_IDS]))
        for number, wrong in self._junk:
            quoted = "" if wrong == "is empty" else f": {self._quote(number)}"
            yield Finding("junk", [number], f"memory {number} {wrong}{quoted}", forget([number]))

    def contradictions(self) -> Iterator[Finding]:
        """Statements of one key that differ: the latest one stays."""
        for (_, subject, key), said in sorted(self._statements.items()):
            said.sort()
            if differ(value for _, _, value in said):
                *older, (at, latest, value) = said
                old = [each for each in older if differ((each[2], value))][-MOST_IDS + 1 :]
                if not old:
                    continue
                ids = list(dict.fromkeys([*(number for _, number, _ in old), latest]))
                told = [f'"{text}"{self._on(when)}' for when, _, text in old[-3:]]
                what = f'{subject or "somebody"} {key}: {", ".join(told)}, later "{value}"'
                gone = [number for number in ids if number != latest]
                if gone:
                    yield Finding("contradiction", ids, f"{what}{self._on(at)}", forget(gone))

    def undated(self) -> Iterator[Finding]:
        """What no filter of time finds."""
        for start in range(0, len(self._undated), MOST_IDS):
            ids = self._undated[start : start + MOST_IDS]
            what = f"{memories(len(ids))} without a date, which no filter of time finds"
            yield Finding("undated", ids, what, f"nimactl redate DATE {listed(ids)}")

    def large(self) -> Iterator[Finding]:
        """The largest memories."""
        for size, number in nlargest(MOST_IDS, self._sizes):
            what = f"memory {number} takes {size / 1e6:.1f} MB: {self._quote(number)}"
            yield Finding("large", [number], what, forget([number]))

    def never_found(self) -> Iterator[Finding]:
        """What is kept for long, and was in no answer; the command reaches all of it."""
        if self._unfound:
            what = (
                f"{memories(len(self._unfound))} kept for {OLD_DAYS} days, and in no answer so far"
            )
            command = f'nimactl forget --where "found=never and stored_before={OLD_DAYS}d"'
            yield Finding("never_found", self._unfound[:MOST_IDS], what, command)

    def _on(self, at: int) -> str:
        return f" ({day(at, self._zone)})" if at else ""

    def _words(self, ids: Sequence[int]) -> dict[int, Words]:
        sql = f"SELECT id, {beginning('text', LOOKED)} FROM memories WHERE id IN"
        return {number: Words.of(text) for number, text in self._store.records.rows_in(sql, ids)}

    def _quote(self, number: int) -> str:
        sql = f"SELECT {beginning('text', QUOTED + 1)} FROM memories WHERE id = ?"
        text = " ".join((self._store.records.value(sql, (number,)) or "").split())
        return f'"{text[:QUOTED]}{" …" if len(text) > QUOTED else ""}"'


def _common_words(store: MemoryStore) -> Counter[str]:
    """The words of some memories, spread over the store, and how many have each."""
    ids = store.records.ids()
    some = ids[:: max(1, len(ids) // SAMPLE)]
    found: Counter[str] = Counter()
    for start in range(0, len(some), PAGE):
        store.query_priority.yield_to_queries()
        sql = f"SELECT {beginning('text', LOOKED)} FROM memories WHERE id IN"
        for (text,) in store.records.rows_in(sql, some[start : start + PAGE]):
            found.update(set(Words.of(text).words))
    return found


def forget(ids: Sequence[int]) -> str:
    """The command that forgets some memories."""
    return f"nimactl forget {listed(ids)}"


def listed(ids: Sequence[int]) -> str:
    """`1 2 3`."""
    return " ".join(map(str, ids))


def as_json(done: Audit) -> dict[str, Any]:
    """As the protocol has it."""
    found = [
        {"kind": one.kind, "ids": one.ids, "what": one.what, "command": one.command}
        for one in done.findings
    ]
    return {"findings": found, "counts": done.counts, "looked": done.looked}
