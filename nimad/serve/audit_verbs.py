"""The verbs that keep a store tidy: audit tells what could be mended, redate mends a date."""

from __future__ import annotations

import time
from typing import Any

from nimad import checks, times
from nimad.core.store import MemoryStore
from nimad.core.unwritten import BULK
from nimad.errors import NotFound
from nimad.limits import AUDIT_KINDS, MAX_FINDINGS, MAX_IDS, MAX_PAYLOAD
from nimad.model import now_ms
from nimad.serve import params, protocol
from nimad.serve.params import Param
from nimad.serve.verbs import Call, Verb
from nimad.store.namespaces import seen

_ID = checks.integer(1, 2**63 - 1)
AUDIT = {
    "kinds": Param(params.many(1, len(AUDIT_KINDS), "kinds", checks.choice(*AUDIT_KINDS)), None),
    "limit": Param(checks.integer(1, MAX_FINDINGS), 20),
    "time_zone": Param(params.zone, None),
}
REDATE = {
    "ids": Param(params.many(1, MAX_IDS, "ids", _ID)),
    "when": Param(params.date),
    "time_zone": Param(params.zone, None),
}


class AuditVerbs:
    """Answers from one store; what an audit needs is imported when it is asked."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        return [
            Verb("audit", "read", self.audit, AUDIT, bounded=True, shorten=shorten),
            Verb("redate", "control", self.redate, REDATE, bounded=True),
        ]

    def audit(self, call: Call) -> dict[str, Any]:
        """What could be tidied up, and the command for each; nothing is changed."""
        from nimad.audit.findings import as_json, audit

        began = time.perf_counter()
        given = call.params
        zone = given["time_zone"] or times.local_zone()
        done = audit(self._store, zone, call.within, given["kinds"] or AUDIT_KINDS, given["limit"])
        took = round((time.perf_counter() - began) * 1000, 3)
        return {**as_json(done), "took_ms": took}

    def redate(self, call: Call) -> dict[str, Any]:
        """Memories get another date.  Raises NotFound, then none has."""
        given = call.params
        zone = given["time_zone"] or times.local_zone()
        ids = sorted(set(given["ids"]))
        if many := len(ids) >= BULK:  # each takes some ms of Python, which a question goes before
            self._store.give_way()
        if lost := set(ids) - seen(self._store.records, ids, call.within):
            raise NotFound(kind="memory", id=min(lost))
        at = params.span("redate", "when", given["when"], now_ms(), zone).first
        if many:
            self._store.give_way()
        self._store.clock.redate(ids, at)
        self._store.on_change()
        return {"ids": ids, "timestamp": at}


def shorten(result: dict[str, Any]) -> dict[str, Any]:
    """An audit that fits in a frame: of each kind the first findings."""
    findings = result["findings"]
    while protocol.size_of(result) > MAX_PAYLOAD:
        kept: list[dict[str, Any]] = []
        for kind in dict.fromkeys(finding["kind"] for finding in findings):
            same = [finding for finding in findings if finding["kind"] == kind]
            kept += same[: -(-len(same) // 2)] if len(same) > 1 else []
        findings = kept
        result = {**result, "findings": findings}
    return result
