"""What a memory, a turn and a relation are: plain records that every layer passes around."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import field, fields
from enum import StrEnum
from typing import Any

from nimad.dataclass import dataclass
from nimad.namespaces import DEFAULT, Namespaces

TURN_ROLES = ("input", "contemplation", "output")
"""What a turn is made of; each role is the layer of its memory, too."""
LAYERS = (*TURN_ROLES, "legacy_vsa", "note")
ORIGINS = ("owner", "agent", "untrusted", "system", "imported")
"""Where a memory comes from: its owner, an agent, the world outside (a page, a stranger's message),
the machine, another store.  The caller says so, never a text."""
UNKNOWN = "unknown"
"""The name, in a filter, of the origin that nobody has told."""
DEFAULT_NAMESPACE = DEFAULT
MAX_TEXT = 200_000
"""Length of the longest text: a frame holds it in UTF-8 with room for the rest [characters]."""
MAX_NAME = 1000
"""Length of the longest name (namespace, tag) [characters]."""
MAX_KEPT = 20_000
"""Length of the longest who, place, session, conversation and turn, which legacy stores put to many
uses: with all of them an answer still fits in a frame [characters]."""
MAX_EXTRA = 1 << 26
"""Length of the longest `extra` as JSON: it keeps a legacy store's columns [characters]."""
MAX_TAGS = 100
"""Number of tags of one memory [tags]."""
MIN_TIME, MAX_TIME = -62_135_596_800_000, 253_402_300_800_000
"""The years 1 and 10000, between which a time lies [epoch milliseconds]."""
LATEST_NOW = MAX_TIME - 366 * 86_400_000
"""Latest time that a clock can show, so that "this year" ends within the calendar: about the end of
9998; a clock that shows a later one is not set [epoch milliseconds]."""
MAX_COUNT = 2**53
"""The largest count, which JSON readers still hold exactly."""


@dataclass(frozen=True)
class Field:
    """What one field of a memory may hold, and how `nimactl remember` asks for it.

    `kind` is text, choice (one of `choices`), moment (epoch milliseconds, None: no date), share (0
    to 1), count, tags, json, source or blobs; `most` is the longest text, or JSON [characters];
    `blank` tells whether it may be empty.  `flag`, `metavar` and `about` are the option, which
    those without a flag have not.  A `kept` field is not for `remember`: only `import` takes it.
    """

    kind: str
    most: int = 0
    blank: bool = True
    choices: tuple[str, ...] = ()
    kept: bool = False
    flag: str = ""
    metavar: str = ""
    about: str = ""


def _is(kind: str, most: int = 0, **more: Any) -> dict[str, Field]:
    """The metadata of a field of Memory."""
    return {"field": Field(kind, most, **more)}


def _option(flag: str, metavar: str, about: str) -> dict[str, Any]:
    return {"flag": flag, "metavar": metavar, "about": about}


_WHO = _option("--who", "WHO", "who said or did it")
_WHERE = _option("--where", "PLACE", "where it happened")
_WHEN = _option("--when", "DATE", "when it happened; default now")
_LAYER = _option("--layer", "LAYER", "input, contemplation, output, legacy_vsa or note (default)")
_SHARE = _option("--importance", "X", "from 0 to 1; a term of the ranking")
_TAG = _option("--tag", "TAG", "a tag; may be repeated")
_SPACE = _option("--namespace", "NAME", "the namespace; default: default")
_ORIGIN = _option("--origin", "ORIGIN", f"where it comes from: {', '.join(ORIGINS)}")
_AGENT = _option("--agent", "NAME", "the agent that it belongs to")


@dataclass(slots=True)
class Memory:
    """One memory.  Its fields, here, are what the protocol, the store and nimactl know of them.

    `id` is 0 until the records have given it one; ids are never reused.  `timestamp` and `created`
    are epoch milliseconds (UTC), None where there is no date, and 0 for the time at which it is
    remembered; `importance` is in [0, 1] or None where the source had none.
    `who`, `affect` and the like are None where the source had NULL, "" where it had "".
    `turn` is the turn's name in its source.  `origin` is one of ORIGINS, None where nobody told it;
    `agent` is whose the memory is, where several share a store.  A memory with a `key` is a
    document: no other one in its namespace has the same, and it is replaced, not changed.  `extra`
    holds what a source had that is not modelled, or a document's value: it is kept, exported, and
    comes back in results.  `source` is (name, key there) or None.
    `blobs` are binary columns of the source (such as a legacy embedding), byte for byte.
    """

    text: str = field(metadata=_is("text", MAX_TEXT))
    id: int = 0
    who: str | None = field(default=None, metadata=_is("text", MAX_KEPT, **_WHO))
    where: str | None = field(default=None, metadata=_is("text", MAX_KEPT, **_WHERE))
    timestamp: int | None = field(default=0, metadata=_is("moment", **_WHEN))
    layer: str = field(default="note", metadata=_is("choice", choices=LAYERS, **_LAYER))
    importance: float | None = field(default=None, metadata=_is("share", **_SHARE))
    tags: tuple[str, ...] = field(default=(), metadata=_is("tags", MAX_NAME, blank=False, **_TAG))
    namespace: str = field(
        default=DEFAULT_NAMESPACE, metadata=_is("text", MAX_NAME, blank=False, **_SPACE)
    )
    key: str | None = field(default=None, metadata=_is("text", MAX_NAME, blank=False, kept=True))
    origin: str | None = field(default=None, metadata=_is("choice", choices=ORIGINS, **_ORIGIN))
    agent: str | None = field(default=None, metadata=_is("text", MAX_NAME, **_AGENT))
    conversation: str | None = field(default=None, metadata=_is("text", MAX_KEPT))
    session: str | None = field(default=None, metadata=_is("text", MAX_KEPT))
    turn: str | None = field(default=None, metadata=_is("text", MAX_KEPT))
    affect: str | None = field(default=None, metadata=_is("text", MAX_TEXT))
    summary: str | None = field(default=None, metadata=_is("text", MAX_TEXT))
    created: int | None = field(default=0, metadata=_is("moment", kept=True))
    last_accessed: int | None = field(default=None, metadata=_is("moment", kept=True))
    access_count: int = field(default=0, metadata=_is("count", MAX_COUNT, kept=True))
    source: tuple[str, str | int] | None = field(default=None, metadata=_is("source", kept=True))
    extra: dict[str, Any] | None = field(default=None, metadata=_is("json", MAX_EXTRA))
    blobs: dict[str, bytes] = field(default_factory=dict, metadata=_is("blobs", kept=True))


FIELDS: dict[str, Field] = {
    each.name: each.metadata["field"] for each in fields(Memory) if "field" in each.metadata
}
"""Every field of a memory but its id, in the order of the protocol."""
DATES = ("timestamp", "created")
"""Fields whose None is no date, and whose 0 is the time at which the memory is remembered."""


@dataclass(slots=True)
class CutMemory(Memory):
    """A memory whose long values were read only in part; such a value ends in " …"."""


@dataclass(slots=True)
class DamagedMemory(Memory):
    """A memory that is not what was written: its checksum differs."""


@dataclass(slots=True)
class CutDamagedMemory(CutMemory, DamagedMemory):
    """A memory that is both."""


@dataclass(slots=True, frozen=True)
class Turn:
    """One exchange: the ids of its input, contemplation and output memories (None: not there)."""

    name: str
    input: int | None
    contemplation: int | None
    output: int | None
    timestamp: int | None
    affect: str | None = None
    id: int = 0

    @property
    def members(self) -> tuple[int | None, int | None, int | None]:
        """Its memories, in the order of TURN_ROLES."""
        return self.input, self.contemplation, self.output


@dataclass(slots=True, frozen=True)
class Relation:
    """A directed, weighted, named edge between two memories (by id)."""

    source: int
    target: int
    relation: str
    weight: float | None
    id: int = 0


@dataclass(slots=True, frozen=True)
class Change:
    """One step of the change log: rows `first`..`last` (ids, inclusive) were added or deleted."""

    seq: int
    op: str  # "add" | "delete" | "change" (of times)
    kind: str  # "memory" | "turn" | "relation"
    first: int
    last: int


def may_see(within: Namespaces | None, memory: Memory) -> bool:
    """Whether a user bound to some namespaces (None: not bound) may know of a memory."""
    return within is None or memory.namespace in within


@dataclass(slots=True, frozen=True)
class Filter:
    """What a memory must have to be looked at: applied before ranking, empty fields ask nothing.
    `after` is inclusive, `before` exclusive (epoch milliseconds); what has no date passes neither.
    Every tag must be present, and one of the origins (of ORIGINS, or UNKNOWN).  `tree` is a
    namespace and all below it ("a" has "a.b"; "" has all), `documents` asks for a key.  `within`
    bounds all else: the namespaces that the asker may see; None: all."""

    who: str | None = None
    where: str | None = None
    layer: str | None = None
    namespace: str | None = None
    agent: str | None = None
    origin: tuple[str, ...] = ()
    within: Namespaces | None = None
    tree: str | None = None
    documents: bool = False
    tags: tuple[str, ...] = ()
    after: int | None = None
    before: int | None = None

    def __bool__(self) -> bool:
        return self != EVERYTHING

    def lets_see(self, memory: Memory) -> bool:
        """Whether it may be shown beside a hit: by its origin and its namespace."""
        origin = not self.origin or (memory.origin or UNKNOWN) in self.origin
        return origin and may_see(self.within, memory)


EVERYTHING = Filter()
"""Asks nothing."""


@dataclass(slots=True)
class Hit:
    """A memory that answers a query, with its score (higher is better) and the score's parts.

    `copies` are the ids of other memories that are the same text by the same speaker in the
    same namespace.
    """

    memory: Memory
    score: float
    parts: dict[str, float] = field(default_factory=dict)
    copies: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """What a query found: hits, best first, the names of the parts that could not help, and the
    time of each step (name → milliseconds)."""

    hits: list[Hit]
    took_ms: float
    degraded: list[str]
    timings: dict[str, float] = field(default_factory=dict)


def now_ms() -> int:
    """The time now [epoch milliseconds, UTC]; LATEST_NOW where the clock shows a later one."""
    return min(time.time_ns() // 1_000_000, LATEST_NOW)


class State(StrEnum):
    """What `migrate.status` calls a legacy source."""

    ATTACHED = "attached"
    COPYING = "copying"
    ENCODING = "encoding"
    LINKING = "linking"
    VERIFYING = "verifying"
    VERIFIED = "verified"
    LAZY = "lazy"
    PAUSED = "paused"
    FAILED = "failed"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"


STATES_AT_REST = frozenset(
    {State.VERIFIED, State.LAZY, State.PAUSED, State.FAILED, State.ROLLED_BACK}
)
"""States that a source stays in until a request changes it."""


class Stage(StrEnum):
    """What has been done of a legacy source, in this order; the column `stage` of the records.

    | stage        | done                                 | under way                           |
    |--------------|--------------------------------------|-------------------------------------|
    | attached     | the snapshot is ours                 | copying                             |
    | copied       | memories and words                   | encoding                            |
    | encoded      | vectors in sealed segments           | linking                             |
    | linked       | turns, relations                     | verifying                           |
    | verified     | every row compared                   |                                     |
    | lazy         | the same                             | vectors, of what queries find only  |
    | rolling_back | nothing is sure any more             | rolling back                        |
    | rolled_back  | everything of it is gone             |                                     |
    """

    ATTACHED = "attached"
    COPIED = "copied"
    ENCODED = "encoded"
    LINKED = "linked"
    VERIFIED = "verified"
    LAZY = "lazy"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"

    @property
    def state(self) -> State:
        """What is under way in it, unless the source was stopped."""
        begun = {
            Stage.ATTACHED: State.COPYING,
            Stage.COPIED: State.ENCODING,
            Stage.ENCODED: State.LINKING,
            Stage.LINKED: State.VERIFYING,
        }
        return begun.get(self) or State(self)

    @property
    def moving(self) -> bool:
        """Whether there is something to do in it that needs no query."""
        return self.state not in STATES_AT_REST


COUNTED_STAGES = (Stage.COPIED, Stage.ENCODED, Stage.LINKED, Stage.VERIFIED)
"""Stages whose rows are counted: in columns of the records, and fields of the status, of the same
names."""


def progress_of(source: Mapping[str, Any]) -> float:
    """How much of all stages of a source is done, 0 to 1, by its `migrate.status`."""
    if source["state"] == State.VERIFIED:
        return 1.0
    whole = len(COUNTED_STAGES) * source["total"]
    return min(sum(source[stage] for stage in COUNTED_STAGES) / whole, 1.0) if whole else 0.0


@dataclass(frozen=True)
class AttachRequest:
    """What `migrate.attach` asks for (see docs/protocol.md); the snapshot's descriptor comes beside
    it.

    `strategy` and `batch_size` None: as configured.  `time_zone` is that of times in it which name
    none; None: the daemon's.
    """

    path: str
    kind: str
    sha256: str
    size: int
    strategy: str | None = None
    batch_size: int | None = None
    start_offset: int = 0
    name: str | None = None
    dry_run: bool = False
    time_zone: str | None = None

    def params(self) -> dict[str, Any]:
        """As `params` of the protocol: without what is as by default."""
        named = ((each, getattr(self, each.name)) for each in fields(self))
        return {each.name: value for each, value in named if value != each.default}
