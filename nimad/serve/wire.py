"""Memories as JSON and back: the one place that knows what a memory looks like on the wire."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, tzinfo
from operator import attrgetter
from typing import Any

from nimad import checks, times
from nimad.core.capture import CapturedTurn, StoredTurn
from nimad.errors import UsageError
from nimad.model import (
    DATES,
    DEFAULT_NAMESPACE,
    FIELDS,
    MAX_KEPT,
    MAX_TIME,
    MIN_TIME,
    TURN_ROLES,
    Answer,
    CutMemory,
    DamagedMemory,
    Hit,
    Memory,
)
from nimad.serve import params
from nimad.serve.params import Param
from nimad.serve.protocol import shown
from nimad.store.goals import OPEN, STATES, Goal
from nimad.store.relations import RelatedMemory

MOMENTS = tuple(name for name, field in FIELDS.items() if field.kind == "moment")
_SHOWN = ("id", *(name for name in FIELDS if name != "blobs"))
_shown_of = attrgetter(*_SHOWN)


def _source(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != {"name", "id"}:
        raise ValueError('must be {"name", "id"}')
    return value


def _blobs(value: Any) -> dict[str, bytes]:
    if not isinstance(value, dict) or not all(isinstance(v, str | bytes) for v in value.values()):
        raise ValueError("must hold base64 texts")
    try:
        return {
            name: data if isinstance(data, bytes) else base64.b64decode(data, validate=True)
            for name, data in value.items()
        }
    except (binascii.Error, ValueError):
        raise ValueError("must hold base64 texts") from None


_CONVERTED: dict[str, checks.Check] = {
    "tags": lambda value: tuple(value) if isinstance(value, list) else value,
    "source": _source,
    "blobs": _blobs,
}
"""By kind of field, how its JSON becomes the value of a Memory; other kinds are what they are."""

MOST_COPIES = 100
"""Number of ids of copies that a result names [ids]."""

IMPORT = {
    name: Param(_CONVERTED.get(field.kind, params.unchanged), None)
    for name, field in FIELDS.items()
} | {
    "text": Param(params.unchanged),
    "id": Param(checks.integer(1, 2**63 - 1), None),
    "damaged": Param(bool, None),
}
"""What a line of `import` takes: everything that `export` writes.  The store checks the values."""
_UNCHANGED = frozenset(name for name, param in IMPORT.items() if param.check is params.unchanged)

_MOMENT = checks.integer(MIN_TIME, MAX_TIME - 1)
GOAL = {
    "priority": Param(checks.number(0, 1)),
    "since": Param(_MOMENT),
    "due": Param(_MOMENT, None),
    "state": Param(checks.choice(*STATES), OPEN),
    "closed": Param(_MOMENT, None),
}
"""What a line of `import` tells of a goal."""

REMEMBER = {name: IMPORT[name] for name, field in FIELDS.items() if not field.kept} | {
    "text": Param(params.not_blank)
}
"""What `remember` takes: a memory's fields that a user sets; no timestamp means now."""


_OF_TURN = ("namespace", "conversation", "session", "turn", "affect")
"""Fields that all memories of a turn share."""
_OF_PART = ("where", "timestamp", "importance", "tags", "origin", "agent")
"""Fields that a turn may give for all of its memories, or each for itself."""
_CAPTURED = {("when" if name == "timestamp" else name): param for name, param in REMEMBER.items()}
"""A memory's fields as `capture` takes them."""

PART = {n: param for n, param in _CAPTURED.items() if n not in (*_OF_TURN, "layer")}
TURN = {
    **{n: param for n, param in _CAPTURED.items() if n in (*_OF_TURN, *_OF_PART, "when")},
    "session": Param(checks.text(MAX_KEPT)),
    "turn": Param(checks.text(MAX_KEPT)),
    "affect": Param(params.unchanged, None),
    **{role: Param(params.unchanged, None) for role in TURN_ROLES},
}
"""What a turn of `capture` takes, and each of its three parts."""


