"""Which embedder is wanted, and which one serves with the vectors that are stored."""

from __future__ import annotations

import logging

from nimad.config import Config
from nimad.core.health import Health
from nimad.embed.absent import AbsentEmbedder
from nimad.embed.base import Embedder, signature
from nimad.embed.registry import get_embedder
from nimad.errors import EmbedderMissing, NimadError, TableDamaged
from nimad.index.kernels.loader import load_kernels
from nimad.store.records import Records

log = logging.getLogger(__name__)


def named(name: str, config: Config) -> Embedder:
    """The embedder of that name, with the kernels of this machine."""
    embedder = get_embedder(name, config)
    embedder.use(load_kernels)  # which no start waits for
    return embedder


def wanted(config: Config, records: Records, health: Health) -> Embedder:
    """The configured embedder.  A missing one does not keep the memories from being found: the
    vectors that it made stay, and queries go by words; those of another serve on.

    Raises EmbedderMissing, TableDamaged: in a store that has no vectors yet.
    """
    name, stored = config["embedder"], records.meta("embedder")
    try:
        found = named(name, config)
        if stored is None:
            found.check()
        return found
    except (EmbedderMissing, TableDamaged) as error:
        if stored is None:
            raise
        reason = error.sentences
        log.error("%s", reason)
        if str(stored).partition(":")[0] == name:
            return AbsentEmbedder(stored, reason)
        other = named(str(stored).partition(":")[0], config)
        health.fail("embedder", reason)
        return other


def serving(wanted: Embedder, config: Config, records: Records) -> tuple[Embedder, bool]:
    """The embedder that fits the stored vectors, and whether they are to be made anew.

    While the configured one differs, the old one serves until the rebuild; when the old one does
    not exist any more, its vectors cannot be compared with anything.
    """
    stored = records.meta("embedder")
    if stored is None:
        with records.write() as tx:
            tx.set_meta("embedder", signature(wanted))
        return wanted, False
    if stored == signature(wanted):
        return wanted, False
    try:
        old = named(str(stored).split(":", 1)[0], config)
    except NimadError:
        return wanted, True
    return (old if signature(old) == stored else wanted), True
