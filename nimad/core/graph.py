"""The graph as a projection: it follows the records' change log and answers `related`."""

from __future__ import annotations

import logging
from pathlib import Path

from nimad.config import Config
from nimad.core.health import Health
from nimad.core.projection import Problem, PurgeNote
from nimad.disk.durable import set_aside, size_of
from nimad.errors import Degraded, NimadError
from nimad.graph.engine import GraphLimits
from nimad.graph.feed import ChangeFeed
from nimad.graph.projection import GraphProjection
from nimad.probe import memory
from nimad.store.records import Records

log = logging.getLogger(__name__)

FIX = "nimactl rebuild graph"


class GraphIndex:
    """The graph of one state directory, or none; a Projection."""

    name = "graph"

    def __init__(self, state: Path, config: Config, records: Records, health: Health) -> None:
        self._state, self._records, self._health = state, records, health
        self.engine = config["graph.engine"]
        self.graph: GraphProjection | None = None
        if self.engine != "none":
            self.graph = GraphProjection(state / "graph", self.engine, graph_limits(config))

    @property
    def position(self) -> int | None:
        """Its watermark; None when there is no graph, or it is to be made anew."""
        if self.graph is None or self._health.reason(self.name):
            return None
        return self.graph.watermark

    def open(self) -> None:
        """Open the graph; a damaged one is set aside and a fresh one follows the records anew."""
        graph = self.graph
        if graph is None:
            return
        try:
            graph.open()
        except NimadError as error:
            if error.code != "graph_failed":
                self.graph = None
                self._health.fail(self.name, error.message)
                log.error("%s %s", error.message, error.next_step)
                return
            log.error("%s It is set aside and made anew.", error.message)
            for path in graph.files():
                set_aside(path, self._state / "aside")
            graph.open()
            self._health.fail(self.name, "it was damaged and is being made anew")
        if not self._fits():
            self._health.fail(self.name, "it does not fit the records and is being made anew")

    def _fits(self) -> bool:
        """Whether the change log still has all that the graph has not."""
        assert self.graph is not None
        return self._records.pruned_to() <= self.graph.watermark <= self._records.head()

    def require(self) -> GraphProjection:
        """The graph; raises Degraded when there is none."""
        if self.graph is None:
            reason = self._health.reason(self.name) or "graph.engine is none"
            raise Degraded(part="graph", detail=reason)
        return self.graph

    def catch_up(self, max_rows: int = 100_000, feed: ChangeFeed | None = None) -> bool:
        """Let the graph follow the records, read by way of `feed`; True when nothing is left."""
        feed = feed or self._records
        if self.graph is None:
            return True
        if self._health.reason(self.name) or not self._fits():
            self.graph.rebuild(feed)
            self._health.restore(self.name)
            return True
        return self.graph.watermark >= self._records.head() or self.graph.catch_up(feed, max_rows)

    def follow(self) -> bool:
        """Catch up; make it anew when that makes it much smaller."""
        if self.graph is None:
            return False
        if self._health.reason(self.name) or self.graph.watermark < self._records.head():
            self.catch_up()
            return True
        if self.graph.sparse:  # rows that came one by one take up to eight times the room
            self.rebuild()
            return True
        return False

    def rebuild(self) -> int | None:
        """Project every memory into a new graph; the number of memories."""
        if self.graph is None:
            return None
        self.graph.rebuild(self._records)
        self._health.restore(self.name)
        return self.graph.counts()["memories"]

    def scrub(self, note: PurgeNote) -> None:
        """Make it anew: no byte of the old file stays."""
        if self.graph is not None and self._health.reason(self.name) is None:
            self.graph.rebuild(self._records)

    def check(self) -> list[Problem]:
        """It holds as many of each kind as the records, once it has caught up."""
        if self.graph is None or self.graph.watermark < self._records.head():
            return []
        truth, shown = self._records.counts(), self.graph.counts()
        return [
            Problem(self.name, f"it has {shown[kind]} {kind}, the records {number}", FIX)
            for kind, number in truth.items()
            if shown[kind] != number
        ]

    def status(self) -> dict[str, object]:
        """Its share of `nimactl status`."""
        if self.graph is None:
            return {"engine": self.engine, "watermark": 0, "behind": 0}
        watermark = self.graph.watermark
        behind = max(0, self._records.head() - watermark)
        known = {"engine": self.engine, "watermark": watermark, "behind": behind}
        try:
            return {**known, **self.graph.counts()}
        except NimadError as error:  # what is broken is to be shown, and not to hide the rest
            return {**known, "trouble": error.message}

    def size(self) -> int:
        """Bytes of its files."""
        return size_of(self._state / "graph")

    def rest(self) -> None:
        """Close the engine until it is asked again."""
        if self.graph is not None:
            self.graph.rest()

    def close(self) -> None:
        """Fold its log in."""
        if self.graph is not None:
            self.graph.close()


def graph_limits(config: Config) -> GraphLimits:
    """Pool and address space from the configuration, sized to the board where it says 0."""
    pool = config["graph.buffer_pool_mb"] << 20
    limits = GraphLimits.for_memory(memory.total_memory())
    return GraphLimits(
        buffer_pool_bytes=pool or limits.buffer_pool_bytes,
        max_db_size_bytes=config["graph.max_db_size_mb"] << 20,
    )
