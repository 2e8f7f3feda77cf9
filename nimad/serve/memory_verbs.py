"""The verbs about memories, all but query: get, similar, related, export, remember, import, ..."""

from __future__ import annotations

import os
import re
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

from nimad import checks, selection, times
from nimad.core.capture import CapturedTurn
from nimad.core.purge import Receipt
from nimad.core.retention import Chosen
from nimad.core.store import MemoryStore
from nimad.core.unwritten import BULK
from nimad.disk.handed_over import check_handed_over
from nimad.errors import BadRecord, NamespaceDenied, NotFound, ReplyTooLarge, UsageError
from nimad.limits import (
    MAX_DEPTH,
    MAX_FRAME,
    MAX_IDS,
    MAX_IMPORT,
    MAX_PAYLOAD,
    MAX_RECORD_FILE,
    MAX_RESULTS,
    MAX_TURNS,
)
from nimad.model import MAX_NAME, Filter, Hit, Memory, may_see, now_ms
from nimad.namespaces import Namespaces
from nimad.serve import params, protocol, wire
from nimad.serve.oversize import Document, cut_to_fit
from nimad.serve.params import Param
from nimad.serve.verbs import Call, Verb
from nimad.store import goals, namespaces
from nimad.store.bounded import blob_part, blob_sizes, ids_above, page_within
from nimad.store.goals import Goal

PAUSE = 4
"""Factor of the time that a memory larger than a frame took, for which no other one is read."""

_NAME = Param(checks.text(MAX_NAME), None)
_ZONE = Param(params.zone, None)
_ID = checks.integer(1, 2**63 - 1)

_OFFSET = Param(checks.integer(0, 2**53), None)
GET = {"id": Param(_ID), "offset": _OFFSET, "context": Param(checks.flag, False)}
SIMILAR = {
    "id": Param(_ID),
    "k": Param(checks.integer(1, MAX_RESULTS), None),
    "dense": Param(checks.flag, False),
}
RELATED = {
    "id": Param(_ID),
    "depth": Param(checks.integer(1, MAX_DEPTH), 1),
    "limit": Param(checks.integer(1, MAX_RESULTS), 50),
}
EXPORT = {
    "after": Param(checks.integer(0, 2**63 - 1), 0),
    "limit": Param(checks.integer(1, 5000), 500),
    "namespace": _NAME,
    "agent": _NAME,
    "origin": Param(params.origins, ()),
    "offset": _OFFSET,
}


IMPORT = {
    "memories": Param(params.many(1, MAX_IMPORT, "memories"), None),
    "size": Param(checks.integer(2, MAX_RECORD_FILE), None),
    "where": Param(checks.text(MAX_NAME), None),
    "namespace": _NAME,
    "time_zone": _ZONE,
}


CAPTURE = {"turns": Param(params.many(1, MAX_TURNS, "turns")), "time_zone": _ZONE}


FORGET = {
    "ids": Param(params.many(1, MAX_IDS, "ids", _ID), []),
    "where": Param(selection.read, None),
    "time_zone": _ZONE,
    "purge": Param(checks.flag, False),
    "all_forgotten": Param(checks.flag, False),
    "dry_run": Param(checks.flag, False),
}


