"""The verb query: filters, dates, passages around the hits, a budget of tokens."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from nimad import checks, times
from nimad.core.store import MemoryStore
from nimad.core.validate import check_memory
from nimad.embed.tokens import TokenCounter
from nimad.errors import HubUnusable
from nimad.limits import MAX_BUDGET, MAX_RESULTS
from nimad.model import (
    LAYERS,
    MAX_KEPT,
    MAX_NAME,
    MAX_TAGS,
    MAX_TEXT,
    ORIGINS,
    TURN_ROLES,
    UNKNOWN,
    Answer,
    Filter,
    Memory,
    now_ms,
)
from nimad.namespaces import Namespaces
from nimad.recall import context, packing
from nimad.recall.packing import Packed
from nimad.recall.query_context import Stopwatch
from nimad.recall.ranking import MODES
from nimad.serve import params, wire
from nimad.serve.fleet_query import FleetQuery
from nimad.serve.fleet_verbs import ENTRIES
from nimad.serve.oversize import cut_to_fit
from nimad.serve.params import Param
from nimad.serve.verbs import Call, Verb
from nimad.store.fleet import Key

PACKED = 100
"""Number of results tried for a budget when no number is given [memories]."""
SPARE = 3
"""Factor of results looked at with context, because some share a passage."""

TRUSTED = tuple(origin for origin in (*ORIGINS, UNKNOWN) if origin != "untrusted")
"""Origins that a prompt is given, unless others are asked for."""
CLOCK_BEHIND = (
    "the clock is not set, or behind the memories: what is newer than the moment that as_of names"
    " was not looked at"
)
"""What a reply says of a question about a moment that may be another one."""
_NAME = Param(checks.text(MAX_NAME), None)
SCOPE = {"namespace": _NAME, "agent": _NAME, "origin": Param(params.origins, None)}
"""What narrows down the memories that a verb tells of; see `filter_of`."""
QUERY = {
    "text": Param(checks.text(MAX_TEXT)),
    "k": Param(checks.integer(1, MAX_RESULTS), None),
    "mode": Param(checks.choice(*MODES), "hybrid"),
    "who": Param(checks.text(MAX_KEPT), None),
    "where": Param(checks.text(MAX_KEPT), None),
    "layer": Param(checks.choice(*LAYERS), None),
    "namespace": _NAME,
    "agent": _NAME,
    "origin": Param(params.origins, None),
    "tags": Param(params.many(0, MAX_TAGS, "texts", checks.text(MAX_NAME)), ()),
    "after": Param(params.date, None),
    "before": Param(params.date, None),
    "as_of": Param(params.date, None),
    "time_zone": Param(params.zone, None),
    "context": Param(checks.flag, False),
    "strictness": Param(checks.number(0, 1), None),
    "goal": Param(params.goal, None),
    "budget": Param(checks.integer(1, MAX_BUDGET), None),
    "explain": Param(checks.flag, False),
    "fleet": Param(checks.flag, False),
}


class QueryVerb:
    """Answers from one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._tokens = TokenCounter(store.embedder)

    def all(self) -> list[Verb]:
        """The verb of this file."""
        return [Verb("query", "read", self.query, QUERY, shorten=cut_to_fit, bounded=True)]

    def query(self, call: Call) -> dict[str, Any]:
        """The memories that answer a text, best first."""
        given = call.params
        zone = given["time_zone"] or times.local_zone()
        where, as_of = question_filter(given, zone, call.within)
        k = given["k"]
        if k is None:
            k = PACKED if given["budget"] else self._store.config["recall.results"]
        looked = min(MAX_RESULTS, k * SPARE) if given["context"] else k
        watch = Stopwatch(self._store.config["recall.seconds"])
        strictness = given["strictness"]
        if strictness is None:
            strictness = self._store.config["recall.strictness"]
        rank = None
        if given["goal"] is not None and given["goal"] is not False:
            from nimad.reflection import goals

            rank = goals.ranking(self._store, given["goal"], looked, call.within)
            looked = max(looked, goals.LOOKED)
        asked = (given["mode"], where, as_of, watch, zone, strictness)
        answer = self._store.query(given["text"], looked, *asked, rank)
        fleet = self._ask_fleet(answer, given["text"], where, k) if given["fleet"] else None
        if given["context"] or given["budget"]:
            passages = context.alone(answer.hits)
            if given["context"]:
                passages = self._store.recall.passages(answer.hits, k, as_of, where)
            packed = packing.unpacked(passages)
            if budget := given["budget"]:
                packed = packing.pack(passages, budget, self._tokens.count)
            reply = wire.answer_json(answer, [_passage(one, given) for one in packed])
            if budget:
                reply |= {"budget": budget, "tokens": sum(one.tokens for one in packed)}
        else:
            shown = [wire.hit_json(hit, explain=given["explain"]) for hit in answer.hits]
            reply = wire.answer_json(answer, shown)
        if fleet is not None:
            reply["fleet"] = fleet
            for one in reply["results"]:  # what is only there has no id here
                one["id"] = one["id"] or None
        if as_of is not None and not self._store.clock.is_set():
            reply["notes"] = [CLOCK_BEHIND]
        if given["explain"]:
            reply["timings"] = answer.timings
            found = self._store.recall.evidence(given["text"], *asked)
            reply["evidence"] = found and {
                "met": found.met,
                "least": found.least,
                "strange": found.unknown_name,
                "parts": dict(found.parts),
            }
        return reply

    def _ask_fleet(self, answer: Answer, text: str, where: Filter, k: int) -> dict[str, Any]:
        """Add what the hub has beside this store; how many, or why there is nothing of it."""
        question = FleetQuery(self._store, text, where)
        try:
            there = question.ask(read_shared)
        except HubUnusable as error:
            return {"found": 0, "why": error.message}
        answer.hits = question.merge(answer.hits, there, k)
        return {"found": len(there)}


