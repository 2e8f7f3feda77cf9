"""The last stage: everything is read again and compared, row by row, with the snapshot.

A memory is turned back into the row it was made of (legacy/mapping.py), and both rows are compared
as bytes, every column and type.  Relations and turns are compared with what the snapshot says of
them.  Besides, every memory must have its vector, and every hypervector its compact form, which
must point where it points.  Vectors that a lazy source has not made yet are counted
as waiting, and it is not called verified before the last of them is.  Comparing changes nothing.

What is not compared: rows that were quarantined, forgotten on request, left out on request, or
changed or deleted in the source after they were taken over; each kind is counted or noted.
"""

from __future__ import annotations

import hashlib
import json
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.dense.encoder import code
from nimad.dense.files import Opened
from nimad.dense.spectrum import Shape, to_spectrum
from nimad.dense.training import STEP_VALUES, Learned, unit
from nimad.errors import VerifyFailed
from nimad.legacy.hostile_reader import in_steps
from nimad.legacy.mapping import Mapper
from nimad.legacy.source import DenseRows, LegacyEdge, LegacyNode, LegacySource, LegacyTurn, Row
from nimad.legacy.values import Value, all_identical, canonical, identical
from nimad.migrate import link_stage
from nimad.migrate.hypervector_stage import memories_of
from nimad.migrate.run import Run
from nimad.model import Stage, now_ms
from nimad.store import sources
from nimad.store.sources import Source

PAGE, SPARING_PAGE = 250, 32
"""Memories compared at a time, 30 us each, and where somebody asks; a step are PAGE."""
RELATIONS_PAGE, RELATION_PAGES = 1000, 10
"""Least, and number of pages that all are read in: each costs a look at every relation, for there
is no index by key."""
MOST_RELATIONS = 10_000
"""Largest such page.  What one takes, 0.7 kB a relation, lies among objects that stay, and is not
given back."""
LISTED = 100
"""Differences told one by one; all are counted."""
LEAST_COSINE = 0.8
"""Between a hypervector and its compact form.  Episodes have .98 and more; vectors of few strong
frequencies, which suit the quantiser less, have .93; a wrong or damaged one has about 0.  What is
below is coded once more: where that gives the same words, it is what its compact form can be."""
REMOVED = "no longer in the source; it is kept here"


@dataclass
class Tally:
    """What was found of one kind of row."""

    expected: int = 0
    found: int = 0
    identical: int = 0
    differing: int = 0
    missing: int = 0
    added: int = 0

    @property
    def wrong(self) -> int:
        """Rows that are not as they must be."""
        return self.differing + self.missing + self.added


@dataclass
class Findings:
    """The result of a comparison; `digest` is SHA-256 over the rows of the identical memories."""

    memories: Tally = field(default_factory=Tally)
    relations: Tally = field(default_factory=Tally)
    turns: Tally = field(default_factory=Tally)
    vectors_missing: int = 0
    vectors_waiting: int = 0
    hypervectors: Tally = field(default_factory=Tally)
    digest: str = ""
    differences: list[dict[str, Any]] = field(default_factory=list)
    took_ms: float = 0.0

    @property
    def wrong(self) -> int:
        """Rows that are not as they must be, in all."""
        rows = self.memories.wrong + self.relations.wrong + self.turns.wrong
        return rows + self.vectors_missing + self.hypervectors.wrong

    def differ(self, kind: str, key: int | str, name: str, detail: str) -> None:
        """Note a difference; no text of a memory stands in it."""
        if len(self.differences) < LISTED:
            told = {"kind": kind, "id": key, "field": name, "detail": detail}
            self.differences.append(told)

    def summary(self) -> dict[str, Any]:
        """As the protocol shows it, and as the ledger keeps it."""
        return {"ok": not self.wrong, **asdict(self), "took_ms": round(self.took_ms, 3)}