def captured(fields: Any, zone: tzinfo, home: str = DEFAULT_NAMESPACE) -> CapturedTurn:
    """The turn of a `capture`; UsageError names the field that is wrong.  `home` is the namespace
    of one that names none."""
    if not isinstance(fields, dict):
        raise UsageError(detail="a turn must be an object")
    given = {n: v for n, v in params.read("a turn", TURN, fields).items() if v is not None}
    parts = {role: given.pop(role) for role in TURN_ROLES if role in given}
    if not parts:
        raise UsageError(detail=f"a turn needs one of {', '.join(TURN_ROLES)}")
    if isinstance(given.get("affect"), dict):
        given["affect"] = json.dumps(given["affect"], ensure_ascii=False)
    given.setdefault("namespace", home)
    memories = {}
    for role, part in parts.items():
        part = {"text": part} if isinstance(part, str) else part
        if not isinstance(part, dict):
            raise UsageError(detail=f"{role} must be a text, or an object with a text")
        own = {n: v for n, v in params.read(role, PART, part).items() if v is not None}
        told = {**given, **own, "layer": role}
        if "when" in told:
            told["timestamp"] = told.pop("when")
        memories[role] = _memory(role, told, zone, Counter())
    one = next(iter(memories.values()))
    return CapturedTurn(given["turn"], one.namespace, given["session"], memories, one.affect)


def remembered(fields: Mapping[str, Any], home: str = DEFAULT_NAMESPACE) -> Memory:
    """The memory of the checked parameters of `remember`; `home` is the namespace of one that
    names none."""
    given = {name: value for name, value in fields.items() if value is not None}
    given.setdefault("namespace", home)
    zone = given.pop("time_zone", None) or times.local_zone()
    return _memory("remember", given, zone, Counter())


def imported(
    fields: Any, namespace: str, zone: tzinfo = UTC, notes: Counter[str] | None = None
) -> Memory:
    """The memory of an imported line; UsageError names the field that is wrong.

    The old `id` is not kept, because ids are never reused; a `source`, which means nothing in
    another store, is kept in `extra`, as is `damaged`.  `namespace` is for lines that name none,
    and a line that tells no origin is "imported".  A time that is null stays undated, one without a
    zone is of `zone`.  `notes` counts how times were read.
    """
    if not isinstance(fields, dict):
        raise UsageError(detail="a memory must be an object")
    if fields.keys() <= _UNCHANGED:  # nearly always
        given = {name: value for name, value in fields.items() if value is not None}
    else:
        given = params.read_given("a memory", IMPORT, fields)
    if "text" not in given:
        raise UsageError(detail="a memory needs text")
    for name in MOMENTS:
        if name in fields:
            given.setdefault(name)
    given.pop("id", None)
    if "origin" not in fields:
        given["origin"] = "imported"
    given.setdefault("namespace", namespace)
    told: dict[str, Any] = {}
    if "source" in given or "damaged" in given:
        told = {n: given.pop(n) for n in ("source", "damaged") if n in given}
    memory = _memory("a memory", given, zone, Counter() if notes is None else notes)
    if told and isinstance(memory.extra or {}, dict):
        memory.extra = {**told, **(memory.extra or {})}
    return memory


def imported_goal(fields: Any) -> Goal | None:
    """What an imported line tells of a goal, which is taken out of it; None where it is none.  Its
    memory is still to be set.  UsageError names the field that is wrong."""
    given = fields.pop("goal", None) if isinstance(fields, dict) else None
    if given is None:
        return None
    if not isinstance(given, dict):
        raise UsageError(detail="a memory: goal must be an object")
    return Goal(0, **params.read("goal", GOAL, given))


def goal_json(goal: Goal) -> dict[str, Any]:
    """What `export` tells of a goal: all but ids, which mean nothing in another store."""
    return {name: getattr(goal, name) for name in GOAL}


