"""The command `nimad`: options, the order of the start, and the exit code.

The order: configuration, state (lock, recovery), socket, READY, warm-up.  A client that connects
to an activated socket before READY waits in the kernel's queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from nimad import config, heap, logs, systemd
from nimad.background.dream_job import DreamJob
from nimad.background.maintenance_job import MaintenanceJob, WordsJob
from nimad.background.retention_job import RetentionJob
from nimad.background.worker import Worker
from nimad.closing import let_go
from nimad.config import KEYS, Config
from nimad.core.store import MemoryStore
from nimad.dataclass import dataclass
from nimad.errors import Busy, Interrupted, NimadError
from nimad.lifecycle import Daemon, open_store
from nimad.migrate.manager import MigrationManager
from nimad.serve.dispatch import describe
from nimad.serve.listen import group_of, listen_at

log = logging.getLogger("nimad")

SWITCH_SECONDS = 0.0002
"""Time after which a thread that computes in Python lets others run [seconds].  With the default of
0.005 a ping beside a busy thread took 5.4 ms instead of 1.5 ms (median), and a query waits so long
each time that it comes back from SQLite or a kernel."""


@dataclass
class Options:
    """What the command line asks for; see nimad/options.py."""

    config: Path | None = None
    state: Path | None = None
    socket: Path | None = None
    foreground: bool = False
    check_config: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; its exit code."""
    options = Options()
    if given := sys.argv[1:] if arguments is None else arguments:
        from nimad.options import parser  # the unit gives none

        parser().parse_args(given, options)
    os.umask(0o077)
    logs.set_up(options.foreground)
    notifier = systemd.Notifier()
    try:
        settings = config.load(options.config)
        logs.set_level(settings["log_level"])
        if options.check_config:
            where = settings.path or "no file: every key has its default"
            print(f"The configuration is fine ({where}).")
            for name, key in KEYS.items():
                if settings[name] != key.default:
                    print(f"  {name}: {settings[name]!r} (default {key.default!r})")
            return 0
        with contextlib.suppress(OSError):  # what `ps` and `top` show
            Path("/proc/self/comm").write_text("nimad", encoding="utf-8")
        heap.keep_small()
        sys.setswitchinterval(SWITCH_SECONDS)
        return _run(options, settings, notifier)
    except KeyboardInterrupt:
        return Interrupted.exit
    except NimadError as error:
        log.error("%s", error.sentences)
        notifier.status(f"failed: {error.message}")
        if error.exit in systemd.FINAL_EXITS:
            systemd.turn_callers_away()
        return error.exit
    except Exception as error:
        frames = "".join(traceback.format_tb(error.__traceback__))
        log.critical("nimad cannot go on: %s\n%s", describe(error), frames)
        return NimadError.exit
    finally:
        let_go()


def _run(options: Options, settings: Config, notifier: systemd.Notifier) -> int:
    state = (options.state or config.default_state()).absolute()
    place = (options.socket or config.default_socket()).absolute()
    sockets = systemd.listening_sockets()
    again = True
    with contextlib.ExitStack() as listening:
        while again:
            # a reload that comes too early is none; until then, TERM simply ends the process
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            store = open_store(state, settings, notifier, sockets)
            with contextlib.closing(store):
                if not sockets:
                    named = settings["access.read_group"], settings["access.control_group"]
                    group = "" if settings["access.namespaces"] else group_of(*named)
                    own = listen_at(place, group)
                    listening.callback(own.remove)
                    sockets = [own.sock]
                else:
                    place = Path(os.fsdecode(sockets[0].getsockname()))
                log.info("state %s, socket %s", state, place)
                if options.foreground and sys.stderr.isatty():
                    log.info("stop it with Ctrl-C")
                daemon = _make_daemon(store, notifier, place)
                signal.signal(signal.SIGINT, _interrupt)
                # who calls while the store is opened again waits in the kernel's queue
                fixed = store.records.refusal is not None
                with asyncio.Runner() as runner:
                    drained = runner.run(
                        daemon.run([sock.dup() for sock in sockets] if fixed else sockets)
                    )
                    again, settings = daemon.again and drained, store.config
                    if not again:
                        listening.close()
                    if not drained:  # threads are under way, for which the runner's end would wait
                        log.info("stopped; what was acknowledged is safe")
                        logging.shutdown()
                        os._exit(Busy.exit if daemon.again else 0)
    log.info("stopped")
    return 0


def _interrupt(number: int, frame: object) -> None:
    """What Ctrl-C does until the daemon runs, as Python's own handler; in place of that one asyncio
    would put another, which takes 5 ms."""
    raise KeyboardInterrupt


def _make_daemon(store: MemoryStore, notifier: systemd.Notifier, place: Path) -> Daemon:
    worker = Worker(lambda: store.config)
    maintenance = MaintenanceJob(store, worker)
    worker.add(WordsJob(store, worker))
    migrations = MigrationManager(store, worker, moved=maintenance.hurry)
    worker.add(maintenance)  # behind the migrations: they leave more of it to do
    worker.add(RetentionJob(store, worker))
    worker.add(DreamJob(store, worker))
    return Daemon(store, worker, migrations, notifier, place)


if __name__ == "__main__":
    sys.exit(main())
