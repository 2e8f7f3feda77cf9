"""A card's record: what nimad had it take while a board used it, and what the board was told."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.client import RemoteFailure
from tests.legacy import stores
from tests.process import DaemonProcess
from tests.system.card.device import Card, Entry
from tests.system.card.images import mounted
from tests.system.card.usage import Ledger, Usage
from tests.system.test_nimactl import Tool

CONFIG = "migration.idle_seconds: 0\n"
MIGRATED = 300
"""Memories of the store that is migrated meanwhile [rows]."""
PAUSE = 0.7
"""Time that the client has alone between two works [seconds]."""
MAKE = ("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-E")
LAZY = "lazy_itable_init=0,lazy_journal_init=0"
"""All is there before the record begins: later the kernel would write it in the background."""


@dataclass(frozen=True)
class Record:
    """One use of a card."""

    log: list[Entry]
    ledger: Ledger
    began: int
    """The position at which the file system was there."""
    backup: Path
    """A copy of the last backup, on another disk."""


def format_card(card: Card) -> None:
    subprocess.run([*MAKE, LAZY, card.file], check=True)


def daemon_on(disk: Path, place: Path) -> DaemonProcess:
    """A daemon whose memories are on the card, and whose socket and log are not."""
    place.mkdir(exist_ok=True)
    daemon = DaemonProcess(place, CONFIG)
    daemon.state = disk / "state"
    return daemon


def record(place: Path, seed: int) -> Record:
    """Use a new card for some seconds: all works of nimad, while a client remembers and forgets."""
    card = Card(place / "card")
    ledger = Ledger(lambda: card.position)
    try:
        format_card(card)
        with mounted(card.file, place / "disk") as disk:
            daemon, began = daemon_on(disk, place), card.position
            try:
                backup = _use(daemon.start(), ledger, disk, random.Random(seed))
            finally:
                daemon.finish()
        return Record(list(card.log()), ledger, began, backup)
    finally:
        card.close()


def _use(daemon: DaemonProcess, ledger: Ledger, disk: Path, chance: random.Random) -> Path:
    tool, place = Tool(daemon), daemon.socket.parent
    source = stores.small_store(place / "graph.sqlite", count=MIGRATED)

    def migrate() -> None:
        tool.run("migrate", source, "--strategy", "full")
        ledger.sources.append((ledger.position(), "graph", texts_of(source)))

    def back_up() -> None:
        name = f"{len(ledger.backups)}.tar.gz"
        tool.run("backup", disk / name)
        ledger.backups.append((ledger.position(), name))
        shutil.copyfile(disk / name, place / name)

    def rebuild() -> None:
        for part in ("words", "blocks", "graph"):
            with suppress(RemoteFailure):  # a purge ends a build of the graph
                daemon.call("rebuild", part=part)

    works = [migrate, back_up, daemon.restart, rebuild, back_up, daemon.restart]
    chance.shuffle(works)
    with Usage(ledger, daemon.socket, chance.randrange(1 << 32)).under_way():
        for work in works:
            time.sleep(PAUSE)
            work()
        time.sleep(PAUSE)
    back_up()
    assert daemon.stop() == 0, daemon.log()
    return place / ledger.backups[-1][1]


def texts_of(source: Path) -> set[str]:
    """The texts of a legacy store."""
    with stores.closing(stores.sqlite3.connect(source)) as connection:
        return {text for (text,) in connection.execute("SELECT text FROM memory_nodes")}
