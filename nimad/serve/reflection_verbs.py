"""The verbs about what memories say together: narrative, person, connect, step, dream, goals.

What they need is imported when they are asked: a daemon at rest has none of it in memory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nimad import checks, times, when
from nimad.core.store import MemoryStore
from nimad.embed.tokens import TokenCounter
from nimad.errors import UsageError
from nimad.limits import MAX_BUDGET
from nimad.model import MAX_KEPT, MAX_NAME, ORIGINS, Memory, now_ms
from nimad.namespaces import Namespaces
from nimad.serve import params, wire
from nimad.serve.oversize import cut_to_fit
from nimad.serve.params import Param
from nimad.serve.protocol import shown
from nimad.serve.query_verb import SCOPE, filter_of
from nimad.serve.verbs import Call, Verb
from nimad.store import suggestions
from nimad.store.bounded import get_within
from nimad.store.goals import OPEN, STATES, Goal
from nimad.text import common_form

BUDGET = 600
"""Tokens of a narrative where no budget is given [tokens]."""
MOST_PAIRS = 100
"""Number of pairs in one reply [pairs]."""
MOST_SHOWN = 300
"""Length of a memory's text beside a pair [characters]."""
_NAME = Param(checks.text(MAX_NAME), None)
_ID = Param(checks.integer(1, 2**63 - 1))
_DATE = Param(params.date, None)
_ZONE = Param(params.zone, None)
NARRATIVE = {
    "day": _DATE,
    "who": Param(checks.text(MAX_KEPT), None),
    "since": _DATE,
    **SCOPE,
    "budget": Param(checks.integer(1, MAX_BUDGET), BUDGET),
    "time_zone": _ZONE,
}
GOAL = {
    "text": Param(params.not_blank),
    "priority": Param(checks.number(0, 1), None),
    "due": _DATE,
    "who": Param(checks.text(MAX_KEPT), None),
    "namespace": _NAME,
    "agent": _NAME,
    "origin": Param(checks.choice(*ORIGINS), None),
    "time_zone": _ZONE,
}


CONNECT = {"id": _ID, "other": _ID, "time_zone": _ZONE}
AFFECTS = ("SEEKING", "RAGE", "FEAR", "LUST", "CARE", "PANIC", "PLAY")
STEP = {
    "n": Param(checks.integer(1, 50), 1),
    "affect": Param(params.many(0, len(AFFECTS), "affects", checks.choice(*AFFECTS)), []),
    "dry_run": Param(checks.flag, False),
    "namespace": _NAME,
}


DREAM = {
    "seconds": Param(checks.number(0, 3600), 10),
    "dry_run": Param(checks.flag, False),
}
SUGGESTIONS = {"k": Param(checks.integer(1, 100), 20), "namespace": _NAME}


