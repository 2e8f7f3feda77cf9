"""The converted hypervectors of a store: listed in the records, searched, and kept in step.

Crash prose of `seal` (rows converted, or fillers and roles):

1. the files are written, fsynced and renamed: a crash leaves files that no row names; the next
   start removes them;
2. one transaction lists them and moves the source's cursor: a crash before COMMIT leaves step 1,
   after it everything;
3. they are opened: memory only, the next start does it from the list.

Crash prose of `rewrite` (forgotten memories leave their files): a new file is written as above; one
transaction takes the old one off the list and puts the new one on; the old file is deleted.  A
crash leaves one of the two unlisted, which the next start removes.

A damaged file is set aside and taken off the list at start, and its source goes back to the stage
in which hypervectors are converted; when its backup is gone, so are they, and `doctor` says so.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nimad.core.health import Health
from nimad.core.projection import Problem, Projection
from nimad.core.segments import next_name
from nimad.dense import vectors
from nimad.dense.files import Damage, DenseFiles, Listed, Opened
from nimad.dense.search import fillers_of, item_spectrum, search, spectrum_of, two_nearest
from nimad.dense.spectrum import bind, unbind
from nimad.dense.vectors import Coded
from nimad.disk.container import Summary
from nimad.disk.durable import crash_point, remove_strays, set_aside, size_of
from nimad.errors import NimadError, NoHypervector, NotFound
from nimad.model import Hit, Stage, now_ms
from nimad.store import hypervector_files, phi_rows, sources
from nimad.store.bounded import get_within
from nimad.store.forgotten import PurgeNote
from nimad.store.hypervector_files import DenseFile
from nimad.store.records import Records
from nimad.store.transaction import Transaction

if TYPE_CHECKING:
    from nimad.dense.training import Learned

log = logging.getLogger(__name__)

PART = "dense"
"""Its name in `degraded`."""
BUG = "please report this: it is a bug"
AFTER = (Stage.ENCODED, Stage.LINKED, Stage.VERIFIED)
"""Stages of a source that come when hypervectors were converted; the first one does it."""


class BoundPair(NamedTuple):
    """A role of a hypervector, the filler that is most likely bound to it, by how much that is
    nearer (in cosine) than the next one, and the spectrum of role (x) filler."""

    role: str
    filler: str
    margin: float
    part: NDArray[np.float32]


class Hypervectors(Projection):
    """The dense hypervectors of a store, a Projection; safe to use from many threads."""

    name = PART

    def __init__(
        self, state: Path, records: Records, health: Health, lock: threading.RLock
    ) -> None:
        self._state, self._records, self._health, self._lock = state, records, health, lock
        self._damaged: list[Damage] = []
        self.files = DenseFiles(state / "dense")
        self.stale = True
        """Whether memories may have been forgotten whose rows are still there."""

    def open(self) -> None:
        """Open the listed files; set damaged ones aside; remove those that were never committed."""
        self._note_damage(self.files.open(self._listed()))
        if self._damaged:
            with contextlib.suppress(NimadError, OSError):  # a full disk: `follow` does it later
                self._give_up_damaged()
        remove_strays(self.strays())

    def strays(self) -> list[Path]:
        """See `Projection`."""
        return self.files.unlisted(each.name for each in self._listed())

    def _listed(self) -> list[Listed]:
        """The files that count."""
        return _listed(hypervector_files.files(self._records))

    # --- asking -----------------------------------------------------------------------------------

    def similar(self, memory: int, k: int, allowed: NDArray[np.int64] | None = None) -> list[Hit]:
        """The `k` memories whose hypervectors are nearest to a memory's, itself left out.

        Scores are cosines of the legacy hypervectors, nearly.  Only those of the same dimension
        (and block size) are compared, and of `allowed: int64[m]` (ascending; None: all).  Raises
        NoHypervector.
        """
        each, row = self._find(memory)
        files = [other for other in self.files.rows() if other.file.shape == each.file.shape]
        alive = self._records.ids() if self.stale and allowed is None else allowed
        ids, scores = search(files, spectrum_of(each, row), k + 1, alive)
        near = [(int(i), float(s)) for i, s in zip(ids, scores, strict=True) if i != memory][:k]
        memories = get_within(self._records, [i for i, _ in near])
        return [Hit(memories[i], s, {"cosine": s}) for i, s in near if i in memories]

    def unbind(self, memory: int, role: str, k: int = 5) -> list[tuple[str, float]]:
        """The fillers that a memory's hypervector most likely binds to a role, with scores.

        The codebook is that of the memory's source.  A score is the cosine of the hypervector and
        role (x) filler: about 1 / sqrt(n) for one of n pairs, about 0 for none.

        Raises NoHypervector, NotFound (the source has no such role).
        """
        each, row = self._find(memory)
        fillers, roles = self._codebook(each)
        files = self._item_files(each)
        known = item_spectrum(files, roles[role]) if role in roles else None
        if known is None:
            raise NotFound(kind="role", id=role)
        wanted = np.array(sorted(fillers), np.int64)
        found, scores = fillers_of(spectrum_of(each, row), known, files, wanted)
        best = zip(found[:k], scores[:k], strict=True)
        return [(fillers[int(number)], float(score)) for number, score in best]

    def take_apart(self, memory: int) -> tuple[NDArray[np.float32], list[BoundPair]]:
        """The spectrum of a memory's hypervector, and for each role of its source the filler that
        is most likely bound to it; no pairs where its source has no codebook.

        Raises NoHypervector, NotFound.
        """
        each, row = self._find(memory)
        spectrum = spectrum_of(each, row)
        fillers, roles = self._codebook(each)
        files = self._item_files(each)
        keys = {role: item_spectrum(files, number) for role, number in sorted(roles.items())}
        usable = {role: key for role, key in keys.items() if key is not None}
        if not usable or not fillers:
            return spectrum, []
        shape = each.file.shape
        left = np.concatenate([unbind(spectrum[None], key[None], shape) for key in usable.values()])
        found, scores = two_nearest(left, files, np.array(sorted(fillers), np.int64))
        pairs = []
        for place, (role, key) in enumerate(usable.items()):
            filler = item_spectrum(files, int(found[place, 0]))
            if filler is not None:
                part = bind(filler[None], key[None], shape)[0]
                margin = float(scores[place, 0] - max(scores[place, 1], 0))
                pairs.append(BoundPair(role, fillers[int(found[place, 0])], margin, part))
        return spectrum, pairs

    def _codebook(self, each: Opened) -> tuple[dict[int, str], dict[str, int]]:
        """Fillers (number → name) and roles (name → number) of a file's source."""
        items = hypervector_files.items(self._records, each.listed.source)
        fillers = {item.number: item.name for item in items if item.kind == "filler"}
        return fillers, {item.name: item.number for item in items if item.kind == "role"}

    def _item_files(self, each: Opened) -> list[Opened]:
        """The files of fillers and roles that fit a file of memories."""
        files = self.files.items(each.listed.source)
        return [other for other in files if other.file.shape == each.file.shape]

    def _find(self, memory: int) -> tuple[Opened, int]:
        if not self._records.get([memory]):
            raise NotFound(kind="memory", id=memory)
        found = self.files.find(memory)
        if found is None or not found[0].file.norms[found[1]] > 0:
            raise NoHypervector(id=memory)
        return found

    # --- writing ----------------------------------------------------------------------------------

    def seal(
        self,
        source: int,
        kind: str,
        learned: Learned,
        rows: Coded,
        within: Callable[[Transaction, int], None],
    ) -> None:
        """Put rows of a source ("rows": memories, "items": fillers and roles) into a new file.

        `within` joins its transaction and is told how many they are.  Memories forgotten meanwhile
        are left out.  A basis that no file of the source has yet is written and listed with them.
        """
        with self._lock:
            rows = rows.sorted()
            if kind == "rows":
                rows = rows.take(np.flatnonzero(np.isin(rows.ids, self._records.ids())))
            made: list[DenseFile] = []
            basis = learned.basis
            known = {each.basis.id for each in self.files.rows(source)}
            if len(basis) and basis.id not in known:
                name = self._free_name()
                written = basis.write(self.files.path(name))
                dimension = basis.shape.dimension
                made.append(_entry(name, source, "basis", len(basis), written, dimension))
            if len(rows):
                made.append(self._write(source, kind, learned, rows))
            crash_point("dense.written")
            with self._records.write() as tx:
                for file in made:
                    hypervector_files.list_file(tx, file)
                if kind == "rows":
                    phi_rows.drop(tx, rows.ids)
                within(tx, len(rows))
            crash_point("dense.listed")
            self.files.add(_listed(made))
            self.stale = True

    def _write(self, source: int, kind: str, learned: Learned, rows: Coded) -> DenseFile:
        name = self._free_name()
        number = vectors.MEMORIES if kind == "rows" else vectors.ITEMS
        path = self.files.path(name)
        written = vectors.write(path, number, learned.plan, learned.basis.id, rows)
        return _entry(name, source, kind, len(rows), written, learned.plan.shape.dimension)

    def _free_name(self) -> str:
        listed = [file.name for file in hypervector_files.files(self._records)]
        return next_name("dns", listed, self.files.directory)

    # --- forgetting -------------------------------------------------------------------------------

    def drop_forgotten(self) -> bool:
        """Take the rows of forgotten memories out of their files; whether there were any."""
        with self._lock:
            if not self.stale:
                return False
            self.stale = False
            try:
                alive = self._records.ids()
                dropped = [self._rewrite(each, alive) for each in self.files.rows()]
            except BaseException:
                self.stale = True
                raise
            return any(dropped)

    def _rewrite(self, each: Opened, kept: NDArray[np.int64]) -> bool:
        """Only the ids `kept` stay in a file; whether it lost any."""
        stays = np.isin(each.file.ids, kept)
        gone = int(np.count_nonzero(~stays))
        if not gone:
            return False
        listed = each.listed
        from nimad.dense.training import Learned

        learned = Learned(each.basis, each.file.plan)
        made = []
        if stays.any():
            rows = each.file.coded(np.flatnonzero(stays))
            made.append(self._write(listed.source, listed.kind, learned, rows))
        crash_point("dense.rewritten")
        with self._records.write() as tx:
            hypervector_files.unlist(tx, [listed.name])
            for file in made:
                hypervector_files.list_file(tx, file)
            lone = hypervector_files.remove_lone_bases(tx, listed.source)
            if listed.kind == "rows":
                sources.advance(tx, listed.source, converted=-gone, total_dense=-gone)
        crash_point("dense.relisted")
        self.files.add(_listed(made))
        self.files.remove([listed.name, *lone])
        return True

    # --- a projection -----------------------------------------------------------------------------

    def follow(self) -> bool:
        """Set damaged files aside; take the rows of forgotten memories out."""
        if self._damaged:
            self._give_up_damaged()
            return True
        return self.drop_forgotten()

    def rebuild(self) -> None:
        """Only a migration can make them again, from the backup of their source."""

    def scrub(self, note: PurgeNote) -> None:
        """Take out the rows of purged memories, and fillers whose name stands nowhere any more."""
        if self._damaged:  # one may hold them, and what was set aside is deleted after this step
            self._give_up_damaged()
        self.stale = True
        self.drop_forgotten()
        with self._lock:
            with self._records.write() as tx:
                named = [(int(source), int(number)) for source, number in note.items]
                gone = hypervector_files.unused(tx, named)
            for source in {source for source, _ in gone}:
                numbers = [number for owner, number in gone if owner == source]
                for each in self.files.items(source):
                    self._rewrite(each, np.setdiff1d(each.file.ids, numbers))
                with self._records.write() as tx:
                    hypervector_files.drop_items(tx, source, numbers)

    def check(self) -> list[Problem]:
        """Files, rows, codebooks and counts agree.  Damage is noted for `follow`."""
        files = self.files
        damaged = files.verify(self._listed())
        self._note_damage(damaged)
        fix = "nothing: it is set aside, and converted again when its backup is there"
        found = [Problem(self.name, damage.error.message, fix) for damage in damaged]
        if twice := len(files.ids()) - len(np.unique(files.ids())):
            found.append(Problem(self.name, f"{twice} memories have two hypervectors", BUG))
        for source in sources.all_sources(self._records):
            held = len(files.ids(source.id))
            if held != source.converted:
                what = f"{source.name}: {held} hypervectors, but {source.converted} were converted"
                found.append(Problem(self.name, what, BUG))
            if source.stage in AFTER[1:] and source.converted < source.total_dense:
                lost = source.total_dense - source.converted
                what = f"{source.name}: {lost} hypervectors are lost"
                fix = f"migrate {source.path} again: its backup is gone"
                found.append(Problem(self.name, what, fix, "warning"))
            items = sum(len(each.file) for each in files.items(source.id))
            if items != len(hypervector_files.items(self._records, source.id)):
                what = f"{source.name}: its codebook does not fit the names of its fillers"
                found.append(Problem(self.name, what, BUG))
        strangers = np.setdiff1d(files.ids(), self._records.ids())
        if len(strangers) and not self.stale:
            what = f"{len(strangers)} hypervectors belong to no memory"
            found.append(Problem(self.name, what, BUG))
        return found

    def verify_steps(self) -> Iterator[None]:
        """Read all files and compare checksums, a file a step; damage is noted for `follow`."""
        found = []
        for listed in self._listed():
            with self._lock:
                known = self.files.verify([listed] if listed in self._listed() else [])
            found += known
            yield
        self._note_damage(found)

    def size(self) -> int:
        """Bytes of the files."""
        return size_of(self._state / "dense")

    def _note_damage(self, damaged: list[Damage]) -> None:
        """Files that cannot be used are to be set aside."""
        if damaged:
            self._damaged = damaged
            self._health.fail(self.name, f"{len(damaged)} damaged file(s) are being set aside")

    def _give_up_damaged(self) -> None:
        """Set damaged files aside; their sources convert again, where the backup is there."""
        damaged = self._damaged
        for damage in damaged:
            log.error("%s: %s", damage.listed.name, damage.error.message)
            path = self.files.path(damage.listed.name)
            if path.exists():
                set_aside(path, self._state / "aside")
        lost = {damage.listed.source for damage in damaged}
        gone = [damage.listed.name for damage in damaged]
        again = []
        with self._records.write() as tx:
            hypervector_files.unlist(tx, gone)
            for damage in damaged:  # a codebook is whole or not there
                if damage.listed.kind == "items":
                    gone += hypervector_files.remove_items(tx, damage.listed.source)
            for source in sources.all_sources(self._records):
                if source.id not in lost:
                    continue
                gone += hypervector_files.remove_lone_bases(tx, source.id)
                sql = "SELECT coalesce(sum(rows), 0) FROM dense WHERE source = ? AND kind = 'rows'"
                left, stage = int(tx.rows(sql, (source.id,))[0][0]), source.stage
                if source.snapshot is not None and stage in AFTER:
                    stage = AFTER[0]
                    again.append(source.name)
                sources.update(tx, source.id, converted=left, dense_cursor=0, stage=stage)
        self.files.remove(gone)
        self._damaged = []
        self.whole_again()
        if again:
            self._health.fail(PART, f"hypervectors of {', '.join(again)} are converted again")

    def whole_again(self) -> None:
        """Nothing is out of service any more once no source has hypervectors to convert."""
        known = sources.all_sources(self._records)
        if not any(s.converted < s.total_dense and s.stage == AFTER[0] for s in known):
            self._health.restore(PART)


def _listed(files: Iterable[DenseFile]) -> list[Listed]:
    return [Listed(file.name, file.source, file.kind) for file in files]


def _entry(
    name: str, source: int, kind: str, rows: int, written: Summary, dimension: int
) -> DenseFile:
    return DenseFile(name, source, kind, rows, written.bytes, written.digest, dimension, now_ms())
