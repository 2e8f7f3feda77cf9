"""A question that the fleet's hub is asked, too: what it has beside this store, in one ranking.

The daemon asks nimad-sync over its Unix socket, which knows the hub; what comes back is input like
any other.  Scores of two stores cannot be compared, for each is measured by all that its store
holds.  So every hit, of here and of there, gets one that needs no store: a share of its cosine with
the question, and of the question's words that stand in it, the rare ones weighing more.  By that
the two lists are merged; each keeps its own order.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nimad import helper_line
from nimad.core.store import MemoryStore
from nimad.errors import Degraded, HubUnusable, WordsDamaged
from nimad.model import UNKNOWN, Filter, Hit, Memory
from nimad.recall.context import saying
from nimad.store.fleet import Key
from nimad.store.identity import identity
from nimad.text import common_form, tokens

SECONDS = 2.0
"""Longest wait for the hub [seconds]."""
MOST_BYTES = 8 << 20
"""Largest answer of nimad-sync [bytes]."""
CANDIDATES = 50
"""Number of memories that the hub is asked for [memories]."""
TERMS = 6
"""Number of words that it is asked by: the rarest here [words]."""
MEANING = 0.6
"""Share of the cosine in the score that needs no store."""
LEAST_WORDS = 0.3
"""Share of a question's words that a memory must have, if it is not near in meaning."""

Read = Callable[[Any, str], tuple[Key, str, Memory]]
"""Gives the key, the name of its board and the memory of what the hub says of one in a namespace;
UsageError for what is none."""


class FleetQuery:
    """Asks the hub for one question."""

    def __init__(self, store: MemoryStore, text: str, where: Filter) -> None:
        self._store, self._text, self._where = store, text, where
        self._rarity: dict[str, float] = {}
        for word in tokens(text):
            try:
                held = sum(store.terms.holders(term) for term in store.terms.cut(word))
            except WordsDamaged:
                held = 0
            self._rarity[word] = math.log(1 + 1e6 / (1 + held))

    def ask(self, read: Read) -> list[Hit]:
        """What the hub has, and this store has not; best first, `id` 0.  Raises HubUnusable."""
        wanted = self._where.namespace and common_form(self._where.namespace)
        spaces = [
            name
            for name in self._store.config["sync.namespaces"] or {}
            if (self._where.within is None or name in self._where.within)
            and wanted in (None, common_form(name))
        ]
        if not spaces:
            return []
        try:
            vector = self._store.embedder.embed([self._text])[0]
        except Degraded:
            vector = np.zeros(0, np.float32)
        rare = sorted(self._rarity, key=lambda word: -self._rarity[word])
        request = {
            "namespaces": spaces,
            "terms": rare[:TERMS],
            "vector": base64.b64encode(vector.astype(">f2").tobytes()).decode(),
            "dims": len(vector),
            "signature": f"{self._store.embedder.name} {self._store.embedder.revision}",
            "most": CANDIDATES,
        }
        found: dict[Key, Memory] = {}
        for space, row in self._exchange(request):
            if space not in spaces:
                continue
            try:
                key, board, memory = read(row, space)
            except Exception:
                continue
            memory.source = (board, key[1])
            if self._passes(memory) and not self._is_known(key):
                found[key] = memory
        near = self._store.embedder.scale.near
        hits = [
            Hit(memory, score, {"words": words, "cosine": cosine})
            for memory, score, words, cosine in self._scores(list(found.values()), vector)
            if words >= LEAST_WORDS or cosine >= near
        ]
        return sorted(hits, key=lambda hit: -hit.score)

    def _exchange(self, request: dict[str, Any]) -> list[Any]:
        place = self._store.config["sync.socket"]
        try:
            reply = helper_line.ask(place, request, SECONDS, MOST_BYTES)
            if "error" in reply:
                raise HubUnusable(detail=str(reply["error"])[:300])
            return [(str(space), row) for space, row in reply["found"][:1000]]
        except (FileNotFoundError, ConnectionRefusedError):
            raise HubUnusable(detail="nimad-sync does not run") from None
        except ConnectionResetError:
            raise HubUnusable(detail="nimad-sync hung up") from None
        except TimeoutError:
            raise HubUnusable(detail=f"it did not answer within {SECONDS:g} s") from None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise HubUnusable(detail=f"nimad-sync answers strangely ({error!r:.100})") from error

    def _is_known(self, key: Key) -> bool:
        """Whether a memory is here, or is gone from here."""
        if identity(self._store.records).is_own(*key):
            return True
        sql = "SELECT 1 FROM boards b WHERE b.store = ?1 AND (EXISTS (SELECT 1 FROM memories"
        sql += " WHERE source = b.id AND source_key = ?2) OR EXISTS (SELECT 1 FROM departed"
        sql += " WHERE board = b.id AND number = ?2))"
        return bool(self._store.records.rows(sql, key))

    def _passes(self, memory: Memory) -> bool:
        where = self._where
        same = (
            *((getattr(where, name), getattr(memory, name)) for name in ("who", "where", "agent")),
            (where.layer, memory.layer),
        )
        time_ok = all(
            limit is None or (memory.timestamp is not None and fits(memory.timestamp, limit))
            for limit, fits in ((where.after, int.__ge__), (where.before, int.__lt__))
        )
        tags = {common_form(tag) for tag in memory.tags}
        return (
            all(w is None or common_form(w) == common_form(has or "") for w, has in same)
            and time_ok
            and (not where.origin or (memory.origin or UNKNOWN) in where.origin)
            and all(common_form(tag) in tags for tag in where.tags)
        )

    def _scores(
        self, memories: Sequence[Memory], vector: Any
    ) -> list[tuple[Memory, float, float, float]]:
        """Each with its score, its share of the words and its cosine."""
        cosines = np.zeros(len(memories))
        if len(vector) and memories:
            cosines = self._store.embedder.embed([m.text for m in memories]) @ vector
        total = sum(self._rarity.values()) or 1.0
        found = []
        for memory, cosine in zip(memories, cosines.tolist(), strict=True):
            held = set(tokens(memory.text))
            words = sum(worth for word, worth in self._rarity.items() if word in held) / total
            found.append((memory, MEANING * max(cosine, 0) + (1 - MEANING) * words, words, cosine))
        return found

    def merge(self, here: Sequence[Hit], there: Sequence[Hit], k: int) -> list[Hit]:
        """The best `k` of both lists, each in its own order, without what says the same again."""
        said = {saying(hit.memory) for hit in here}
        first: dict[tuple[str, str, str], Hit] = {}
        for hit in there:
            first.setdefault(saying(hit.memory), hit)
        there = [hit for same, hit in first.items() if same not in said]
        if not there:
            return list(here[:k])
        try:
            vector = self._store.embedder.embed([self._text])[0]
        except Degraded:
            vector = np.zeros(0, np.float32)
        worth = [score for _, score, *_ in self._scores([hit.memory for hit in here], vector)]
        made: list[Hit] = []
        one, two = 0, 0
        while len(made) < k and (one < len(here) or two < len(there)):
            local = one < len(here) and (two == len(there) or worth[one] >= there[two].score)
            made.append(here[one] if local else there[two])
            one, two = one + local, two + (not local)
        return made
