"""Auto-migration: takes over, once, what an OpenClaw configuration asks for.

Crash prose: the source is entered in the ledger first, then the note that it was done is written.
A crash in between does it again at the next start: the source is known then, and nothing is added.
"""

from __future__ import annotations

import logging
from pathlib import Path

from nimad.core.store import MemoryStore
from nimad.disk.durable import crash_point
from nimad.errors import NimadError
from nimad.migrate.manager import MigrationManager

log = logging.getLogger(__name__)

DATABASE = "~/.nima/memory/graph.sqlite"
NOTE = "auto_migrated"


def auto_migrate(store: MemoryStore, manager: MigrationManager) -> str | None:
    """Attach the store that `openclaw.config` asks for; the source's name, None when none is due.

    Whatever stands in the way is logged with the command that does it by hand, never raised: the
    daemon serves all the same.
    """
    place = store.config["openclaw.config"]
    if not place:
        return None
    from nimad.legacy.snapshot import take_snapshot
    from nimad.openclaw import read_wish

    try:
        wish = read_wish(Path(place))
        if not wish.migrate:
            log.info("no auto-migration: %s (%s)", wish.reason, place)
            return None
        path = Path(wish.database or DATABASE).expanduser()
        if store.records.meta(NOTE) == str(path):
            return None
        with take_snapshot(path) as snapshot:
            asked = snapshot.request(batch_size=wish.batch_size or None)
            name: str = manager.attach(snapshot.fd, asked)["name"]
    except NimadError as error:
        log.warning("no auto-migration: %s %s", error.message, error.next_step)
        log.warning("as the owner of the store run: nimactl migrate PATH")
        return None
    crash_point("auto.attached")
    with store.records.write() as tx:
        tx.set_meta(NOTE, str(path))
    log.info("auto-migration of %s has begun, as the source %s", path, name)
    return name
