"""A bundle of checkpoints, pickles and JSON as one source: each episode once, whichever has it.

The files of a store repeat one another: `archive/` holds earlier states of `latest.pt`, an export
holds part of the pickle.  Episodes are the same when they say the same (episodes.py); the newest
file that has one tells its fields, and the newest that has a vector for it tells the vector.

This is where hostile files are read: in the reading process only (reader.py).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

from nimad.dataclass import dataclass
from nimad.errors import NimadError, SourceCorrupt, SourceNotRecognised
from nimad.legacy import checkpoint, sidecar, sparse
from nimad.legacy.budget import Budget
from nimad.legacy.bundle import PURGED, Bundle, Packed
from nimad.legacy.catalog import NO_VECTOR, UNREADABLE, VECTOR, CatalogWriter
from nimad.legacy.detect import CHECKPOINT, CHECKSUM, PICKLE, file_format
from nimad.legacy.episodes import LAYER, EpisodeMapper, identity, key_of, mapped_of
from nimad.legacy.parsed import Parsed, Piece, Vectors
from nimad.legacy.pickle_vm import TextSink
from nimad.legacy.source import Totals, Unreadable
from nimad.legacy.values import spell

HEAD = 64
"""Begin of a file that tells its format [bytes]."""
MAX_PURGED = 4 << 20
"""Length of the list of purged rows: hundreds of thousands [bytes]."""
LATEST = "latest"
"""Begin of the name of a file that is newer than all others."""


@dataclass(slots=True)
class _Place:
    """An episode, and where its vector is."""

    episode: Any
    vectors: Vectors | None = None
    row: int = 0
    begin: int = 0


class BundleIndex:
    """What a bundle holds; files that cannot be read are left out, and are in `refused`.

    `check`: each file is compared with its checksums, too.
    """

    def __init__(self, bundle: Bundle, budget: Budget, check: bool = False) -> None:
        """Raises SourceNotRecognised and SourceCorrupt; when no file is left, what is wrong with it
        (SourceUnsafe, SourceUnsupported, SourceTooLarge, ...)."""
        self._bundle, self._budget = bundle, budget
        self._files: list[Parsed] = []
        self.refused: list[tuple[str, NimadError]] = []
        self.notes: list[str] = []
        for file in bundle.files.values():
            if not file.name.endswith(CHECKSUM) and file.name != PURGED:
                self._read(file, check)
        self._purged = self._read_purged()
        if not self._files:
            if len(self.refused) == 1:
                raise self.refused[0][1]
            reasons = "; ".join(error.message for _, error in self.refused[:5])
            detail = f"none of its {len(self.refused)} files can be taken over: {reasons}"
            raise SourceNotRecognised(
                path=bundle.path, detail=detail if reasons else "there is nothing in it"
            )
        self._files.sort(key=lambda p: (Path(p.name).stem.startswith(LATEST), p.written, p.name))
        self._places: dict[int, _Place] = {}
        for key, parsed, row in self._walk():
            place = self._places.setdefault(key, _Place(None))
            place.episode = parsed.episodes[row]
            if parsed.vectors is not None and row < parsed.vectors.count:
                place.vectors, place.row = parsed.vectors, row
                place.begin = bundle.files[parsed.name].offset
        self.keys = sorted(self._places)

    def _read(self, file: Packed, check: bool) -> None:
        view, budget = self._bundle.of(file), replace(self._budget)
        notes: list[str] = []
        try:
            if check and (said := self._bundle.files.get(file.name + CHECKSUM)) is not None:
                found = sidecar.check(view, self._bundle.of(said), file.name, self._bundle.drop)
                notes = [f"{file.name}: {note}" for note in found]
            if check and file_format(bytes(view[:HEAD]), file.name) == CHECKPOINT:
                checkpoint.check(view, file.name, self._bundle.drop)
            self._files.append(read_file(view, file.name, file.written, budget))
        except NimadError as error:
            self.refused.append((file.name, error))
        except MemoryError:
            self.refused.append((file.name, budget.exceeded(file.name)))
        else:
            self._budget = budget
            self.notes += notes

    def _walk(self) -> Iterator[tuple[int, Parsed, int]]:
        """(key, file, row) of every episode that was not purged, the oldest file first."""
        taken: dict[tuple[bytes, int], int] = {}
        used: set[int] = set()
        for parsed in self._files:
            before: Counter[bytes] = Counter()
            purged = self._purged.get(parsed.name, set())
            for row, episode in enumerate(parsed.episodes):
                same = identity(episode)
                number = (same, before[same])
                before[same] += 1  # a purged one, too, that says the same as one that stays
                if row in purged:
                    continue
                if number not in taken:
                    key = key_of(episode, *number)
                    while key in used:
                        key += 1
                    used.add(key)
                    taken[number] = key
                yield taken[number], parsed, row

    # --- purging --------------------------------------------------------------------------------

    def occurrences(self, keys: set[int]) -> dict[str, set[int]]:
        """File -> rows of it that are the episodes with these keys."""
        found: dict[str, set[int]] = defaultdict(set)
        for key, parsed, row in self._walk():
            if key in keys:
                found[parsed.name].add(row)
        return dict(found)

    def purged_with(self, more: dict[str, set[int]]) -> dict[str, list[int]]:
        """File -> purged rows, with more of them."""
        names = {*self._purged, *more}
        return {
            name: sorted(self._purged.get(name, set()) | more.get(name, set())) for name in names
        }

    def _read_purged(self) -> dict[str, set[int]]:
        """What redact_bundle.py wrote; a list that cannot be read is none of ours."""
        file = self._bundle.files.get(PURGED)
        if file is None:
            return {}
        try:
            if file.size > MAX_PURGED:
                raise ValueError
            told = json.loads(bytes(self._bundle.of(file)))
            return {name: {int(row) for row in rows} for name, rows in told.items()}
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise SourceCorrupt(
                path=self._bundle.path, detail="its list of purged rows cannot be read"
            ) from None

    # --- the catalog ----------------------------------------------------------------------------

    def write(self, out: BinaryIO, counted: bool) -> None:
        """Write the catalog; `counted`: with the totals, for which each episode is mapped."""
        form = next((_form(p.vectors) for p in reversed(self._files) if p.vectors), None)
        items = list(self._items(form))
        writer = CatalogWriter(out, self.keys)
        for key in self.keys:
            writer.text(spell(self._places[key].episode, -1))
        for (kind, name), _ in items:
            writer.text([kind, name])
        others = vectors = 0
        for place in (*(self._places[key] for key in self.keys), *(place for _, place in items)):
            pieces: list[Piece] | None = []
            state = NO_VECTOR
            if place.vectors is not None and _form(place.vectors) != form:
                others += 1
            elif place.vectors is not None:
                vectors += 1
                try:
                    pieces = place.vectors.pieces(place.row)
                except NimadError:
                    pieces = None
                state = UNREADABLE if pieces is None else VECTOR
            writer.vector(state, pieces or [], place.begin)
        told: dict[str, Any] = {"form": form, "totals": None}
        if counted:
            totals = self._count()
            totals.vectors, totals.dimension = vectors - len(items), form[0] if form else 0
            if others:
                totals.notes.append(f"{others} hypervectors are not of {totals.dimension} numbers")
            refusals = [asdict(each) for each in totals.refusals]
            told["totals"] = {**vars(totals), "refusals": refusals}
        told["refused"] = [(name, describe(error)) for name, error in self.refused]
        told["notes"] = self.notes, [note for parsed in self._files for note in parsed.notes]
        writer.finish(told)

    def _items(
        self, form: tuple[int, int | None] | None
    ) -> Iterator[tuple[tuple[str, str], _Place]]:
        """The codebooks; a name that several files have is the newest one's."""
        told: set[tuple[str, str]] = set()
        for parsed in reversed(self._files):
            begin = self._bundle.files[parsed.name].offset
            for kind, name, vectors, row in parsed.items:
                if form and (kind, name) not in told and vectors.dimension == form[0]:
                    told.add((kind, name))
                    yield (kind, name), _Place(None, vectors, row, begin)

    def _count(self) -> Totals:
        totals, mapper = Totals(nodes=len(self.keys)), EpisodeMapper("")
        if self.keys:
            totals.first_key, totals.last_key = self.keys[0], self.keys[-1]
        for key in self.keys:
            mapped = mapped_of(mapper, key, self._places[key].episode)
            if isinstance(mapped, Unreadable):
                totals.count_unreadable(mapped)
                continue
            totals.count_reading(mapped.reading)
            totals.text_bytes += len(mapped.memory.text.encode())
            totals.blob_bytes += sum(map(len, mapped.memory.blobs.values()))
        totals.by_layer = {LAYER: totals.nodes - totals.unreadable}
        return totals


def _form(vectors: Vectors) -> tuple[int, int | None]:
    return vectors.dimension, vectors.block_size


def describe(error: Exception) -> dict[str, Any]:
    """An error as JSON; `files.error_of` makes it again."""
    fields: dict[str, Any] = {"detail": str(error)}
    if isinstance(error, NimadError):
        fields = {k: v if isinstance(v, int) else str(v) for k, v in error.fields.items()}
    return {"class": type(error).__name__, "fields": fields}


def read_file(
    view: memoryview,
    name: str,
    written: float,
    budget: Budget,
    texts: TextSink | None = None,
) -> Parsed:
    """Read a checkpoint, a pickle or JSON.

    What it holds is charged to `budget`; `texts` is told of each text in a pickle, with its place
    in `view`.  Raises SourceCorrupt, SourceUnsafe, SourceUnsupported, SourceNotRecognised,
    SourceTooLarge; each names `name`.
    """
    kind = file_format(bytes(view[:HEAD]), name)
    if kind == CHECKPOINT:
        return checkpoint.read(view, name, written, budget, texts)
    if kind == PICKLE:
        return sparse.read_pickle(view, name, written, budget, texts)
    return sparse.read_json(view, name, written, budget)