def verify(run: Run) -> Iterator[None]:
    """The stage: compare, keep the findings, and call the source verified or failed."""
    source = run.source()
    whole = not source.note("partial")
    graph = run.graph() if whole else run.open_source(alone=True)
    comparison = Comparison(run.store, source, graph, run.give_way, whole, lambda: run.spares)
    for compared in comparison.steps():
        run.progress.ahead[Stage.VERIFIED] = compared
        yield
    graph.close()
    findings = comparison.findings
    if whole:
        with run.store.records.write() as tx:
            removed = [("removed", key, REMOVED) for key in comparison.removed]
            sources.quarantine(tx, source.id, removed)
            report = source.with_notes(verification=findings.summary())
            sources.update(tx, source.id, report=report)
    notes = sources.count_notes(run.store.records, source.id)
    if changed := notes["changed"] + notes["removed"]:
        run.log.warn(f"{source.name}: {changed} rows changed or went in the source since")
    if findings.wrong:
        raise VerifyFailed(name=source.name, differences=findings.wrong)
    with run.store.records.write() as tx:
        still_there = (
            "SELECT count(*) FROM memories m WHERE source = ?1 AND NOT EXISTS (SELECT 1 FROM"
            " quarantine q WHERE q.source = ?1 AND q.kind = 'removed' AND q.key = m.source_key)"
        )
        number = tx.rows(still_there, (source.id,))[0][0] - findings.vectors_waiting
        stage = Stage.LAZY if findings.vectors_waiting else Stage.VERIFIED
        report = run.source().with_notes(now=None, partial=None)
        ended = {"stage": stage, "verified": number, "finished": now_ms()}
        sources.update(tx, source.id, **ended, report=report)


