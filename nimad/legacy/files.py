"""A bundle of checkpoints, pickles and JSON as one source: each episode once, whichever has it.

The files of a store repeat one another: `archive/` holds earlier states of `latest.pt`, an export
holds part of the pickle.  Episodes are the same when they say the same (episodes.py); the newest
file that has one tells its fields, and the newest that has a vector for it tells the vector.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nimad.closing import Closing
from nimad.errors import NimadError, SourceCorrupt, SourceNotRecognised
from nimad.legacy import checkpoint, sidecar, sparse
from nimad.legacy.budget import MAX_EPISODE_VALUES, Budget, TooLarge
from nimad.legacy.bundle import PURGED, Bundle, Packed
from nimad.legacy.detect import CHECKPOINT, CHECKSUM, PICKLE, file_format
from nimad.legacy.episodes import (
    LAYER,
    EpisodeMapper,
    identity,
    key_of,
    row_of,
    time_of,
)
from nimad.legacy.mapping import UnreadableRowError
from nimad.legacy.parsed import Parsed, Vectors
from nimad.legacy.pickle_vm import TextSink
from nimad.legacy.source import DenseRows, LegacyNode, Totals, Unreadable

PAGE_BYTES = 16 << 20
"""Length of texts at which a page ends early [characters]."""
HEAD = 64
"""Begin of a file that tells its format [bytes]."""
SCAN_BYTES = 8 << 20
"""Vectors looked at before pages are let go of [bytes]."""
LATEST = "latest"
"""Begin of the name of a file that is newer than all others."""


@dataclass(slots=True)
class _Place:
    """An episode, and where its vector is."""

    episode: Any
    vectors: Vectors | None = None
    row: int = 0


class LegacyFiles(Closing):
    """A bundle, open for reading.  Used by one thread at a time."""

    schema = 0
    zone: tzinfo = UTC

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.refused: list[tuple[str, NimadError]] = []
        self._files: list[Parsed] = []
        self._budget = Budget()
        self._places: dict[int, _Place] = {}
        self._keys: list[int] = []
        for file in bundle.files.values():
            if not file.name.endswith(CHECKSUM) and file.name != PURGED:
                self._read(file)
        self._purged = self._read_purged()
        self._index()

    @classmethod
    def open(cls, path: Path) -> LegacyFiles:
        """Open a bundle.  Files of it that cannot be read are left out, and are in `refused`.

        Raises SourceNotRecognised and SourceCorrupt; when no file is left, what is wrong with it
        (SourceUnsafe, SourceUnsupported, ...).
        """
        bundle = Bundle(path)
        try:
            return cls(bundle)
        except BaseException:
            bundle.close()
            raise

    def close(self) -> None:
        """Unmap the bundle."""
        self._files, self._places, self._keys = [], {}, []
        self._bundle.close()

    # --- what it holds --------------------------------------------------------------------------

    def mapper(self, name: str) -> EpisodeMapper:
        """What turns episodes into memories of the source `name`, and back."""
        made = EpisodeMapper(name)
        made.zone = self.zone
        return made

    def nodes(
        self, mapper: EpisodeMapper, after: int | None, limit: int
    ) -> list[LegacyNode | Unreadable]:
        """Up to `limit` memories after the key `after` (None: the first), by key."""
        start = 0 if after is None else bisect_right(self._keys, after)
        found: list[LegacyNode | Unreadable] = []
        size = 0
        for key in self._keys[start : start + limit]:
            node = _node(mapper, key, self._places[key].episode)
            found.append(node)
            size += len(node.memory.text) if isinstance(node, LegacyNode) else 0
            if size > PAGE_BYTES:
                break
        return found

    def edges(self, after: int | None, limit: int) -> list[Any]:
        """There are none."""
        return []

    def turns(self, after: int | None, limit: int) -> list[Any]:
        """There are none."""
        return []

    def dense(self) -> DenseRows | None:
        """The hypervectors, of the dimension that the newest file has."""
        with_vectors = [p for p in reversed(self._files) if p.vectors is not None]
        if not with_vectors or with_vectors[0].vectors is None:
            return None
        form = _form(with_vectors[0].vectors)
        places = {
            key: (place.vectors, place.row)
            for key, place in self._places.items()
            if place.vectors is not None and _form(place.vectors) == form
        }
        if not places:
            return None
        return FileRows(places, list(reversed(self._files)), self._bundle.drop)

    # --- checking -------------------------------------------------------------------------------

    def survey(self) -> Totals:
        """Read everything once: checksums, CRCs, every episode.

        A file that is not what its checksum says is left out from here on.  Raises what is wrong
        with the only file, or SourceNotRecognised when none of several is left.
        """
        totals = Totals()
        for parsed in list(self._files):
            try:
                totals.notes += self._check(parsed)
            except NimadError as error:
                self._files.remove(parsed)
                self.refused.append((parsed.name, error))
        self._index()
        self._count(totals)
        totals.refused = list(self.refused)
        totals.notes += [note for parsed in self._files for note in parsed.notes]
        totals.notes += [f"{name} is left out: {error.message}" for name, error in self.refused]
        return totals

    def _check(self, parsed: Parsed) -> list[str]:
        file = self._bundle.files[parsed.name]
        said = self._bundle.files.get(parsed.name + CHECKSUM)
        notes: list[str] = []
        if said is not None:
            found = sidecar.check(
                self._bundle.of(file), self._bundle.of(said), parsed.name, self._bundle.drop
            )
            notes = [f"{parsed.name}: {note}" for note in found]
        view = self._bundle.of(file)
        if file_format(bytes(view[:HEAD]), parsed.name) == CHECKPOINT:
            checkpoint.check(view, parsed.name, self._bundle.drop)
        return notes

    def _count(self, totals: Totals) -> None:
        mapper = self.mapper("")
        if self._keys:
            totals.first_key, totals.last_key = self._keys[0], self._keys[-1]
        for key in self._keys:
            totals.nodes += 1
            node = _node(mapper, key, self._places[key].episode)
            if isinstance(node, Unreadable):
                totals.count_unreadable(node)
                continue
            totals.count_reading(time_of(self._places[key].episode, self.zone))
            totals.text_bytes += len(node.memory.text.encode())
            totals.blob_bytes += sum(map(len, node.memory.blobs.values()))
        totals.by_layer = {LAYER: totals.nodes - totals.unreadable}
        if (dense := self.dense()) is not None:
            totals.dimension = dense.dimension
            form = (dense.dimension, dense.block_size)
            fits = [p for p in self._places.values() if p.vectors and _form(p.vectors) == form]
            totals.vectors = len(fits)
            if others := sum(p.vectors is not None for p in self._places.values()) - len(fits):
                totals.notes.append(f"{others} hypervectors are not of {dense.dimension} numbers")

    # --- purging --------------------------------------------------------------------------------

    def keys(self) -> set[int]:
        """The keys of all episodes."""
        return set(self._keys)

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
            told = json.loads(bytes(self._bundle.of(file)))
            return {name: {int(row) for row in rows} for name, rows in told.items()}
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise SourceCorrupt(
                path=self._bundle.path, detail="its list of purged rows cannot be read"
            ) from None

    # --- reading --------------------------------------------------------------------------------

    def _read(self, file: Packed) -> None:
        view, budget = self._bundle.of(file), replace(self._budget)
        try:
            self._files.append(read_file(view, file.name, file.written, budget))
        except NimadError as error:
            self.refused.append((file.name, error))
        else:
            self._budget = budget

    def _index(self) -> None:
        """Give each episode its key and its place; the oldest file first."""
        if not self._files:
            raise self._nothing()
        self._files.sort(key=lambda p: (Path(p.name).stem.startswith(LATEST), p.written, p.name))
        self._places = {}
        for key, parsed, row in self._walk():
            self._enter(key, parsed, row, parsed.episodes[row])
        self._keys = sorted(self._places)

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

    def _enter(self, key: int, parsed: Parsed, row: int, episode: Any) -> None:
        place = self._places.setdefault(key, _Place(episode))
        place.episode = episode
        if parsed.vectors is not None and row < parsed.vectors.count:
            place.vectors, place.row = parsed.vectors, row

    def _nothing(self) -> NimadError:
        """Why nothing is left."""
        if len(self.refused) == 1:
            return self.refused[0][1]
        if not self.refused:
            return SourceNotRecognised(path=self._bundle.path, detail="there is nothing in it")
        reasons = "; ".join(error.message for _, error in self.refused[:5])
        detail = f"none of its {len(self.refused)} files can be taken over: {reasons}"
        return SourceNotRecognised(path=self._bundle.path, detail=detail)


def _form(vectors: Vectors) -> tuple[int, int | None]:
    return vectors.dimension, vectors.block_size


def _node(mapper: EpisodeMapper, key: int, episode: Any) -> LegacyNode | Unreadable:
    if isinstance(episode, TooLarge):
        return Unreadable("node", key, f"it holds more than {MAX_EPISODE_VALUES} values")
    if not isinstance(episode, dict):
        return Unreadable("node", key, f"it is a {type(episode).__name__}, not an episode")
    try:
        mapped = mapper.memory(key, episode)
    except UnreadableRowError as error:
        return Unreadable("node", key, str(error))
    return LegacyNode(key, mapped.memory, row_of(key, episode), mapped.notes)


def read_file(
    view: memoryview,
    name: str,
    written: float,
    budget: Budget,
    texts: TextSink | None = None,
) -> Parsed:
    """Read a checkpoint, a pickle or JSON.

    What it holds is charged to `budget`; `texts` is told of each text in a pickle, with its place
    in `view`.  Raises SourceCorrupt,
    SourceUnsafe, SourceUnsupported, SourceNotRecognised; each names `name`.
    """
    kind = file_format(bytes(view[:HEAD]), name)
    if kind == CHECKPOINT:
        return checkpoint.read(view, name, written, budget, texts)
    if kind == PICKLE:
        return sparse.read_pickle(view, name, written, budget, texts)
    return sparse.read_json(view, name, written, budget)


# --- hypervectors ---------------------------------------------------------------------------------


class FileRows:
    """`DenseRows` of a bundle; `drop` lets go of the pages that were looked at."""

    def __init__(
        self,
        places: Mapping[int, tuple[Vectors, int]],
        newest_first: Sequence[Parsed],
        drop: Callable[[], None],
    ) -> None:
        self._places, self._files, self._drop = places, newest_first, drop
        first = next(iter(places.values()))[0]
        self.dimension, self.block_size = first.dimension, first.block_size
        self._keys: NDArray[np.int64] | None = None

    def keys(self) -> NDArray[np.int64]:
        """As `DenseRows.keys`."""
        if self._keys is None:
            self._keys = self._finite(sorted(self._places))
        return self._keys

    def rows(self, keys: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """As `DenseRows.rows`."""
        made = np.empty((len(keys), self.dimension), np.float32)
        groups: dict[int, list[int]] = defaultdict(list)
        found = [self._places[int(key)] for key in keys]
        for row, (vectors, _) in enumerate(found):
            groups[id(vectors)].append(row)
        for rows in groups.values():
            made[rows] = found[rows[0]][0].rows([found[row][1] for row in rows])
        self._drop()
        return made

    def items(self) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
        """As `DenseRows.items`; a name that several files have is the newest one's."""
        told: set[tuple[str, str]] = set()
        for parsed in self._files:
            for kind, name, vectors, row in parsed.items:
                if (kind, name) in told or vectors.dimension != self.dimension:
                    continue
                told.add((kind, name))
                vector = vectors.rows([row])[0]
                if _whole(vector):
                    yield kind, name, vector
            self._drop()

    def _finite(self, keys: list[int]) -> NDArray[np.int64]:
        step = max(1, SCAN_BYTES // (4 * self.dimension))
        good: list[int] = []
        for start in range(0, len(keys), step):
            part = keys[start : start + step]
            good += [key for key, row in zip(part, self.rows(part), strict=True) if _whole(row)]
        return np.array(good, np.int64)


def _whole(vector: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(vector).all())
