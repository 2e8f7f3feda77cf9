"""The invariants of converted hypervectors: files, rows, codebooks and counts agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nimad.core.hypervectors import AFTER, listed
from nimad.store import hyper, sources

if TYPE_CHECKING:
    from nimad.core.store import MemoryStore

BUG = "please report this: it is a bug"
ANEW = "nothing: it was set aside and is converted again when its backup is there"

Told = list[tuple[str, str, str]]


def problems(store: MemoryStore) -> Told:
    """(what, fix, severity) of everything that is not as it must be; for `nimad.check`.

    Damaged files are set aside, as a start would do.
    """
    files, records = store.dense.files, store.records
    damaged = files.verify(listed(store))
    if damaged:
        store.dense.give_up(damaged)
        store.on_change()
    found: Told = [(damage.error.message, ANEW, "error") for damage in damaged]
    if twice := len(files.ids()) - len(np.unique(files.ids())):
        found.append((f"{twice} memories have two hypervectors", BUG, "error"))
    for source in sources.all_sources(records):
        found += _of_source(store, source)
    strangers = np.setdiff1d(files.ids(), records.ids())
    if len(strangers) and not store.dense.stale:
        found.append((f"{len(strangers)} hypervectors belong to no memory", BUG, "error"))
    return found


def _of_source(store: MemoryStore, source: sources.Source) -> Told:
    files, found = store.dense.files, Told()
    held = len(files.ids(source.id))
    if held != source.converted:
        what = f"{source.name}: {held} hypervectors, but {source.converted} were converted"
        found.append((what, BUG, "error"))
    if source.stage in AFTER[1:] and source.converted < source.total_dense:
        lost = source.total_dense - source.converted
        fix = f"migrate {source.path} again: its backup is gone"
        found.append((f"{source.name}: {lost} hypervectors are lost", fix, "warning"))
    items = sum(len(each.file) for each in files.items(source.id))
    if items != len(hyper.items(store.records, source.id)):
        what = f"{source.name}: its codebook does not fit the names of its fillers"
        found.append((what, BUG, "error"))
    return found
