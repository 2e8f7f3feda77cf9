"""A running daemon: signals, reload, watchdog, the status line, and a clean end.

Signal handlers only set flags or start a task; whatever the daemon does, it does on the event loop
or in a thread.  At rest nothing ticks: the status line is looked at after something was done, and
every other second only while a migration is under way.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nimad import __version__, config, logs
from nimad.background.worker import Worker
from nimad.config import KEYS, Config
from nimad.core.setbacks import describe
from nimad.core.store import MemoryStore
from nimad.errors import DiskFailed, DiskFull, NimadError, StateBusy
from nimad.migrate.auto_migration import auto_migrate
from nimad.migrate.manager import MigrationManager
from nimad.model import COUNTED_STAGES, STATES_AT_REST, Stage, State
from nimad.namespaces import with_sync
from nimad.serve.access import Access
from nimad.serve.server import Limits, Server
from nimad.serve.service_verbs import Traffic
from nimad.serve.verb_table import verbs
from nimad.systemd import Notifier, answer_callers

log = logging.getLogger(__name__)

STATUS_DELAY = 0.5
"""Time after which the status line follows a change [seconds]."""
STATUS_MOVING = 2.0
"""Time between two looks at a migration under way [seconds]."""
STATUS_DEGRADED = 30.0
"""Time between two looks whether a part that is out of service has been mended [seconds]."""
BUSY_SECONDS = 10.0
"""Time of one request from which on the log says that the daemon is busy [seconds]."""
DISK_SECONDS = 3.0
"""Time between two looks whether a disk takes writes that took none at the start [seconds]."""
LONGEST_READ_PAUSE = 600.0
"""The same for records of which a part cannot be read [seconds]."""
START_SECONDS = 900.0
"""Time that a start may take, as TimeoutStartSec= in nimad.service [seconds]."""
LAST_COMMIT = 15.0
"""Time that the end waits for a migration's batch to commit [seconds]."""


def open_store(
    state: Path, settings: Config, notifier: Notifier, sockets: Sequence[socket.socket]
) -> MemoryStore:
    """The store, to be read at least, as soon as the disk lets it be opened.

    A full, read-only or failing disk may pass.  Until then the memories are served from it and
    writes refused; where they cannot be read either, clients that call meanwhile are told why, and
    the start is tried again until it is over.
    """
    told = ""
    while True:
        notifier.status(f"waiting: {told}" if told else f"opening {state}")
        try:
            return MemoryStore.open(state, settings)
        except (DiskFull, DiskFailed) as error:
            refusal = error.with_traceback(None)  # which would keep what was half opened
        why = refusal.message.rstrip(".")
        try:
            store = MemoryStore.open(state, settings, refusal)
            log.error("%s. The memories can be read. %s", why, refusal.next_step)
            return store
        except StateBusy:
            raise
        except (NimadError, OSError) as error:
            if error is not refusal:
                why += f"; and they cannot be read: {describe(error).rstrip('.')}"
        if why != told:
            told = why
            log.error("waiting: %s. %s", told, refusal.next_step)
        notifier.extend_start(2 * DISK_SECONDS + START_SECONDS)
        notifier.watchdog()
        answer_callers(sockets, refusal, DISK_SECONDS)


