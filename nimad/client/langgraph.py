"""A LangGraph store that keeps its items in nimad; needs the package langgraph-checkpoint.

An item is a document (docs/protocol.md): the labels of its namespace with dots between them are
the namespace there, its value is searched by the texts in it or by the fields that `index` names.
Scores are those of a query.  Items do not expire.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    PutOp,
    SearchItem,
    SearchOp,
    validate_op_namespace,
)
from langgraph.store.base.embed import get_text_at_path, tokenize_path

from nimad.client.client import Client
from nimad.client.types import Document, NewDocument, Origin

Labels = tuple[str, ...]
MOST = 500
"""Number of documents put, and of keys asked for, in one request [documents]."""


class NimadStore(BaseStore):  # type: ignore[misc]
    """Keeps items in nimad: `NimadStore()`, or with a `Client` of your own.

    `root` are labels put before each namespace, where several programs share a store; `fields` are
    what items are searched by that do not say; `origin` is that of all that is put.
    """

    supports_ttl = False

    def __init__(
        self,
        client: Client | None = None,
        *,
        socket: str | None = None,
        root: Sequence[str] = (),
        fields: Sequence[str] | None = None,
        origin: Origin | None = "agent",
    ) -> None:
        self._client = client or Client(socket)
        self._root = tuple(root)
        self._fields = fields
        self._origin = origin

    def batch(self, ops: Iterable[Any]) -> list[Any]:
        """Do operations; what is read is as it was before anything of them is put."""
        asked = list(ops)
        for op in asked:
            validate_op_namespace(op)
        results = [None if isinstance(op, PutOp) else self._read(op) for op in asked]
        last = {(op.namespace, op.key): op for op in asked if isinstance(op, PutOp)}
        puts: list[NewDocument] = []
        for op in last.values():
            name = self._name(op.namespace)
            puts.append({"namespace": name, "key": op.key, "value": op.value})
            if op.value is None:
                continue
            if self._origin is not None:
                puts[-1]["origin"] = self._origin
            paths = self._fields if op.index is None else op.index
            if paths is not None:  # False: it is not searched
                texts = (get_text_at_path(op.value, tokenize_path(path)) for path in paths or ())
                puts[-1]["text"] = "\n".join(text for some in texts for text in some)
        for start in range(0, len(puts), MOST):
            self._client.put(*puts[start : start + MOST])
        return results

    async def abatch(self, ops: Iterable[Any]) -> list[Any]:
        """The same for asyncio, in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _read(self, op: Any) -> Any:
        match op:
            case GetOp():
                name = self._name(op.namespace)
                found = self._client.find(namespace=name, keys=[op.key])
                return self._item(found[0]) if found else None
            case SearchOp():
                wanted = _sendable(op.filter or {})
                if wanted is None:
                    return []
                found = self._client.find(
                    tree=self._name(op.namespace_prefix),
                    filter=wanted,
                    query=op.query or "",
                    limit=op.limit,
                    offset=op.offset,
                )
                return [self._item(document, searched=True) for document in found]
            case ListNamespacesOp():
                names = {self._labels(name) for name in self._client.namespaces(self._name(()))}
                for condition in op.match_conditions or ():
                    begins = condition.match_type == "prefix"
                    path = tuple(condition.path)  # * stands for any one label
                    for labels in list(names):
                        part = labels[: len(path)] if begins else labels[-len(path) :]
                        pairs = zip(path, part, strict=False)
                        same = all(asked in ("*", label) for asked, label in pairs)
                        if path and (len(labels) < len(path) or not same):
                            names.discard(labels)
                if op.max_depth is not None:
                    names = {labels[: op.max_depth] for labels in names}
                return sorted(names)[op.offset : op.offset + op.limit]
        raise ValueError(f"{op!r} is no operation of a store")

    def _name(self, labels: Sequence[str]) -> str:
        return ".".join((*self._root, *labels))

    def _labels(self, name: str) -> Labels:
        return tuple(name.split("."))[len(self._root) :]

    def _item(self, document: Document, *, searched: bool = False) -> Any:
        made: dict[str, Any] = {
            "namespace": self._labels(document["namespace"]),
            "key": document["key"],
            "value": document["value"],
            "created_at": _moment(document["created"]),
            "updated_at": _moment(document["updated"]),
        }
        return SearchItem(**made, score=document["score"]) if searched else Item(**made)


def _sendable(wanted: dict[str, Any]) -> dict[str, Any] | None:
    """A filter without what is no JSON: infinity is the largest number; None: nothing is equal to,
    more or less than what is no number."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, float) and math.isinf(value):
            return math.copysign(sys.float_info.max, value)
        return value

    for asked in wanted.values():
        operands = asked.values() if isinstance(asked, dict) else [asked]
        if any(isinstance(value, float) and math.isnan(value) for value in operands):
            return None
    return {name: plain(asked) for name, asked in wanted.items()}


def _moment(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