class MemoryVerbs:
    """Answers from one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._large = threading.Lock()

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        remember = {**wire.REMEMBER, "time_zone": _ZONE}
        return [
            Verb("get", "read", self.get, GET, shorten=cut_to_fit, bounded=True),
            Verb("similar", "read", self.similar, SIMILAR, shorten=cut_to_fit, bounded=True),
            Verb("related", "read", self.related, RELATED, shorten=cut_to_fit, bounded=True),
            Verb("export", "read", self.export, EXPORT, bounded=True),
            Verb("remember", "control", self.remember, remember, bounded=True),
            Verb("capture", "control", self.capture, CAPTURE, bounded=True),
            Verb("import", "control", self.import_, IMPORT, bounded=True),
            Verb("forget", "control", self.forget, FORGET, bounded=True),
        ]

    def get(self, call: Call) -> dict[str, Any]:
        """One memory, with `context` what is around it; or with `offset` a piece of its JSON."""
        given = call.params
        if given["offset"] is not None:
            document = self._document(given["id"], within=call.within)
            return {"piece": document.piece(given["offset"])}
        memory = self._store.get(given["id"], call.within)
        reply: dict[str, Any] = {"memory": wire.memory_json(memory)}
        if given["context"]:
            where = Filter(within=call.within)
            passages = self._store.recall.passages([Hit(memory, 0.0)], 1, where=where)
            reply["results"] = [wire.memory_json(m) for each in passages for m in each.memories]
        return reply

    def _document(
        self,
        memory_id: int,
        blobs: Mapping[str, int] | None = None,
        within: Namespaces | None = None,
    ) -> Document:
        records = self._store.records
        found = records.get([memory_id])
        if memory_id not in found or not may_see(within, found[memory_id]):
            raise NotFound(kind="memory", id=memory_id)
        memory = found[memory_id]
        shown = wire.memory_json(memory)
        if blobs is not None:
            (goal,) = goals.each_of(records, [memory])
            shown = wire.exported(memory) | ({} if goal is None else {"goal": wire.goal_json(goal)})
        return Document(
            shown,
            blobs,
            lambda name, first, size: blob_part(records, memory_id, name, first, size),
        )

    def similar(self, call: Call) -> dict[str, Any]:
        """The memories nearest in meaning to one."""
        given = call.params
        k = given["k"] or self._store.config["recall.results"]
        answer = self._store.similar(given["id"], k, call.within, dense=given["dense"])
        return wire.answer_json(answer, [wire.hit_json(hit) for hit in answer.hits])

    def related(self, call: Call) -> dict[str, Any]:
        """What relations and turns connect with a memory: the records answer, never degraded."""
        given = call.params
        found = self._store.related(given["id"], given["depth"], given["limit"], call.within)
        results = [wire.related_json(related) for related in found]
        return {"results": results, "degraded": []}

    def export(self, call: Call) -> dict[str, Any]:
        """A page of memories by id: as many as were asked for and fit in a frame.

        With `offset` it is a piece of the first one's JSON: the way past a memory that alone is
        larger than a frame (ReplyTooLarge).
        """
        given = call.params
        self._store.clock.catch_up()
        after = given["after"]
        same = {name: given[name] for name in ("namespace", "agent", "origin")}
        where = Filter(**same, within=call.within)
        records = self._store.records
        if given["offset"] is not None:
            ids = ids_above(records, after, 2, where)
            piece = None
            if ids:
                document = self._document(ids[0], blob_sizes(records, ids[0]))
                piece = document.piece(given["offset"])
            return {"memories": [], "piece": piece, "next": ids[0] if len(ids) > 1 else None}
        found, more = page_within(records, after, given["limit"], where, MAX_PAYLOAD)
        page = [wire.exported(memory) for memory in found]
        for line, goal in zip(page, goals.each_of(records, found), strict=True):
            if goal is not None:
                line["goal"] = wire.goal_json(goal)
        room, fits = MAX_PAYLOAD, 0
        while fits < len(page) and (room := room - protocol.size_of(page[fits]) - 1) >= 0:
            fits += 1
        more = more or fits < len(page)
        if more and not fits:
            raise ReplyTooLarge(limit=MAX_FRAME)
        return {"memories": page[:fits], "next": found[fits - 1].id if more else None}

    def remember(self, call: Call) -> dict[str, Any]:
        """Store one memory; it is durable when the reply leaves."""
        memory = wire.remembered(call.params, call.home)
        call.check_namespace(memory.namespace)
        return {"id": self._store.remember(memory)}

    def capture(self, call: Call) -> dict[str, Any]:
        """Store turns in one transaction: each whole, and never twice."""
        zone = call.params["time_zone"] or times.local_zone()
        turns: list[CapturedTurn] = []
        try:
            for fields in call.params["turns"]:
                turns.append(wire.captured(fields, zone, call.home))
                call.check_namespace(turns[-1].namespace)
            stored = self._store.capture(turns)
        except UsageError as error:
            number = error.fields.get("place", len(turns)) + 1
            raise UsageError(detail=f"turn {number}: {error.message}") from None
        return {"turns": [wire.stored_turn_json(turn) for turn in stored]}

    def import_(self, call: Call) -> dict[str, Any]:
        """Store many memories in one transaction; BadRecord names the one that is wrong.  One that
        is larger than a frame comes alone, as JSON behind a descriptor."""
        given = call.params
        made: list[Memory] = []
        wanted: list[Goal | None] = []
        notes: Counter[str] = Counter()
        zone = given["time_zone"] or times.local_zone()
        try:
            with nullcontext() if given["memories"] else self._alone():
                for fields in given["memories"] or [self._read_record(call.fds, given["size"])]:
                    if not len(made) % BULK:
                        self._store.give_way()
                    space = given["namespace"] or call.home
                    wanted.append(wire.imported_goal(fields))
                    made.append(wire.imported(fields, space, zone, notes))
                    call.check_namespace(made[-1].namespace)
                also = partial(goals.add_each, made=made, wanted=wanted)
                return {"ids": self._store.remember_many(made, also), "times": dict(notes)}
        except UsageError as error:
            number = error.fields.get("place", len(made))
            raise BadRecord(where=place(given["where"], number), detail=error.message) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """For a memory that comes as a file: parsed it may take 100 MB, and Python does so in steps
        of up to 50 ms that nothing interrupts, so a pause follows."""
        with self._large:
            began = time.monotonic()
            try:
                yield
            except UsageError as error:
                traceback.clear_frames(error.__traceback__)  # copies of it, which would stay
                raise
            finally:
                time.sleep(PAUSE * (time.monotonic() - began))

    def _read_record(self, fds: list[int], size: int | None) -> Any:
        """The memory whose JSON of `size` bytes is in an ordinary file."""
        if size is None or not fds:
            raise UsageError(detail="import needs memories, or size and the descriptor of a file")
        check_handed_over(fds[0], "import", self._store.state)
        try:
            with open(os.dup(fds[0]), "rb") as file:  # noqa: PTH123
                file.seek(0)
                return protocol.decode_record(file.read(size))
        except OSError as error:
            raise UsageError(detail=f"the descriptor cannot be read: {error.strerror}") from None

    def forget(self, call: Call) -> dict[str, Any]:
        """Delete memories; the receipt tells what went."""
        given = call.params
        where, zone = given.pop("where"), given.pop("time_zone") or times.local_zone()
        if where is not None:
            if given["ids"] or given["all_forgotten"]:
                raise UsageError(detail="forget takes where, or ids, or all_forgotten")
            chosen = Chosen(self._store, where, now_ms(), zone, call.within)
            receipt = chosen.forget(purge=given["purge"], dry_run=given["dry_run"])
            return self._told(receipt, call.within)
        if not given["ids"] and not given["all_forgotten"]:
            raise UsageError(detail="forget needs the ids of memories, or where")
        if call.within is None:
            return self._told(self._store.forget(**given), None)
        if call.params["all_forgotten"]:
            detail = "what was forgotten before belongs to no namespace any more"
            raise NamespaceDenied(uid=call.peer.uid, verb="purge all_forgotten", detail=detail)
        asked = call.params["ids"]
        own = sorted(namespaces.seen(self._store.records, asked, call.within))
        receipt = Receipt([], [], False, call.params["dry_run"])
        if own:
            receipt = self._store.forget(**{**call.params, "ids": own})
        receipt.missing = sorted({*receipt.missing, *asked} - {*own})
        return self._told(receipt, call.within)

    def _told(self, receipt: Receipt, within: Namespaces | None) -> dict[str, Any]:
        """A receipt as its caller may know it; of very many ids the first ones."""
        if within is not None:
            receipt.removed.pop("relations", None)  # it would count what leads to others, too
            for backup in receipt.backups:
                del backup["path"], backup["sequence"]
            receipt.strangers = sorted({each.rsplit("/", 2)[-2] for each in receipt.strangers})
        count = len(receipt.forgotten)
        return {**asdict(receipt), "count": count, "forgotten": receipt.forgotten[:MAX_IDS]}


def place(where: str | None, number: int) -> str:
    """The name of the number-th memory (from 0): "file.jsonl:1" counts lines."""
    counted = re.fullmatch(r"(.*):(\d{1,15})", where or "", re.DOTALL)
    if counted:
        return f"{counted[1]}:{int(counted[2]) + number}"
    return f"{where}, memory {number + 1}" if where else f"memory {number + 1}"
