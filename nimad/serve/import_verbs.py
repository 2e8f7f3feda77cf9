"""The verbs by which nimactl imports what other tools remember: import.known, import.put."""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from typing import Any

from nimad import checks
from nimad.core.imports import Delivery, Imports, Link, Origin
from nimad.core.store import MemoryStore
from nimad.errors import UsageError
from nimad.limits import MAX_IMPORT
from nimad.model import MAX_NAME, Memory
from nimad.serve import params, wire
from nimad.serve.params import Param
from nimad.serve.verbs import Call, Verb

MAX_KEY = 600
"""Length of the longest key of an item: a page of them fits in a frame [characters]."""
MAX_REASON = 500
"""Length of the longest reason why an item is refused [characters]."""
MOST = 1000
"""Number of keys in a list [keys]."""

BARRED = ("key", "source", "blobs")
"""Fields of an import's line that an item has not."""

_KEY = checks.text(MAX_KEY)
_WEIGHT = checks.number(-1e300, 1e300)


def _rows(*each: checks.Check) -> checks.Check:
    """A check of a list of values, one after the other."""

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(each):
            raise ValueError(f"must hold lists of {len(each)} values")
        return tuple(one(item) for one, item in zip(each, value, strict=True))

    return check


ORIGIN = {
    "kind": Param(checks.text(100)),
    "path": Param(params.path),
    "identity": Param(checks.text(4096)),
    "name": Param(params.source_name, None),
}
KNOWN = {
    **ORIGIN,
    "prefix": Param(checks.text(MAX_KEY, empty=True), ""),
    "after": Param(checks.text(MAX_KEY, empty=True), ""),
    "limit": Param(checks.integer(1, MOST), MOST),
    "session": Param(checks.text(MAX_NAME), None),
    "namespace": Param(checks.text(MAX_NAME), None),
}
PUT = {
    **ORIGIN,
    "items": Param(params.many(0, MAX_IMPORT, "items"), []),
    "gone": Param(params.many(0, MOST, "keys", _KEY), []),
    "links": Param(
        params.many(
            0,
            MOST,
            "relations",
            _rows(
                *(_KEY, _KEY, _KEY, checks.text(MAX_NAME)),
                lambda value: None if value is None else float(_WEIGHT(value)),
            ),
        ),
        [],
    ),
    "links_gone": Param(params.many(0, MOST, "keys", _KEY), []),
    "refused": Param(params.many(0, MOST, "notes", _rows(_KEY, checks.text(MAX_REASON))), []),
    "first": Param(checks.flag, False),
}


class ImportVerbs:
    """Answers from the sources of other makers in one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._imports = Imports(store)

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        return [
            Verb("import.known", "read", self.known, KNOWN),
            Verb("import.put", "control", self.put, PUT),
        ]

    def known(self, call: Call) -> dict[str, Any]:
        """What is stored of a source, by key; no name where nothing is known of it.  Of a session:
        what was captured of it."""
        given = call.params
        if given["session"] is not None:
            space = given["namespace"] or call.home
            return self._imports.captured(space, given["session"], given["after"], given["limit"])
        origin = _origin(given)
        source = self._imports.find(origin)
        if source is None:
            return {"name": None, "items": [], "links": [], "next": None}
        return self._imports.known(source, given["prefix"], given["after"], given["limit"])

    def put(self, call: Call) -> dict[str, Any]:
        """Take items over, forget others, note what was refused: one transaction."""
        origin, given = _origin(call.params), call.params
        items: dict[str, Memory] = {}
        for place, fields in enumerate(given["items"]):
            try:
                if not isinstance(fields, dict) or any(name in fields for name in BARRED):
                    raise UsageError(detail=f"it must be an object without {', '.join(BARRED)}")
                key = _KEY(fields.pop("item", None))
                items[key] = wire.imported(fields, call.home, UTC, Counter())
            except (UsageError, ValueError) as error:
                detail = error.message if isinstance(error, UsageError) else f"its key {error}"
                raise UsageError(detail=f"item {place + 1}: {detail}") from None
        links = [Link(*link) for link in given["links"]]
        gone, links_gone = given["gone"], given["links_gone"]
        delivery = Delivery(items, gone, links, links_gone, given["refused"], given["first"])
        return self._imports.put(origin, delivery)


def _origin(given: dict[str, Any]) -> Origin:
    return Origin(given["kind"], given["path"], given["identity"], given["name"])
