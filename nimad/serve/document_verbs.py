"""The verbs about keyed documents: documents.put, documents.find, documents.namespaces."""

from __future__ import annotations

from typing import Any

from nimad import checks
from nimad.core import documents
from nimad.core.documents import Documents, Found
from nimad.core.store import MemoryStore
from nimad.errors import ReplyTooLarge, UsageError
from nimad.limits import MAX_DOCUMENTS, MAX_FRAME, MAX_KEYS, MAX_PAYLOAD, MAX_RESULTS
from nimad.model import MAX_NAME, MAX_TEXT, Filter, Memory
from nimad.serve import params, protocol, wire
from nimad.serve.params import Param
from nimad.serve.verbs import Call, Verb


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return value


def _filter(value: Any) -> dict[str, Any]:
    for asked in _object(value).values():
        if isinstance(asked, dict):
            for operator in asked:
                if operator.startswith("$") and operator not in documents.OPERATORS:
                    raise ValueError(f"may use {', '.join(documents.OPERATORS)}")
    return _object(value)


_SPACE = checks.text(MAX_NAME)
DOCUMENT = {
    "namespace": Param(_SPACE, None),
    "key": Param(_SPACE),
    "value": Param(_object, None),
    "text": Param(checks.text(MAX_TEXT, empty=True), None),
    **{name: wire.REMEMBER[name] for name in ("who", "tags", "importance", "origin", "agent")},
}
"""What a document of `documents.put` takes; one without a value is to go."""

PUT = {"documents": Param(params.many(1, MAX_DOCUMENTS, "documents"))}
FIND = {
    "namespace": Param(_SPACE, None),
    "keys": Param(params.many(1, MAX_KEYS, "keys", _SPACE), None),
    "tree": Param(checks.text(MAX_NAME, empty=True), ""),
    "filter": Param(_filter, {}),
    "query": Param(checks.text(MAX_TEXT, empty=True), ""),
    "limit": Param(checks.integer(1, MAX_RESULTS), 10),
    "offset": Param(checks.integer(0, 2**31), 0),
}
NAMESPACES = {
    "tree": FIND["tree"],
    "limit": Param(checks.integer(1, 10_000), 1000),
    "offset": FIND["offset"],
}


class DocumentVerbs:
    """Answers from the documents of one store."""

    def __init__(self, store: MemoryStore) -> None:
        self._documents = Documents(store)

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        return [
            Verb("documents.put", "control", self.put, PUT, bounded=True),
            Verb("documents.find", "read", self.find, FIND, bounded=True),
            Verb("documents.namespaces", "read", self.namespaces, NAMESPACES, bounded=True),
        ]

    def put(self, call: Call) -> dict[str, Any]:
        """Store documents and forget others, in one transaction; of one key the last counts."""
        last: dict[tuple[str, str], dict[str, Any]] = {}
        for place, fields in enumerate(call.params["documents"]):
            try:
                given = params.read("a document", DOCUMENT, _object(fields))
            except (UsageError, ValueError) as error:
                detail = error.message if isinstance(error, UsageError) else f"it {error}"
                raise UsageError(detail=f"document {place + 1}: {detail}") from None
            namespace = given.pop("namespace") or call.home
            call.check_namespace(namespace)
            last[namespace, given["key"]] = given
        made, names = [], []
        for (namespace, key), given in last.items():
            if given["value"] is None:
                names.append((namespace, key))
                continue
            text = documents.text_of(given["value"]) if given["text"] is None else given["text"]
            named = ("who", "importance", "origin", "agent")
            rest = {name: given[name] for name in named if given[name] is not None}
            tags, value = tuple(given["tags"] or ()), given["value"] or None
            # its text may be empty: then no search finds it
            made.append(Memory(text, namespace=namespace, key=key, extra=value, tags=tags, **rest))
        self._documents.put(made, names)
        return {"put": len(made), "gone": len(names)}

    def find(self, call: Call) -> dict[str, Any]:
        """Documents by their keys, or those of a namespace and below it: as many as fit."""
        given = call.params
        offset, most = given["offset"], given["offset"] + given["limit"]
        if given["keys"] is not None:
            if given["namespace"] is None:
                raise UsageError(detail="documents.find needs the namespace of keys")
            seen = call.within is None or given["namespace"] in call.within
            found = self._documents.get(given["namespace"], given["keys"]) if seen else []
            offset = 0
        else:
            tree = given["namespace"] or given["tree"]
            where = Filter(tree=tree, documents=True, within=call.within)
            if given["query"].strip():
                found = self._documents.search(given["query"], where, given["filter"], most)
            else:
                found = self._documents.find(where, given["filter"], most)
        return self._page(found[offset:])

    def _page(self, found: Found) -> dict[str, Any]:
        """Those of the documents that fit in a frame, from the first on; whether more follow."""
        page: list[dict[str, Any]] = []
        room = MAX_PAYLOAD
        for memory, score in self._documents.read(found):
            document = {
                "id": memory.id,
                "namespace": memory.namespace,
                "key": memory.key,
                "value": memory.extra or {},
                "created": memory.created,
                "updated": memory.timestamp,
                "score": score,
            }
            room -= protocol.size_of(document) + 1
            if room < 0 and not page:
                raise ReplyTooLarge(limit=MAX_FRAME)
            if room < 0:
                return {"documents": page, "more": True}
            page.append(document)
        return {"documents": page, "more": False}

    def namespaces(self, call: Call) -> dict[str, Any]:
        """The namespaces that have documents, by name."""
        where = Filter(tree=call.params["tree"], documents=True, within=call.within)
        first, limit = call.params["offset"], call.params["limit"]
        return {"namespaces": self._documents.namespaces(where)[first : first + limit]}
