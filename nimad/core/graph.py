"""The graph as a projection: built whole when it is asked or far behind, asked in Cypher.

Nothing else needs it: `related` is answered from the records.  So a change costs nothing here, and
an answer says how many changes of the records it does not know (`behind`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nimad import heap
from nimad.config import Config
from nimad.core.health import Health
from nimad.core.projection import Problem, Projection
from nimad.dataclass import dataclass
from nimad.errors import Degraded, EngineUnsupported, GraphFailed, GraphMemory
from nimad.graph.cypher import check_reads
from nimad.graph.database import About, GraphDatabase
from nimad.graph.files import Seal
from nimad.graph.limits import GraphLimits, check_supported
from nimad.keys import ENGINES
from nimad.probe import memory
from nimad.store import graph_rows
from nimad.store.forgotten import PurgeNote
from nimad.store.graph_rows import KINDS
from nimad.store.records import Records

log = logging.getLogger(__name__)

MAX_SECONDS = 600.0
"""Time that a question may be given at most [seconds]."""
TRIES = 5
"""How often a build begins that purges end [builds]."""
FAR_ROWS = 5000
"""Rows that must have changed, at least, before the graph is made anew in idle time [rows]."""
FAR_SHARE = 4
"""Rows for one changed row: at least a quarter of them must have changed as well [rows]."""
TABLES = {"memory": "Memory", "turn": "Turn", "relation": "Relation"}


@dataclass(frozen=True)
class GraphAnswer:
    """What a question found.

    Attributes:
        columns, rows: of JSON values.
        more: rows were left out, because of the limit or because the answer was too long.
        watermark: the last change of the records that the graph knows.
        behind: changes since then.
        built: when the graph was made [epoch ms].
        took_ms: everything, a build included.
    """

    columns: list[str]
    rows: list[list[Any]]
    more: bool
    watermark: int
    behind: int
    built: int
    took_ms: float


class Graph(Projection):
    """The graph of one state directory, or none (`engine` is "none")."""

    name = "graph"

    def __init__(
        self,
        state: Path,
        config: Config,
        records: Records,
        health: Health,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self._state, self._records, self._health, self._give_way = state, records, health, give_way
        self.engine: str = config["graph.engine"]
        kept = self.engine if self.engine != "none" else ENGINES[0]
        pool = config["graph.buffer_pool_mb"] << 20  # 0: sized to the board
        limits = GraphLimits(
            pool or GraphLimits.for_memory(memory.total_memory()).buffer_pool_bytes,
            config["graph.max_db_size_mb"] << 20,
        )
        self._database = GraphDatabase(state / "graph", kept, limits)
        self._building = threading.Lock()
        self._looked = -1  # the head at which `follow` looked last

    @property
    def pid(self) -> int | None:
        """The engine's process, while there is one."""
        return self._database.pid

    def open(self) -> None:
        """Look at what is there.  Without an engine nothing of a graph stays."""
        writable = self._records.refusal is None
        if self.engine == "none":
            if writable:
                self._database.drop()
            return
        self._database.open(sweep=writable)
        try:
            check_supported(self.engine)
        except EngineUnsupported as error:
            self._health.fail(self.name, error.message)
            log.error("%s", error.sentences)

    # --- asking ---------------------------------------------------------------------------------

    def query(
        self,
        cypher: str,
        parameters: dict[str, Any] | None = None,
        *,
        limit: int = 1000,
        seconds: float = 10.0,
        fresh: bool = False,
    ) -> GraphAnswer:
        """The answer to a question in Cypher that only reads.

        The graph is made first when there is none, and with `fresh` when it is behind.  `seconds`
        are the question's own, without that.  Raises Degraded (no engine), EngineUnsupported,
        CypherRefused, CypherTooMuch, ReplyTooLarge, GraphFailed, DiskFull.
        """
        began = time.perf_counter()
        if self.engine == "none":
            raise Degraded(part=self.name, detail="graph.engine is none in nimad.yaml")
        check_reads(cypher)
        if fresh or not self._ready():
            self._build_if_behind()
        answer = self._database.ask(cypher, parameters or {}, limit=limit, seconds=seconds)
        if answer is None:  # a purge has just dropped the file
            self._build_if_behind()
            answer = self._database.ask(cypher, parameters or {}, limit=limit, seconds=seconds)
        if answer is None:
            raise GraphFailed(detail="it was dropped while it was asked")
        seal = answer.seal
        return GraphAnswer(
            answer.columns,
            answer.rows,
            answer.more,
            seal.watermark,
            max(0, self._records.head() - seal.watermark),
            seal.built,
            (time.perf_counter() - began) * 1000,
        )

    def needs_build(self, *, fresh: bool) -> bool:
        """Whether a question would make the graph first."""
        return self._database.seal is None or (fresh and self._behind() > 0)

    @property
    def fraction(self) -> float:
        """How much of a build under way is done, from 0 to 1."""
        return self._database.fraction

    def _behind(self) -> int:
        seal = self._database.seal
        return max(0, self._records.head() - (seal.watermark if seal else 0))

    def _ready(self) -> bool:
        """Whether the file can be asked; a damaged one is set aside."""
        try:
            return self._database.start()
        except GraphMemory:
            raise
        except GraphFailed as error:
            self._set_aside(error)
            return False

    def _set_aside(self, error: GraphFailed) -> None:
        log.error("%s It is set aside and made anew.", error.message)
        self._database.set_aside(self._state / "aside")

    # --- building -------------------------------------------------------------------------------

    def _build_if_behind(self) -> None:
        with self._building:
            seal = self._database.seal
            if seal is None or seal.watermark != self._records.head():
                self._build()

    def _build(self) -> Seal:
        for _ in range(TRIES):
            with self._records.moment():
                about = About(
                    self._records.head(),
                    sum(self._records.counts().values()),
                    graph_rows.last_ids(self._records),
                )
                seal = self._database.build(
                    about, lambda: graph_rows.lines(self._records, self._give_way)
                )
            if seal is not None:
                break
            log.info("a build of the graph was given up because memories were purged")
        else:
            raise GraphFailed(detail="it was given up because memories were purged; ask again")
        self._health.restore(self.name)
        heap.give_back()
        return seal

    def rebuild(self) -> int | None:
        """Make it anew; the number of memories, None without an engine.

        Raises EngineUnsupported, GraphFailed, DiskFull; the old one stays then.
        """
        if self.engine == "none":
            return None
        with self._building:
            return self._build().rows["Memory"]

    def build_if_far_behind(self) -> bool:
        """Make it anew when much has changed since it was made; whether it was."""
        seal = self._database.seal
        if seal is None or self._records.head() == self._looked:
            return False
        self._looked = self._records.head()
        # rows that came or went since it was made: ids are never reused, so two counts tell
        last, counts = graph_rows.last_ids(self._records), self._records.counts()
        came = {kind: last[kind] - seal.last[kind] for kind in KINDS}
        went = [seal.rows[TABLES[kind]] + came[kind] - counts[KINDS[kind]] for kind in KINDS]
        changed = sum(came.values()) + sum(max(0, number) for number in went)
        if changed < max(FAR_ROWS, sum(seal.rows.values()) // FAR_SHARE):
            return False
        self.rebuild()
        return True

    # --- the other duties of a projection -------------------------------------------------------

    def follow(self) -> bool:
        """Mend what `check` found; make it anew when it is far behind, never for single changes."""
        if self.engine == "none":
            return False
        if self._health.reason(self.name) and self._database.seal is not None:
            try:
                self._database.verify()
            except GraphFailed as error:
                self._set_aside(error)
                self.rebuild()
            return False
        self.build_if_far_behind()
        return False

    def drop(self) -> None:
        """Remove every file, of every engine: it is made anew when it is asked."""
        self._database.drop()

    def scrub(self, note: PurgeNote) -> None:
        """Drop it: no byte of what is purged is left."""
        self.drop()

    def check(self) -> list[Problem]:
        """The file is what was written, and holds as much as the records when it knows them all."""
        seal = self._database.seal
        if seal is None:
            return []
        try:
            self._database.verify()
        except GraphFailed as error:
            self._health.fail(self.name, error.message)
            return [Problem(self.name, error.message, "nothing: it is made anew in idle time")]
        with self._records.moment():  # nothing comes or goes in between
            if seal.watermark != self._records.head():
                return []
            truth = self._records.counts()
        return [
            Problem(
                self.name,
                f"it has {seal.rows[TABLES[kind]]} {table}, the records {truth[table]}",
                "nimactl rebuild graph",
            )
            for kind, table in KINDS.items()
            if seal.rows[TABLES[kind]] != truth[table]
        ]

    def status(self) -> dict[str, Any]:
        """Its share of `nimactl status`."""
        seal = self._database.seal
        if seal is None:
            return {"engine": self.engine, "watermark": 0, "behind": 0, "built": None}
        known = {"watermark": seal.watermark, "behind": self._behind(), "built": seal.built}
        return {"engine": self.engine, **known, **self.counts()}

    def counts(self) -> dict[str, int]:
        """How many memories, turns and relations it has; empty when there is none."""
        seal = self._database.seal
        return {KINDS[kind]: seal.rows[TABLES[kind]] for kind in KINDS} if seal else {}

    def size(self) -> int:
        """Bytes of its files."""
        seal = self._database.seal
        return seal.bytes if seal else 0

    def close(self) -> None:
        """End the engine's process."""
        self._database.close()
