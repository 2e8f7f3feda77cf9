"""The agent through which a workspace sees the memories: it proposes what deserves attention."""

from __future__ import annotations

from typing import Any

from nimad import times
from nimad.cognition.consciousness_workspace import (
    HISTORY,
    Agent,
    GlobalWorkspace,
    WorkspaceEntry,
)
from nimad.cognition.episodes import metadata_of
from nimad.core.store import MemoryStore
from nimad.model import Memory, now_ms
from nimad.reflection.attention import attend
from nimad.reflection.themes import vectors_of
from nimad.store import broadcasts

NAME = "Memory"


class MemoryAgent(Agent):
    """Proposes the memory that wins `nimactl step`; what won is kept in the records, as an id."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(NAME)
        self._store = store

    def propose(self, workspace: GlobalWorkspace) -> Any:
        """The vector of the memory with the highest score (reflection/attention.py), or None."""
        mask = int(workspace.affective_core.current_affect)
        won = attend(self._store, 1, mask, keep=False, capacity=workspace.capacity)
        if not won:
            return None
        self.proposal_score, self.proposal_parts = won[0].score, won[0].parts
        self.proposal_metadata = told(won[0].memory)
        return vectors_of(self._store, [won[0].memory])[0]

    def receive_broadcast(self, entry: WorkspaceEntry) -> None:
        """Keep its own winners."""
        super().receive_broadcast(entry)
        if entry.source_agent == self.name:
            with self._store.records.write() as tx:
                mask = int(entry.affect_vector or 0)
                number = int(entry.metadata["id"])
                broadcasts.add(tx, number, now_ms(), mask, entry.surprise_score)

    def recall_history(self, workspace: GlobalWorkspace) -> None:
        """Fill a workspace with what won before it was made."""
        kept = broadcasts.latest(self._store.records, HISTORY)
        memories = self._store.records.get([row.memory for row in kept])
        rows = vectors_of(self._store, list(memories.values()))
        vectors = dict(zip(memories, rows, strict=True))
        for row in kept:
            if row.memory in memories:
                entry = WorkspaceEntry(
                    vectors[row.memory],
                    times.local(row.at, times.local_zone()),
                    self.name,
                    row.affect,
                    row.score,
                    told(memories[row.memory]),
                )
                workspace.hold(entry)

    def drop_forgotten(self, workspace: GlobalWorkspace) -> None:
        """Take memories out of a workspace that are not there any more."""
        mine = {e.metadata["id"] for e in workspace.history if e.source_agent == self.name}
        gone = mine - self._store.records.get(sorted(mine)).keys()
        if gone:
            for entries in (workspace.history, workspace.buffer):
                left = [
                    e
                    for e in entries
                    if e.source_agent != self.name or e.metadata["id"] not in gone
                ]
                entries.clear()
                entries.extend(left)


def told(memory: Memory) -> dict[str, Any]:
    """What an entry tells of a memory: the guides' names, and its id in the store."""
    meta = metadata_of(memory)
    return {**meta, "what": meta["what"] or memory.text, "id": memory.id}