class Comparison:
    """One source against one snapshot; `steps` does the work page by page.

    Not `whole`: the graph holds only what came last, and says nothing of what it does not hold.
    """

    def __init__(
        self,
        store: MemoryStore,
        source: Source,
        graph: LegacySource,
        give_way: Callable[[], None] = lambda: None,
        whole: bool = True,
        spares: Callable[[], bool] = lambda: True,
    ) -> None:
        self._whole, self._spares = whole, spares
        self.findings = Findings()
        self.removed: list[int] = []
        self._store, self._source, self._graph = store, source, graph
        self._give_way = give_way
        self._mapper: Mapper = graph.mapper(source.name)
        kinds = ("forgotten", "changed")
        keys = sources.quarantined_keys
        self._forgotten, self._changed = (keys(store.records, source.id, kind) for kind in kinds)
        self._seen = array("q")  # keys: a set of them would take ten times as much
        self._digest = hashlib.sha256()

    def steps(self) -> Iterator[int]:
        """Compare a page, then yield how many memories have been compared so far."""
        began = time.perf_counter()
        after: int | None = None
        told = 0
        while page := self._graph.nodes(self._mapper, after, self._page):
            self._give_way()
            after = page[-1].key
            self._seen.extend(row.key for row in page)
            self._compare([row for row in page if isinstance(row, LegacyNode)])
            if len(self._seen) >= told + PAGE:
                yield (told := len(self._seen))
        yield len(self._seen)
        if self._whole:
            sql = "SELECT source_key FROM memories WHERE source = ?"
            found = self._store.records.ids_of(sql, (self._source.id,))
            strangers = np.setdiff1d(found, np.array(self._seen, np.int64)).tolist()
            self.findings.memories.found += len(strangers)
            if self._source.note("rerun"):
                self.removed = strangers
            self._leftover("memory", self.findings.memories, strangers)
        self._vectors()
        yield len(self._seen)
        for _ in chain(self._hypervectors(), self._relations(), self._turns()):
            yield len(self._seen)
        self.findings.digest = self._digest.hexdigest()
        self.findings.took_ms = (time.perf_counter() - began) * 1000

    # --- memories -----------------------------------------------------------------------------

    @property
    def _page(self) -> int:
        return SPARING_PAGE if self._spares() else PAGE

    def _compare(self, rows: list[LegacyNode]) -> None:
        records, tally = self._store.records, self.findings.memories
        memories = sources.memories(records, self._source.id, [row.key for row in rows])
        left_out = self._source.note("start_after")
        ours: list[Row] = []
        theirs: list[LegacyNode] = []
        for row in in_steps(rows, self._give_way):
            memory = memories.get(row.key)
            if memory is None:
                asked_for = left_out is not None and row.key <= left_out
                if row.key not in self._forgotten and not asked_for:
                    tally.expected += 1
                    tally.missing += 1
                    self.findings.differ("memory", row.key, "", "it is not in the records")
                continue
            tally.found += 1
            if row.key not in self._changed:
                ours.append(self._mapper.row(memory))
                theirs.append(row)
        tally.expected += len(theirs)
        if not all_identical(ours, [row.row for row in theirs]):
            pairs = zip(ours, theirs, strict=True)
            theirs = [row for mine, row in pairs if self._is_identical(mine, row)]
        tally.identical += len(theirs)
        self._digest.update(canonical(chain.from_iterable([row.row for row in theirs])))

    def _is_identical(self, mine: Row, row: LegacyNode) -> bool:
        """Whether a memory is its row; notes in which columns it is not."""
        if identical(mine, row.row):
            return True
        self.findings.memories.differing += 1
        columns = zip(self._mapper.columns, mine, row.row, strict=True)
        for column, here, there in columns:
            if canonical([here]) != canonical([there]):
                told = f"{describe_value(here)} here, {describe_value(there)} in the source"
                self.findings.differ("memory", row.key, column, told)
        return False

    def _vectors(self) -> None:
        mine = sources.all_memory_ids(self._store.records, self._source.id)
        lost = np.setdiff1d(mine, self._store.blocks.ids(), assume_unique=True)
        if self._source.strategy == "lazy":  # what its cursor has not reached was never encoded
            waiting = lost > self._source.encode_cursor
            self.findings.vectors_waiting = int(waiting.sum())
            lost = lost[~waiting]
        if self._store.semantic.due or self._store.health.reason("blocks"):
            return  # known already, told elsewhere, and on its way to be mended
        self.findings.vectors_missing = len(lost)
        for number in lost[:LISTED]:
            self.findings.differ("memory", int(number), "vector", "it has none in the blocks")

    # --- hypervectors -------------------------------------------------------------------------

    def _hypervectors(self) -> Iterator[None]:
        """Compare every hypervector of the snapshot that belongs to a memory, a few at a time."""
        dense = self._graph.dense()
        if dense is None:
            return
        keys, ids = memories_of(self._store.records, self._source.id, dense)
        tally = self.findings.hypervectors
        tally.expected = len(keys)
        missing = ~np.isin(ids, self._store.dense.files.ids(self._source.id))
        tally.missing = int(np.count_nonzero(missing))
        for key in keys[missing]:
            self.findings.differ("hypervector", int(key), "", "it was not converted")
        yield
        shape = Shape.of(dense.dimension, dense.block_size)
        for each in self._store.dense.files.rows(self._source.id):
            if each.file.shape == shape:
                yield from self._compare_file(dense, each, keys, ids)

    def _compare_file(
        self, dense: DenseRows, each: Opened, keys: NDArray[np.int64], ids: NDArray[np.int64]
    ) -> Iterator[None]:
        shape, basis = each.file.shape, each.basis.in_memory()
        learned, tally = Learned(each.basis, each.file.plan), self.findings.hypervectors
        _, rows, places = np.intersect1d(each.file.ids, ids, return_indices=True)
        page = max(1, STEP_VALUES // shape.size)
        for first in range(0, len(rows), page):
            self._give_way()
            here, there = rows[first : first + page], keys[places[first : first + page]]
            truth, _ = unit(to_spectrum(dense.rows(there), shape))
            stored, _ = unit(each.file.spectra(here, basis))
            cosines = np.einsum("ij,ij->i", truth, stored)
            zero = ~truth.any(axis=1)
            right = (cosines >= LEAST_COSINE) | (zero & (each.file.norms[here] == 0))
            poor = np.flatnonzero(~right)
            if len(poor):  # is it, word by word, what coding its vector gives?
                coded = each.file.coded(here[poor])
                again = code(learned, coded.ids, dense.rows(there[poor]))
                pairs = zip(coded.words, again.words, strict=True)
                right[poor] = [np.array_equal(old, new) for old, new in pairs]
            tally.found += len(right)
            tally.identical += int(np.count_nonzero(right))
            tally.differing += int(np.count_nonzero(~right))
            for key, cosine in zip(there[~right], cosines[~right], strict=True):
                detail = f"its compact form has cosine {cosine:.3f}"
                self.findings.differ("hypervector", int(key), "", detail)
            yield

    # --- relations and turns ------------------------------------------------------------------

    def _relations(self) -> Iterator[None]:
        tally, after = self.findings.relations, None
        count = "SELECT count(*) FROM relations WHERE source = ?"
        tally.found = int(self._store.records.value(count, (self._source.id,)))
        matched: set[int] = set()
        size = min(max(tally.found // RELATION_PAGES, RELATIONS_PAGE), MOST_RELATIONS)
        while page := self._graph.edges(after, size):
            self._give_way()
            after = page[-1].key
            edges = [edge for edge in page if isinstance(edge, LegacyEdge)]
            ends = [key for edge in edges for key in (edge.source, edge.target)]
            ids = sources.memory_ids(self._store.records, self._source.id, ends)
            self._give_way()
            rows = self._store.records.rows(
                "SELECT r.source_key, r.origin, r.target, n.name, r.weight, r.extra FROM relations"
                " r JOIN names n ON n.id = r.relation"
                " WHERE r.source = ? AND r.source_key BETWEEN ? AND ?",
                (self._source.id, page[0].key, after),
            )
            self._give_way()
            stored = {
                key: (*values, json.loads(extra) if extra else None) for key, *values, extra in rows
            }
            due = {
                edge.key: (ids[edge.source], ids[edge.target], *edge[3:])
                for edge in edges
                if edge.source in ids and edge.target in ids
            }
            tally.expected += len(due)
            matched.update(due)
            self._give_way()
            if due == stored:
                tally.identical += len(due)
            else:
                for key, values in due.items():
                    self._judge("relation", tally, key, values, stored.get(key))
            yield
        if tally.found > tally.identical + tally.differing:
            mine = sources.relation_keys(self._store.records, self._source.id)
            self._leftover("relation", tally, sorted(mine - matched))

    def _turns(self) -> Iterator[None]:
        tally, after = self.findings.turns, None
        known = self._store.records.rows(
            "SELECT source_key FROM turns WHERE source = ? AND listed", (self._source.id,)
        )
        left = {key for (key,) in known}
        tally.found = len(left)
        # those that were left out because another one has their identity
        sql = "SELECT key FROM quarantine WHERE source = ? AND kind = 'turn' AND reason GLOB ?"
        found = self._store.records.rows(sql, (self._source.id, f"{link_stage.SAME_NAME}*"))
        refused = {int(key) for (key,) in found}
        while page := self._graph.turns(after, PAGE):
            self._give_way()
            after = page[-1].key
            turns = [turn for turn in page if isinstance(turn, LegacyTurn)]
            keys = [key for turn in turns for key in link_stage.member_keys(turn)]
            ids = sources.memory_ids(self._store.records, self._source.id, keys)
            names = [turn.name for turn in turns]
            stored = link_stage.stored_turns(self._store.records, self._source.id, names)
            for legacy in in_steps(turns, self._give_way):
                left.discard(legacy.key)
                here = stored[legacy.key][1] if legacy.key in stored else None
                members = set(link_stage.member_keys(legacy))
                gone = members & self._forgotten
                all_gone = here is None and gone and gone == members  # and the turn with them
                if legacy.key in refused or all_gone:
                    continue
                tally.expected += 1
                due = link_stage.turn_values(*link_stage.make_turn(legacy, ids))
                if gone and here is not None:  # what was forgotten leaves a gap, and no note of it
                    due, here = due[:-1], here[:-1]
                self._judge("turn", tally, legacy.key, due, here)
            yield
        self._leftover("turn", tally, sorted(left))

    def _judge(self, kind: str, tally: Tally, key: int, due: tuple[Any, ...], found: Any) -> None:
        if found is None:
            tally.missing += 1
            self.findings.differ(kind, key, "", "it is not in the records")
        elif found == due:
            tally.identical += 1
        else:
            tally.differing += 1
            self.findings.differ(kind, key, "", "it does not say what the source says")

    def _leftover(self, kind: str, tally: Tally, keys: list[int]) -> None:
        """Rows here that the snapshot does not have."""
        if self._source.note("rerun") or not self._whole:
            return
        tally.added += len(keys)
        for key in keys:
            self.findings.differ(kind, key, "", "it is not in the source")


def describe_value(value: Value) -> str:
    """What a value is, without saying it."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"{len(value)} characters"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return repr(value)