class Daemon:
    """One store, its background worker and its server from READY to the end.

    A store that can only be read has no background work; it is to be opened `again` once its disk
    takes writes.
    """

    def __init__(
        self,
        store: MemoryStore,
        worker: Worker,
        migrations: MigrationManager,
        notifier: Notifier,
        place: Path,
    ) -> None:
        self._store = store
        self._worker = worker
        self._migrations = migrations
        self._notifier = notifier
        self._config_path = store.config.path
        settings = store.config
        self._access = Access(
            settings["access.read_group"],
            settings["access.control_group"],
            rules=with_sync(settings["access.namespaces"], settings["sync.namespaces"]),
        )
        traffic = Traffic(
            str(place),
            lambda: self._server.clients,
            lambda: self._server.requests,
            lambda: self._server.dispatcher.counts,
        )
        self._server = Server(
            verbs(store, migrations, traffic, self._access), self._access, Limits.of(settings)
        )
        self._server.dispatcher.first = store.query_priority
        self._server.dispatcher.give_way = store.give_way
        self._server.dispatcher.before = lambda verb: self._worker.touch(watching=verb.watching)
        self._server.dispatcher.after = lambda verb: self._follow_status(
            STATUS_DELAY if verb.access == "control" else None
        )
        self._terminal_is_gone = logs.terminal_watch()
        self._line_due: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._unread = ""
        """Why the records could not be described when that was tried last."""
        self._stopped_by: signal.Signals | None = None
        self.again = False
        """After `run`: whether the store is to be opened anew, and served from then on."""

    async def run(self, listeners: Sequence[socket.socket]) -> bool:
        """Serve until a signal; True when nothing is under way any more, False when threads are."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(1, "aside"))
        self._stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._asked_to_stop, number)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(self._reload()))
        self._server.start(listeners)
        line, again = await asyncio.to_thread(self._look)
        gc.freeze()  # what stays for good is not walked again: that would take 30 ms at a time
        self._notifier.ready(line)
        log.info("nimad %s is ready: %s", __version__, line)
        self._follow_status(again)
        if self._store.records.refusal is None:
            self._worker.start()
        else:
            self._begin(self._await_disk())
        self._begin(asyncio.to_thread(self._settle_in))
        if self._notifier.watchdog_seconds:
            self._begin(self._watch(self._notifier.watchdog_seconds))
        await self._stop.wait()
        waiting = len(self._server.dispatcher.waiting)
        log.info("stopping: %d request(s) under way", waiting)
        if not self.again:
            self._notifier.stopping(f"stopping, {waiting} requests under way")
        if self._line_due is not None:
            self._line_due.cancel()
        stopped = self._loop.run_in_executor(None, self._worker.stop)
        drained = await self._server.drain()
        try:
            await asyncio.wait_for(stopped, LAST_COMMIT)
        except TimeoutError:
            log.warning("a migration did not stop in time; its last commit counts")
            return False
        for task in self._tasks:
            task.cancel()
        return drained

    def _settle_in(self) -> None:
        """What nobody needs to wait for: the first question, should it come sooner, does the first
        part itself."""
        try:
            self._store.semantic.settle()
            self._store.recall.warm_up()
        except NimadError as error:  # as each question will be told
            log.error("%s", error.sentences)
        try:
            if self._store.records.refusal is None:
                # without an idle minute each start would have more to encode
                self._store.semantic.seal_bulk()
                auto_migrate(self._store, self._migrations)
        except NimadError as error:
            log.error("%s", error.sentences)

    async def _await_disk(self) -> None:
        """End, to be started again, once the disk takes writes and gives what is on it.  To read it
        all takes long, so that is tried ever less often."""
        pause = DISK_SECONDS
        while True:
            if await asyncio.to_thread(self._store.takes_writes):
                if await asyncio.to_thread(self._store.reads_whole):
                    break
                pause = min(2 * pause, LONGEST_READ_PAUSE)
            await asyncio.sleep(pause)
        if not self._stop.is_set():
            log.info("the disk takes writes again")
            self.again = True
            self._stop.set()

    def _begin(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- signals ------------------------------------------------------------------------------

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._stopped_by is not None:
            log.warning("stopped at once; what was acknowledged is safe")
            logging.shutdown()
            os._exit(128 + number)
        self._stopped_by, self.again = number, False
        self._stop.set()

    async def _reload(self) -> None:
        """Read the configuration again; a bad file changes nothing."""
        if self._terminal_is_gone():  # closing a terminal hangs its programs up
            self._asked_to_stop(signal.SIGTERM)
            return
        self._notifier.reloading()
        try:
            await asyncio.to_thread(self._apply, config.load(self._config_path))
        except NimadError as error:
            why = error.message.rstrip(".")
            log.error("%s. The configuration stays as it was. %s", why, error.next_step)
        self._notifier.ready((await asyncio.to_thread(self._look))[0])

    def _apply(self, found: Config) -> None:
        old = self._store.config
        changed = {name for name in KEYS if found[name] != old[name]}
        live = {name for name in changed if KEYS[name].live}
        values = {**old.values, **{name: found[name] for name in live}}
        self._store.configure(Config(values, found.path))
        self._worker.retry()
        logs.set_level(values["log_level"])
        groups = values["access.read_group"], values["access.control_group"]
        rules = with_sync(values["access.namespaces"], values["sync.namespaces"])
        self._access.configure(*groups, rules)
        applied = ", ".join(f"{name} = {values[name]!r}" for name in sorted(live))
        log.info("the configuration was read again: %s", applied or "nothing to apply")
        if waiting := sorted(changed - live):
            log.warning("changed, but only a restart applies it: %s", ", ".join(waiting))

    # --- watchdog and status ------------------------------------------------------------------

    async def _watch(self, seconds: float) -> None:
        """Vouch for the serving path after it has answered, never because time has passed.  Busy is
        not hung: the query to itself waits in no queue, whatever the clients ask."""
        dispatcher = self._server.dispatcher
        while True:
            await asyncio.sleep(seconds)
            try:
                async with asyncio.timeout(seconds):
                    answered = await dispatcher.self_query()
            except (TimeoutError, NimadError):
                answered = False
            if answered:
                self._notifier.watchdog()
                if (busy := dispatcher.busy) > BUSY_SECONDS:
                    log.warning("busy for %.0f s: %s", busy, dispatcher.waiting)
            else:
                log.error("hung: a query to itself was not answered: %s", dispatcher.waiting)

    def _follow_status(self, seconds: float | None) -> None:
        if seconds is not None and self._line_due is None and not self._stop.is_set():
            self._line_due = self._loop.call_later(seconds, lambda: self._begin(self._tell()))

    async def _tell(self) -> None:
        try:
            line, again = await asyncio.to_thread(self._look)
        finally:
            self._line_due = None
        self._notifier.status(line)
        self._follow_status(again)

    def _look(self) -> tuple[str, float | None]:
        """The status line, and when it may change by itself [seconds]; None: not at all.

        Records of which a part cannot be read are served as far as they can be: nothing that only
        describes them may end the daemon.
        """
        degraded = self._store.degraded()
        try:
            memories = self._store.records.counts()["memories"]
            sources = self._migrations.sources()
        except NimadError as error:
            if error.message != self._unread:
                log.error("%s", error.sentences)
            self._unread = error.message
            return error.message.rstrip("."), STATUS_DEGRADED
        self._unread = ""
        again = STATUS_DEGRADED if degraded else None
        if not resting(sources):
            again = STATUS_MOVING
        return status_line(memories, sources, degraded), again


def status_line(memories: int, sources: list[dict[str, Any]], degraded: dict[str, str]) -> str:
    """What `systemctl status` shows: "4,112 memories, 1 source verified, idle"."""
    parts = ["1 memory" if memories == 1 else f"{memories:,} memories"]
    states: Counter[str] = Counter()
    for source in sources:
        state = source["state"].replace("_", " ")
        if state in PROGRESS:
            done, total = source[PROGRESS[state]], source["total"]
            parts.append(f"{source['name']}: {state} {done:,} of {total:,}")
        else:
            states[state] += 1
    for state, number in sorted(states.items()):
        parts.append(f"{number} source{'s' if number > 1 else ''} {state}")
    parts += [f"{part} out of service" for part in sorted(degraded)]
    if resting(sources):
        parts.append("idle")
    return ", ".join(parts)


def resting(sources: list[dict[str, Any]]) -> bool:
    """True when no source moves on by itself."""
    return all(source["state"] in STATES_AT_REST for source in sources)


_UNDER_WAY = (State.COPYING, State.ENCODING, State.LINKING, State.VERIFYING)
PROGRESS: dict[str, Stage] = dict(zip(_UNDER_WAY, COUNTED_STAGES, strict=True))
"""States of a source on its way, and the number that tells how far."""