def _memory(verb: str, given: dict[str, Any], zone: tzinfo, notes: Counter[str]) -> Memory:
    """A memory of fields whose times are still to be read; one without a zone is kept as it was
    written."""
    kept: dict[str, Any] = {}
    for name in MOMENTS:
        if name not in given:
            continue
        value = given[name]
        if times.is_usual(value):
            continue
        try:
            given[name], note = times.read(value, zone)
        except ValueError as error:
            raise UsageError(detail=f"{verb}: {name} {error}, not {shown(value)}") from None
        if note:
            notes[note] += 1
        if note == times.NO_ZONE:
            kept[name] = value
    memory = Memory(**given)
    if kept and isinstance(memory.extra or {}, dict):
        memory.extra = {**kept, **(memory.extra or {})}
    return memory


def stored_turn_json(turn: StoredTurn) -> dict[str, Any]:
    """What became of a captured turn."""
    found: dict[str, Any] = {"turn": turn.turn, "state": turn.state, "ids": turn.ids}
    more = {"conflicts": turn.conflicts, "forgotten": turn.forgotten}
    return {**found, **{name: roles for name, roles in more.items() if roles}}


def exported(memory: Memory) -> dict[str, Any]:
    """A memory as a line of an export: blobs included, times in a form that import reads alike."""
    times_of = {name: times.portable(getattr(memory, name)) for name in MOMENTS}
    return {**memory_json(memory, blobs=True), **times_of}


_UNSHARED = ("namespace", "source", "blobs", "access_count", "last_accessed")
"""Fields of a memory that mean something on its own board only."""


def shared(memory: Memory) -> dict[str, Any]:
    """A memory as a fleet has it: the fields that it has, times as import reads them alike."""
    times_of = {name: times.portable(getattr(memory, name)) for name in DATES}
    found = {n: v for n, v in memory_json(memory).items() if v is not None and n not in _UNSHARED}
    found.pop("id")
    if not memory.tags:
        found.pop("tags")
    return {**found, "origin": memory.origin, **times_of}


def taken(fields: Any, namespace: str) -> Memory:
    """The memory of what a fleet has of it; UsageError names the field that is wrong."""
    if isinstance(fields, dict) and (strange := [n for n in _UNSHARED if n in fields]):
        raise UsageError(detail=f"a memory: {strange[0]} is not shared")
    return imported(fields, namespace)


def memory_json(memory: Memory, *, blobs: bool = False) -> dict[str, Any]:
    """A memory as docs/protocol.md has it; `blobs` adds its binary columns when there are any."""
    found: dict[str, Any] = dict(zip(_SHOWN, _shown_of(memory), strict=True))
    found["tags"] = list(memory.tags)
    if memory.source is not None:
        found["source"] = {"name": memory.source[0], "id": memory.source[1]}
    if isinstance(memory, CutMemory):
        found["cut"] = True
    if isinstance(memory, DamagedMemory):
        found["damaged"] = True
    if blobs and memory.blobs:
        found["blobs"] = {n: base64.b64encode(b).decode() for n, b in memory.blobs.items()}
    return found


def hit_json(hit: Hit, *, explain: bool = False) -> dict[str, Any]:
    """A query's result: the memory and its score, with the score's parts when asked for."""
    found = memory_json(hit.memory)
    found["score"] = hit.score
    if hit.copies:
        found |= {"copies": len(hit.copies) + 1, "copy_ids": hit.copies[:MOST_COPIES]}
    if explain:
        found["parts"] = hit.parts
    return found


def answer_json(answer: Answer, results: list[dict[str, Any]]) -> dict[str, Any]:
    """The reply of a query, with its results as they are shown."""
    return {
        "results": results,
        "took_ms": round(answer.took_ms, 3),
        "degraded": list(answer.degraded),
    }


def related_json(related: RelatedMemory) -> dict[str, Any]:
    """A memory that the graph reached, and how."""
    return {
        **memory_json(related.memory),
        "relation": related.relation,
        "direction": related.direction,
        "weight": related.weight,
        "distance": related.distance,
    }