class ReflectionVerbs:
    """Answers from one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._tokens = TokenCounter(store.embedder)

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        person = {"name": Param(checks.text(MAX_KEPT)), **SCOPE, "time_zone": _ZONE}
        listed = {"state": Param(checks.choice(*STATES, "all"), OPEN), "namespace": _NAME}
        done = {"id": _ID, "by": Param(_ID.check, None)}
        return [
            Verb("narrative", "read", self.narrative, NARRATIVE, bounded=True),
            Verb("goal.add", "control", self.add_goal, GOAL, bounded=True),
            Verb("person", "read", self.person, person, bounded=True),
            Verb("connect", "read", self.connect, CONNECT, bounded=True),
            Verb("dream", "control", self.dream, DREAM),
            Verb("dream.list", "read", self.suggestions, SUGGESTIONS, bounded=True),
            Verb("dream.accept", "control", self.accept, {"id": _ID}, bounded=True),
            Verb("dream.reject", "control", self.reject, {"id": _ID}, bounded=True),
            Verb("step", "control", self.step, STEP, shorten=cut_to_fit, bounded=True),
            Verb("goal.list", "read", self.goals, listed, shorten=cut_to_fit, bounded=True),
            Verb("goal.show", "read", self.goal, {"id": _ID}, shorten=cut_to_fit, bounded=True),
            Verb("goal.done", "control", self.goal_done, done, bounded=True),
        ]

    def narrative(self, call: Call) -> dict[str, Any]:
        """What the memories of a day, of a person, since a date, or all of them tell."""
        from nimad.reflection import lines
        from nimad.reflection.narrative import narrate

        began = time.perf_counter()
        given = call.params
        zone = given["time_zone"] or times.local_zone()
        where = filter_of(call, who=given["who"])
        if given["day"] is not None and given["since"] is not None:
            raise UsageError(detail="narrative takes either day or since")
        now = now_ms()
        if given["day"] is not None:
            span = params.span("narrative", "day", given["day"], now, zone)
            if span.end - span.first <= 1:  # of a moment the whole day, from midnight to midnight
                span = when.read(lines.day(span.first, zone), span.first, zone)
            where = replace(where, after=span.first, before=span.end)
        if given["since"] is not None:
            span = params.span("narrative", "since", given["since"], now, zone)
            where = replace(where, after=span.first)
        with self._store.query_priority:
            told = narrate(self._store, where, zone, given["budget"], self._tokens.count)
        return {
            "lines": [line.as_json() for line in told.lines],
            "memories": told.memories,
            "looked": told.looked,
            "tokens": told.tokens,
            **self._took(began),
        }

    def _took(self, began: float) -> dict[str, Any]:
        """What ends a reply: the time that it took, and the parts that could not help."""
        took = round((time.perf_counter() - began) * 1000, 3)
        return {"took_ms": took, "degraded": sorted(self._store.degraded())}

    def person(self, call: Call) -> dict[str, Any]:
        """What is known of a person, from their own memories."""
        from nimad.reflection.person import describe

        began = time.perf_counter()
        given = call.params
        zone = given["time_zone"] or times.local_zone()
        with self._store.query_priority:
            found = describe(self._store, given["name"], filter_of(call), zone)
        return {"lines": [line.as_json() for line in found], **self._took(began)}

    def connect(self, call: Call) -> dict[str, Any]:
        """What connects two memories."""
        from nimad.reflection.connection import connect

        began = time.perf_counter()
        given = call.params
        zone = given["time_zone"] or times.local_zone()
        found, cosine = connect(self._store, given["id"], given["other"], zone, call.within)
        lines = [line.as_json() for line in found]
        return {"lines": lines, "cosine": cosine, **self._took(began)}

    def _narrowed(self, call: Call) -> Namespaces | None:
        """What the peer is bound to, or of that only the namespaces of one name, however it is
        spelled."""
        if (name := call.params["namespace"]) is None:
            return call.within
        sql, within = "SELECT name FROM names WHERE folded = ?", call.within
        found = [each for (each,) in self._store.records.rows(sql, (common_form(name),))]
        return Namespaces(tuple(each for each in found if within is None or each in within))

    def step(self, call: Call) -> dict[str, Any]:
        """The memories that deserve attention now; which they were is kept, as ids."""
        from nimad.reflection.affects import Affects
        from nimad.reflection.attention import attend

        began = time.perf_counter()
        given = call.params
        mask = sum(Affects[name] for name in set(given["affect"]))
        with self._store.query_priority:
            within = self._narrowed(call)
            won = attend(self._store, given["n"], mask, within, keep=not given["dry_run"])
        entries = [
            {**wire.memory_json(each.memory), "score": each.score, "parts": each.parts}
            for each in won
        ]
        return {"results": entries, **self._took(began)}

    # --- suggestions --------------------------------------------------------------------------

    def dream(self, call: Call) -> dict[str, Any]:
        """Look for pairs that should be one, or be linked; they are suggested, no more."""
        from nimad.reflection.dream import dream

        began = time.perf_counter()
        keep = not call.params["dry_run"]
        dreamer, left = dream(self._store, call.params["seconds"], keep=keep)
        found = [] if keep else [(0, *pair) for pair in dreamer.found]
        return {
            "looked": dreamer.looked,
            "left": left,
            "new": dreamer.new,
            "results": self._pairs(found),
            **self._took(began),
        }

    def suggestions(self, call: Call) -> dict[str, Any]:
        """What dreams suggest, the nearest pairs first."""
        within = self._narrowed(call)
        found = suggestions.waiting(self._store.records, call.params["k"], within)
        return {"results": self._pairs([each[:5] for each in found])}

    def accept(self, call: Call) -> dict[str, Any]:
        """Do what a suggestion asks for."""
        from nimad.reflection.dream import RELATIONS, accept

        found = accept(self._store, call.params["id"], call.within)
        relation = RELATIONS.get(found.kind)
        gone = [] if relation else [found.second]
        return {**_pair_json(found[:5]), "forgotten": gone, "relation": relation}

    def reject(self, call: Call) -> dict[str, Any]:
        """Never suggest a pair again."""
        from nimad.reflection.dream import reject

        return _pair_json(reject(self._store, call.params["id"], call.within)[:5])

    def _pairs(self, found: Sequence[tuple[int, str, int, int, float]]) -> list[dict[str, Any]]:
        """Pairs with the beginning of what their memories say."""
        shown = found[:MOST_PAIRS]
        memories = get_within(self._store.records, [n for pair in shown for n in pair[2:4]])
        return [
            {
                **_pair_json(pair),
                "memories": [
                    {"id": n, "who": memories[n].who, "text": memories[n].text[:MOST_SHOWN]}
                    for n in pair[2:4]
                ],
            }
            for pair in shown
            if pair[2] in memories and pair[3] in memories
        ]

    # --- goals --------------------------------------------------------------------------------

    def add_goal(self, call: Call) -> dict[str, Any]:
        """Remember a goal; it is durable when the reply leaves."""
        from nimad.reflection import goals

        given = call.params
        zone = given["time_zone"] or times.local_zone()
        due, now = given["due"], now_ms()
        if due is not None:
            due = params.span("goal.add", "due", due, now, zone).last
            if due < now and isinstance(given["due"], str):  # "Friday" and "7d" are in the past
                said = f"{shown(given['due'])} is {times.iso(due)}"
                raise UsageError(
                    detail=f"goal.add: due must lie ahead, and {said}: give a date, or tomorrow."
                )
        same = {name: given[name] for name in ("text", "who", "agent", "origin")}
        memory = Memory(**same, namespace=given["namespace"] or call.home)
        call.check_namespace(memory.namespace)
        priority = goals.PRIORITY if given["priority"] is None else given["priority"]
        return {"id": goals.add(self._store, memory, priority, due)}

    def goals(self, call: Call) -> dict[str, Any]:
        """Goals, the weightiest first."""
        from nimad.reflection import goals

        state = call.params["state"]
        within = self._narrowed(call)
        found = goals.listed(self._store, None if state == "all" else state, within)
        return {"results": [_goal_json(goal, memory) for goal, memory in found]}

    def goal(self, call: Call) -> dict[str, Any]:
        """One goal, and what was remembered since that is near to it."""
        from nimad.reflection import goals

        goal, memory = goals.find(self._store, call.params["id"], call.within)
        near = goals.progress(self._store, goal, memory, call.within)
        return {"memory": _goal_json(goal, memory), "results": [wire.hit_json(hit) for hit in near]}

    def goal_done(self, call: Call) -> dict[str, Any]:
        """A goal is reached."""
        from nimad.reflection import goals

        goals.done(self._store, call.params["id"], call.params["by"], call.within)
        goal, memory = goals.find(self._store, call.params["id"], call.within)
        return {"memory": _goal_json(goal, memory)}


def _pair_json(pair: tuple[int, str, int, int, float]) -> dict[str, Any]:
    return dict(zip(("id", "kind", "first", "second", "score"), pair, strict=True))


def _goal_json(goal: Goal, memory: Memory) -> dict[str, Any]:
    told = {name: value for name, value in goal._asdict().items() if name != "memory"}
    return {**wire.memory_json(memory), **told}