def read_shared(row: Any, namespace: str) -> tuple[Key, str, Memory]:
    """What the hub says of a memory; UsageError for what is none."""
    given = params.read("an entry", {**ENTRIES["memories"], "board": Param(checks.text(200))}, row)
    memory = wire.taken(given["body"], namespace)
    check_memory(memory)
    return given["key"], given["board"], memory


def question_filter(
    given: dict[str, Any], zone: tzinfo, within: Namespaces | None
) -> tuple[Filter, int | None]:
    """What a memory must have, and the moment that is now for the question (None: now).  `as_of` is
    the end of what it names; relative dates beside it count from there.  What goes into a prompt
    has nothing of an untrusted origin, unless that is asked for."""
    now = now_ms()
    as_of = None
    if given["as_of"] is not None:
        as_of = now = params.span("query", "as_of", given["as_of"], now, zone).last
    after, before = (
        None if given[name] is None else params.span("query", name, given[name], now, zone).first
        for name in ("after", "before")
    )
    if as_of is not None:
        before = min(as_of + 1, as_of + 1 if before is None else before)
    origin = given["origin"] or ()
    if given["origin"] is None and (given["context"] or given["budget"]):
        origin = TRUSTED
    same = {name: given[name] for name in ("who", "where", "layer", "namespace", "agent")}
    tags = tuple(given["tags"])
    found = Filter(**same, origin=origin, tags=tags, after=after, before=before, within=within)
    return found, as_of


def filter_of(call: Call, **more: Any) -> Filter:
    """What a memory must have that is told of, by SCOPE in the parameters and `more`; nothing
    untrusted, unless that is asked for."""
    given = call.params
    origin = TRUSTED if given["origin"] is None else given["origin"]
    same = {name: given[name] for name in ("namespace", "agent")}
    return Filter(**same, origin=origin, within=call.within, **more)


def _passage(packed: Packed, given: dict[str, Any]) -> dict[str, Any]:
    passage = packed.passage
    found = wire.hit_json(passage.hit, explain=given["explain"])
    if packed.cut is not None:
        found |= {"text": packed.cut, "cut": True}
    if given["budget"]:
        found["tokens"] = packed.tokens
    if given["context"]:
        kept = {memory.id for memory in packed.memories}
        found["context"] = {
            "turn": {role: passage.turn.get(role) for role in TURN_ROLES},
            "hits": [hit.memory.id for hit in passage.hits if hit.memory.id in kept],
            "memories": [
                {**wire.memory_json(memory), "text": packed.cut or memory.text}
                for memory in packed.memories
            ],
        }
    return found
