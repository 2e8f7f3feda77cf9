"""The verbs that nimad-sync calls: what goes out to the fleet's hub, and what comes in."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from nimad import checks
from nimad.core.fleet import Fleet, Origin, Taking
from nimad.core.store import MemoryStore
from nimad.errors import UsageError
from nimad.limits import MAX_PAYLOAD
from nimad.model import LATEST_NOW, MAX_NAME
from nimad.serve import params, protocol, wire
from nimad.serve.params import Param
from nimad.serve.verbs import Call, Verb
from nimad.store.fleet import Departure, Key, Shared, SharedGoal, SharedMemory, SharedRelation
from nimad.store.stamps import LATEST
from nimad.text import tokens

KINDS = ("memories", "relations", "goals", "tombstones")
"""What is shared, in the order in which it is taken: relations need their memories."""
MOST_TERMS = 5000
"""Number of words of one memory that the hub finds it by [words]."""
MOST_ROWS = 500
"""Number of rows of one batch [rows]."""
_NUMBER = checks.integer(0, 2**63 - 1)
_SPACE = Param(checks.text(MAX_NAME))


def _store(value: Any) -> str:
    try:
        from uuid import UUID

        return UUID(checks.text(36)(value)).hex
    except ValueError:
        raise ValueError("must be a UUID") from None


def _key(value: Any) -> Key:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("must be a UUID and an id")
    return _store(value[0]), checks.integer(1, 2**63 - 1)(value[1])


def _names(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MOST_ROWS:
        raise ValueError("must hold names of boards")
    return {_store(store): checks.text(100)(name) for store, name in value.items()}


CHANGES = {
    "kind": Param(checks.choice(*KINDS, "vectors")),
    "namespace": _SPACE,
    "after": Param(_NUMBER, 0),
    "limit": Param(checks.integer(1, MOST_ROWS), MOST_ROWS),
    "below": Param(_NUMBER, 2**63 - 1),
    "now": Param(checks.integer(0, LATEST_NOW), 0),
}
APPLY = {
    "kind": Param(checks.choice(*KINDS)),
    "namespace": _SPACE,
    "writer": Param(_store),
    "upto": Param(_NUMBER),
    "names": Param(_names, {}),
    "entries": Param(params.many(0, MOST_ROWS, "rows")),
}
CONFIRM = {"epoch": Param(checks.text(100), None), "told": Param(params.unchanged, None)}

_STAMP = checks.integer(0, LATEST)
_ENTRY = {"key": Param(_key)}
ENTRIES: dict[str, params.Spec] = {
    "memories": {**_ENTRY, "body": Param(params.unchanged), "stamp": Param(_STAMP, 0)},
    "relations": {
        **_ENTRY,
        "origin": Param(_key),
        "target": Param(_key),
        "relation": Param(checks.text(MAX_NAME)),
        "weight": Param(checks.number(-1e300, 1e300), None),
    },
    "goals": {
        **_ENTRY,
        "goal": Param(lambda value: params.read("goal", wire.GOAL, value)),
        "by": Param(_key, None),
        "stamp": Param(_STAMP),
    },
    "tombstones": {**_ENTRY, "purge": Param(checks.flag)},
}
"""What a row of each kind holds."""
_MADE: dict[str, Callable[..., Any]] = {
    "relations": SharedRelation,
    "goals": SharedGoal,
    "tombstones": Departure,
}


class FleetVerbs:
    """Answers nimad-sync from one store."""

    def __init__(self, store: MemoryStore, fleet: Fleet) -> None:
        self._store, self._fleet = store, fleet

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        return [
            Verb("fleet.state", "control", self.state, {}, watching=True, bounded=True),
            Verb("fleet.changes", "control", self.changes, CHANGES, watching=True, bounded=True),
            Verb("fleet.apply", "control", self.apply, APPLY, bounded=True),
            Verb("fleet.confirm", "control", self.confirm, CONFIRM, watching=True, bounded=True),
        ]

    def state(self, call: Call) -> dict[str, Any]:
        """Who this board is, what it shares, how far it has read each stream of the hub."""
        within = call.within
        shared = {n: d for n, d in self._fleet.directions.items() if within is None or n in within}
        embedder = self._store.embedder
        return {
            "store": self._fleet.identity.store,
            "stores": [store for store, _ in self._fleet.identity.parts],
            "namespaces": shared,
            "cursors": [row for row in self._fleet.cursors() if row[0] in shared],
            "embedder": {
                "name": embedder.name,
                "revision": embedder.revision,
                "dims": embedder.dims,
            },
            "uid": os.geteuid(),
            "purging": self._store.purge.unfinished() is not None,
            "mark": self._fleet.mark(),
        }

    def changes(self, call: Call) -> dict[str, Any]:
        """Rows of one kind that came after a number, and the number to go on from."""
        given = call.params
        call.check_namespace(given["namespace"])
        shared = self._fleet.shared(given["namespace"], given["now"])
        found = self._found(shared, given)
        room, after = MAX_PAYLOAD // 2, given["after"]
        entries: list[dict[str, Any]] = []
        for number, entry in found:
            size = protocol.size_of(entry)
            if size <= MAX_PAYLOAD // 2:  # a larger one stays here: see docs/fleet.md
                if (room := room - size) < 0 and entries:
                    break
                entries.append(entry)
            after = number
        more = len(found) == given["limit"] or (bool(found) and after < found[-1][0])
        return {"entries": entries, "next": after, "more": more}

    def _found(self, shared: Shared, given: dict[str, Any]) -> Sequence[tuple[int, dict[str, Any]]]:
        kind, after, limit = given["kind"], given["after"], given["limit"]
        if kind == "relations":
            return [(n, r._asdict()) for n, r in shared.relations(after, limit, given["below"])]
        if kind == "goals":
            return [(n, goal._asdict()) for n, goal in shared.goals(after, limit, given["below"])]
        if kind == "tombstones":
            return [(n, gone._asdict()) for n, gone in shared.departures(after, limit)]
        found = shared.memories(after, limit, self._store.clock.boot)
        if kind == "memories":
            return [
                (
                    n,
                    {
                        "key": e.key,
                        "body": wire.shared(e.memory),
                        "stamp": e.stamp,
                        "terms": terms_of(e.memory.text),
                    },
                )
                for n, e in found
            ]
        _, rows = self._store.semantic.encode([each.memory.text for _, each in found])
        if rows is None:  # the embedder is away: later
            return []
        packed = rows.astype(">f2")
        return [
            (n, {"key": each.key, "vector": base64.b64encode(row.tobytes()).decode()})
            for (n, each), row in zip(found, packed, strict=True)
        ]

    def apply(self, call: Call) -> dict[str, Any]:
        """Take rows of one stream of the hub: all that are sound, and note how far it was read."""
        given = call.params
        call.check_namespace(given["namespace"])
        kind, taking = given["kind"], Taking()
        origin = Origin(given["namespace"], given["writer"], given["upto"], given["names"])
        sound = []
        for entry in given["entries"]:
            try:
                row = params.read(
                    "an entry", ENTRIES[kind], entry if isinstance(entry, dict) else {}
                )
                if kind == "memories":
                    memory = wire.taken(row["body"], origin.namespace)
                    sound.append(SharedMemory(row["key"], memory, row["stamp"]))
                else:
                    sound.append(_MADE[kind](**row))
            except UsageError as error:
                taking.refused.append(("", 0, error.message))
        take: dict[str, Callable[..., Taking]] = {
            "memories": self._fleet.take_memories,
            "relations": self._fleet.take_relations,
            "goals": self._fleet.take_goals,
            "tombstones": self._fleet.take_departures,
        }
        made = take[kind](origin, sound)
        made.refused += taking.refused
        return asdict(made)

    def confirm(self, call: Call) -> dict[str, Any]:
        """What nimad-sync tells: the hub's epoch before it reads; how it went, for `status`."""
        if call.params["epoch"] is not None:
            self._fleet.forget_cursors(call.params["epoch"])
        if isinstance(call.params["told"], dict):
            self._fleet.heard = (time.monotonic(), call.params["told"])
        return {}


def terms_of(text: str) -> list[str]:
    """The words that the hub finds a text by; tsvector takes none of 2 KB."""
    return [word for word in dict.fromkeys(tokens(text)) if len(word) < 500][:MOST_TERMS]
