"""What the daemon's replies hold, as types: docs/protocol.md tells what each field means."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, Required, TypedDict

Role = Literal["input", "contemplation", "output"]
Layer = Literal["input", "contemplation", "output", "legacy_vsa", "note"]
Origin = Literal["owner", "agent", "untrusted", "system", "imported"]
Moment = int | str
"""A time: a number since 1970 (seconds to nanoseconds, by its size), or ISO 8601."""


class Source(TypedDict):
    """Where a migrated memory was: the source's name, and its key there."""

    name: str
    id: int | str


class Memory(TypedDict):
    """A memory; times are epoch milliseconds, None where there is no date."""

    id: int
    text: str
    who: str | None
    where: str | None
    timestamp: int | None
    layer: Layer
    importance: float | None
    tags: list[str]
    namespace: str
    key: str | None
    origin: Origin | None
    agent: str | None
    conversation: str | None
    session: str | None
    turn: str | None
    affect: str | None
    summary: str | None
    created: int | None
    last_accessed: int | None
    access_count: int
    source: Source | None
    extra: dict[str, Any] | None
    cut: NotRequired[bool]


class Context(TypedDict):
    """What stands around a result: its turn by role, the ids that were found, all in order."""

    turn: dict[Role, int | None]
    hits: list[int]
    memories: list[Memory]


class Result(Memory):
    """A memory that answers a query; the best have the highest score."""

    score: float
    parts: NotRequired[dict[str, float]]
    copies: NotRequired[int]
    copy_ids: NotRequired[list[int]]
    context: NotRequired[Context]
    tokens: NotRequired[int]


class Answer(TypedDict):
    """What a query found, and the parts that could not help."""

    results: list[Result]
    took_ms: float
    degraded: list[str]
    notes: NotRequired[list[str]]
    budget: NotRequired[int]
    tokens: NotRequired[int]
    cut: NotRequired[bool]


class Related(Memory):
    """A memory that relations and turns connect with another one."""

    relation: str
    direction: Literal["out", "in"]
    weight: float | None
    distance: int


class Fields(TypedDict, total=False):
    """What a memory may be given besides its text."""

    who: str
    where: str
    timestamp: Moment
    layer: Layer
    importance: float
    tags: list[str]
    namespace: str
    origin: Origin
    agent: str
    conversation: str
    session: str
    turn: str
    affect: str
    summary: str
    extra: dict[str, Any]
    time_zone: str


class Part(TypedDict, total=False):
    """One part of a turn."""

    text: Required[str]
    who: str
    where: str
    when: Moment
    importance: float
    tags: list[str]
    origin: Origin
    agent: str
    summary: str
    extra: dict[str, Any]


class Turn(TypedDict, total=False):
    """One turn of a conversation, told apart by namespace, session and name."""

    session: Required[str]
    turn: Required[str]
    namespace: str
    conversation: str
    when: Moment
    where: str
    agent: str
    origin: Origin
    affect: str | dict[str, Any]
    tags: list[str]
    importance: float
    input: str | Part
    contemplation: str | Part
    output: str | Part


class StoredTurn(TypedDict):
    """What became of a captured turn, and its memories by role."""

    turn: str
    state: Literal["stored", "completed", "unchanged", "conflict"]
    ids: dict[Role, int]
    conflicts: NotRequired[list[Role]]
    forgotten: NotRequired[list[Role]]


class Asked(TypedDict, total=False):
    """What a query may ask besides its text."""

    k: int
    mode: Literal["hybrid", "meaning", "words"]
    who: str
    where: str
    layer: Layer
    namespace: str
    agent: str
    origin: str | list[str]
    tags: list[str]
    after: Moment
    before: Moment
    as_of: Moment
    time_zone: str
    context: bool
    budget: int
    explain: bool
    fleet: bool
    strictness: float
    goal: int | bool


class KnownBackup(TypedDict):
    """A backup that may still hold what was purged; one whose user is bound has no path."""

    path: NotRequired[str]
    made: int | None
    sequence: NotRequired[int | None]
    last_memory: int | None
    last_source: int | None


class Receipt(TypedDict):
    """What a `forget` did."""

    forgotten: list[int]
    missing: list[int]
    purged: bool
    dry_run: bool
    forgotten_before: list[int]
    removed: dict[str, int]
    unfinished: dict[str, str]
    backups: list[KnownBackup]
    strangers: list[str]
    count: int


class NewDocument(TypedDict, total=False):
    """A document to be put; one whose value is None goes."""

    key: Required[str]
    value: Required[dict[str, Any] | None]
    namespace: str
    text: str
    who: str
    tags: list[str]
    importance: float
    origin: Origin
    agent: str


class Document(TypedDict):
    """A keyed document; times are epoch milliseconds."""

    id: int
    namespace: str
    key: str
    value: dict[str, Any]
    created: int | None
    updated: int | None
    score: float | None


class Sought(TypedDict, total=False):
    """Which documents: `keys` of a `namespace`, or those of a `tree` of namespaces."""

    namespace: str
    keys: list[str]
    tree: str
    filter: dict[str, Any]
    query: str
    limit: int
    offset: int
