"""An episode of the legacy guides (who, what, where, when, ...) as a memory, and as a hypervector.

Hypervectors are derived from the records on demand, so they cost no storage: each word of a role's
value is an item with a few active blocks, bound to the role's item; an episode is the sum.  Words,
not whole values, so that a part of a value is found, too.
"""

from __future__ import annotations

import functools
import json
from contextlib import suppress
from datetime import tzinfo
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad import times
from nimad.model import Memory
from nimad.text import words_of
from nimad.vsa import algebra, sparse
from nimad.vsa.sparse import Sparse

FIELDS = {
    "WHO": "who",
    "WHAT": "what",
    "WHERE": "where",
    "WHEN": "when",
    "CONTEXT": "context",
    "EMOTION": "emotions",
    "THEME": "themes",
}
"""Role of the guides -> field of an episode."""
MOST_READ = 4000
"""Length of the part of a value that its hypervector is made of: a text of 26,000 other words took
a second, and a question for what is missing reads 40 of them [characters]."""


def memory_of(meta: dict[str, Any]) -> Memory:
    """The memory of an episode given by the guides' names; unknown names are kept in `extra`.

    The text is `raw_text`, else what, else context.  A timestamp without a zone is of this
    machine's; one that cannot be read leaves the memory undated.  Raises TypeError for what
    JSON cannot hold.
    """
    given = {name: value for name, value in meta.items() if value not in (None, "", [], ())}
    text = str(given.get("raw_text") or given.get("what") or given.get("context") or "")
    importance = given.get("importance")
    kept = {n: v for n, v in given.items() if n not in ("who", "where", "importance", "timestamp")}
    at: int | None = 0  # now
    if "timestamp" in given:
        try:
            at, note = times.read(given["timestamp"], times.local_zone())
        except ValueError:
            at, note = None, times.NO_ZONE
        if note == times.NO_ZONE:
            kept["timestamp"] = given["timestamp"]
    for name in ("raw_text", "what"):
        if kept.get(name) == text:
            del kept[name]
    return Memory(
        text=text,
        who=_text(given.get("who")),
        where=_text(given.get("where")),
        importance=None if importance is None else min(1.0, max(0.0, float(importance))),
        timestamp=at,
        layer="input",
        extra=json.loads(json.dumps(kept)) or None,
    )


def metadata_of(memory: Memory) -> dict[str, Any]:
    """The metadata of a memory with the guides' names; every name is there."""
    extra = memory.extra or {}
    meta: dict[str, Any] = {
        "who": memory.who or "",
        "what": extra.get("what", memory.text),
        "where": memory.where or "",
        "when": extra.get("when", ""),
        "context": extra.get("context", ""),
        "emotions": extra.get("emotions", []),
        "themes": extra.get("themes", []),
        "importance": 0.5 if memory.importance is None else memory.importance,
        "raw_text": extra.get("raw_text", memory.text),
        "timestamp": times.iso(memory.timestamp) if memory.timestamp else "",
    }
    told = {name: value for name, value in extra.items() if name not in meta}
    return {**meta, **told, "timestamp": extra.get("timestamp", meta["timestamp"])}


def factors_of(meta: dict[str, Any]) -> dict[str, str]:
    """Role → value, as text, of what an episode has."""
    found = {}
    for role, name in FIELDS.items():
        value = meta.get(name)
        found[role] = " ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    return {role: value for role, value in found.items() if value}


def roles_of(memory: Memory, zone: tzinfo) -> dict[str, str]:
    """Role → value of any memory, as its records have it; roles that it has not are left out.

    WHEN is what an episode says, else the day of its timestamp in `zone`; EMOTION are the names in
    its affect, THEME its tags, where an episode says nothing else.
    """
    found = factors_of(metadata_of(memory))
    if memory.timestamp is not None and "WHEN" not in found:
        found["WHEN"] = str(times.local(memory.timestamp, zone).date())
    if memory.affect:  # words, or JSON {name: strength}
        told: Any = None
        with suppress(ValueError):
            told = json.loads(memory.affect)
        felt = memory.affect
        if isinstance(told, dict):
            strong = {name: n for name, n in told.items() if isinstance(n, int | float) and n > 0}
            felt = " ".join(strong)
        found.setdefault("EMOTION", felt)
    if memory.tags:
        found.setdefault("THEME", " ".join(memory.tags))
    return {role: value for role, value in found.items() if value.strip()}


def filler(text: str, blocks: int, dims: int, active: int) -> Sparse:
    """The hypervector of a value: the sum of its words, whatever their case and order."""
    total = np.zeros((blocks, dims), np.float32)
    for word in _words(text):
        _add(total, word, None, active)
    return _sparse(total)


def episode(factors: dict[str, str], blocks: int, dims: int, active: int) -> Sparse:
    """The hypervector of an episode: the sum over its roles of role (x) value."""
    total = np.zeros((blocks, dims), np.float32)
    for role, value in factors.items():
        for word in _words(value):
            _add(total, word, role, active)
    return _sparse(total)


def _words(value: str) -> list[str]:
    """What is summed up of a value."""
    read = value[:MOST_READ]
    return words_of(read.casefold()) or [read]


def role(name: str, blocks: int, dims: int) -> Sparse:
    """The hypervector of a role: one 1 in every block."""
    return sparse.sparsify(algebra.item(f"role {name}", blocks, dims), blocks)


def _add(total: NDArray[np.float32], word: str, role_name: str | None, active: int) -> None:
    """Add a word's item, bound to a role: one-hot blocks bind by adding their positions."""
    blocks, dims = total.shape
    chosen, at = _places(f"word {word}", blocks, dims, active)
    if role_name is not None:
        at = (at + _places(f"role {role_name}", blocks, dims, blocks)[1][chosen]) % dims
    total[chosen, at] += 1


_places = functools.lru_cache(maxsize=4096)(algebra.places_of)
"""The active blocks of an item and the place of the 1 in each."""


def _sparse(total: NDArray[np.float32]) -> Sparse:
    active = np.flatnonzero(total.any(axis=1))
    return Sparse(active, total[active], len(total))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
