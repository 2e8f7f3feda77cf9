"""The face of the migrations: what the verbs of the protocol ask for, on one store.

What a source needs is imported when there is one: most starts need none of it.

All that changes a source takes turns (`_turn`): the background thread for the length of a batch,
a verb for the length of its call.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from nimad.background.worker import Worker
from nimad.core.store import MemoryStore
from nimad.disk.durable import crash_point
from nimad.disk.handed_over import check_handed_over
from nimad.errors import Busy, NotFound, UsageError
from nimad.legacy.values import FIRST_ID
from nimad.migrate import snapshots
from nimad.migrate.encode_on_hit import EncodeOnHit
from nimad.migrate.log import MigrationLog
from nimad.migrate.pipeline import MigrationJob, Pipeline
from nimad.model import LAYERS, AttachRequest, Stage
from nimad.probe import memory
from nimad.store import source_delta, sources
from nimad.store.sources import Source


class MigrationManager:
    """Attaches sources and moves them in; safe to use from many threads.

    Its jobs are done by the worker once that is started; without a thread (embedded) `finish` does
    everything that is due in the calling thread.  `moved` is called after each batch of a source
    that waits for no idle moment.
    """

    def __init__(
        self, store: MemoryStore, worker: Worker, moved: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self.worker = worker
        self._log = MigrationLog(store.state / "migration.log")
        self._turn = threading.RLock()
        self._pipeline = Pipeline(store, self._log, self._turn, worker.stopping)
        self._encode_on_hit = EncodeOnHit(store, self._turn, worker.clock)
        self._encode_on_hit.wake = worker.wake
        store.on_returned = self._encode_on_hit.seen
        self._job = MigrationJob(
            store, worker, self._pipeline, self._encode_on_hit, self._log, moved
        )
        worker.add(self._encode_on_hit)
        worker.add(self._job)
        for name in snapshots.sweep(store):
            self._log.info(f"removed {name}, which an interrupted migration had left")

    def finish(self) -> None:
        """Move every source on until nothing is due, here and now.  Raises what stops one."""
        while not self.worker.stopping.is_set() and (
            due := sources.due_sources(self._store.records)
        ):
            self._pipeline.advance(due[0])
        self._pipeline.reset()
        while not self.worker.stopping.is_set() and self._encode_on_hit.due_in() is not None:
            self._encode_on_hit.step()
        self._encode_on_hit.look(sources.all_sources(self._store.records))

    # --- verbs --------------------------------------------------------------------------------

    def attach(self, fd: int, asked: AttachRequest) -> dict[str, Any]:
        """Take over a snapshot, or (on a dry run) only report on it; see migrate/attachment.py."""
        from nimad.migrate import attachment

        config = self._store.config
        if asked.strategy is None:
            asked = replace(asked, strategy=config["migration.strategy"])
        if asked.batch_size is None:
            asked = replace(asked, batch_size=config["migration.batch_size"])
        with snapshots.received(self._store, fd, asked) as copy, self._my_turn():
            source, reply = attachment.attach(self._store, copy, asked)
            if source is not None and not asked.dry_run:
                self._pipeline.reset()
                self._encode_on_hit.needed = True
                layers = Counter[str]()  # names of its own are for no log, which no purge reaches
                for layer, number in reply["report"]["layers"].items():
                    layers[layer if layer in LAYERS else "others"] += number
                self._log.info(
                    f"Source: {source.name}, {source.total} nodes, layers: {dict(layers)}"
                )
        if not asked.dry_run:
            self._job.retry()
        return reply

    def append(self, fd: int, *, name: str, sha256: str, size: int) -> dict[str, Any]:
        """Take over what a followed source got since; see migrate/delta.py."""
        from nimad.migrate import delta

        sent = delta.read(self._store, fd, sha256, size)
        with self._my_turn():
            reply = delta.apply_delta(self._store, sent, name)
            if reply["taken"]:
                self._pipeline.reset()
                self._encode_on_hit.needed = True
        self._job.retry()
        return reply

    def status(self, name: str | None = None) -> dict[str, Any]:
        """Every source, or one, and what holds them up.  Raises NotFound."""
        return {
            "sources": self.sources(name),
            "idle": (because := self.worker.idle.because()) is None,
            "because": because,
            "free_memory_bytes": memory.available_memory(),
        }

    def sources(self, name: str | None = None) -> list[dict[str, Any]]:
        """How far every source is, or one.  Raises NotFound."""
        records = self._store.records
        wanted = sources.all_sources(records) if name is None else [sources.by_name(records, name)]
        if not wanted:
            return []
        from nimad.migrate.source_status import status_of

        run = self._pipeline.run
        runs = {} if run is None else {run.source_id: run}
        return [status_of(self._store, each, runs.get(each.id)) for each in wanted]

    def pause(self, names: Sequence[str] | None = None) -> list[str]:
        """Stop working on these (None: all that are under way); the names that are paused now."""
        with self._my_turn():
            chosen = self._chosen(names, lambda source: source.stage.moving)
            self._change(chosen, paused=1)
            self._pipeline.reset()
        for source in chosen:
            self._log.info(f"{source.name}: paused")
        return [source.name for source in chosen]

    def resume(self, names: Sequence[str] | None = None) -> list[str]:
        """Go on with these (None: all that were stopped); the names that go on now."""
        with self._my_turn():
            chosen = self._chosen(names, lambda source: bool(source.paused or source.error))
            chosen = [source for source in chosen if source.stage.moving]
            self._change(chosen, paused=0, error=None)
        self._job.retry()
        return [source.name for source in chosen]

    def now(self, names: Sequence[str] | None = None) -> list[str]:
        """Let these (None: all under way) wait for no idle moment until they are done.

        It outlasts a restart.  Returns the names that go on now; raises NotFound, and Busy for a
        named one that nothing is due for: it is paused, has failed, or is done.
        """
        with self._my_turn():
            chosen = self._chosen(names, lambda source: source.is_due)
            for source in chosen:
                if not source.is_due:
                    raise Busy(detail=f"nothing of {source.name} is due: {source.state}")
            for source in chosen:
                sources.change(self._store.records, source.id, report=source.with_notes(now=True))
            self._pipeline.reset()  # a batch may take longer now
        for source in chosen:
            self._log.info(f"{source.name}: goes on now, idle or not")
        self._job.retry()
        return [source.name for source in chosen]

    def verify(self, name: str) -> dict[str, Any]:
        """Compare every row with the snapshot.

        Raises NotFound (no such source, or its backup was deleted), Busy while it is under way.
        """
        from nimad.migrate.run import Run
        from nimad.migrate.verification import Comparison

        source = sources.by_name(self._store.records, name)
        if source.stage not in (Stage.LINKED, Stage.VERIFIED, Stage.LAZY):
            raise Busy(detail=f"{name} is still {source.state}; verify it when it is done")
        compared, total = 0, max(1, source.total)
        told = self._store.under_way.tell("migrate.verify", lambda: compared / total)
        with Run.of(self._store, source, self._log) as run, told:
            comparison = Comparison(self._store, source, run.graph(), run.give_way)
            for done in comparison.steps():
                compared = done
                if self.worker.stopping.is_set():
                    raise Busy(detail="it is stopping")
        return {
            "name": name,
            **comparison.findings.summary(),
            "quarantined": sources.count_quarantined(self._store.records, source.id),
            **sources.count_notes(self._store.records, source.id),
        }

    def rollback(self, name: str) -> dict[str, Any]:
        """Remove exactly what came from that source, and its backup.  Raises NotFound."""
        from nimad.migrate import rollback
        from nimad.migrate.run import Run

        with self._my_turn():
            source = sources.by_name(self._store.records, name)
            if source.stage == Stage.ROLLED_BACK:
                raise UsageError(detail=f"{name} is rolled back already")
            self._pipeline.reset()
            removed = rollback.removed(self._store, source)
            rollback.begin(self._store, source)
            run = Run.of(self._store, sources.by_id(self._store.records, source.id), self._log)
            for _ in rollback.roll_back(run):
                pass
        self._log.info(f"{name}: rolled back, {removed['memories']} memories removed")
        self._store.on_change()
        return {"name": name, "removed": removed}

    def quarantine(self, name: str, offset: int, limit: int) -> dict[str, Any]:
        """`limit` rows, from `offset`, that were not taken over, or not whole, with the reasons, by
        kind and key.  Raises NotFound."""
        records = self._store.records
        source = sources.by_name(records, name)
        return {
            "name": name,
            "total": sources.count_quarantined(records, source.id),
            "rows": sources.quarantine_rows(records, source.id, limit, offset),
        }

    def retry_quarantined(self, name: str) -> dict[str, Any]:
        """Look at those rows again.  Raises NotFound (the backup, too), Busy while it is under way.

        One transaction sends the source back to its first stage, where every row of the snapshot is
        looked at again and what is here already stays as it is (see copy_stage.py).
        """
        with self._my_turn():
            self._pipeline.reset()
            source = sources.by_name(self._store.records, name)
            if source.stage not in (Stage.LINKED, Stage.VERIFIED):
                raise Busy(detail=f"{name} is {source.state}; try again when it is done")
            snapshots.path_of(self._store, source)
            retried = sources.count_quarantined(self._store.records, source.id)
            if retried:
                report = source.with_notes(rerun=True, verification=None)
                begin = {**sources.BEGIN, "node_cursor": source.note("start_after", FIRST_ID)}
                begin |= {"started": None, "finished": None, "report": report}
                sources.change(self._store.records, source.id, **begin)
                crash_point("migrate.retried")
        self._log.info(f"{name}: {retried} quarantined rows are looked at again")
        self._job.retry()
        return {"name": name, "retried": retried}

    def restore(self, name: str, fd: int) -> dict[str, Any]:
        """Write the backup into the empty file behind `fd`.  Raises NotFound, UsageError, ..."""
        check_handed_over(fd, "migrate.restore", self._store.state, writable=True)
        source = sources.by_name(self._store.records, name)
        return snapshots.write_backup(self._store, source, fd)

    def forget_backup(self, name: str) -> dict[str, Any]:
        """Delete the snapshot that was kept.  Raises NotFound, Busy while it is still needed."""
        with self._my_turn():
            source = sources.by_name(self._store.records, name)
            if source.stage.moving:
                raise Busy(detail=f"{name} is still {source.state} and needs its backup")
            if source.snapshot is None:
                raise NotFound(kind="backup of source", id=name)
            with self._store.records.write() as tx:
                sources.update(tx, source.id, snapshot=None)
                source_delta.forget(tx, source.id)
            freed = snapshots.delete(self._store, source.snapshot)
        self._log.info(f"{name}: the backup was deleted")
        return {"name": name, "freed_bytes": freed}

    # --- helpers ------------------------------------------------------------------------------

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        with self.worker.hold(), self._turn:
            yield

    def _change(self, chosen: Sequence[Source], **fields: Any) -> None:
        with self._store.records.write() as tx:
            for source in chosen:
                sources.update(tx, source.id, **fields)

    def _chosen(self, names: Sequence[str] | None, due: Callable[[Source], bool]) -> list[Source]:
        """The named sources, each must exist; without names, those that `due` picks."""
        if names is not None:
            return [sources.by_name(self._store.records, name) for name in names]
        return [source for source in sources.all_sources(self._store.records) if due(source)]
