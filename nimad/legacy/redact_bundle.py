"""Takes purged episodes out of a kept bundle: overwrites what they say, where it stands.

A file keeps its length and its form: the texts of a purged episode become DEL characters, its
hypervector zeros, in JSON it becomes an empty object; CRCs and checksums are made anew, so that the
files of a restored backup still open.  The bundle gets a member `PURGED` that lists the rows, which
the reader then leaves out.

A text goes wherever else in the file it stands (lists of fillers, their names, texts that hold it),
unless an episode that stays says the same.

It is done by the reading process (reader.py), in a copy; redact_database.py puts that in the place
of the bundle.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import tarfile
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nimad.errors import NimadError
from nimad.legacy import json_index, zipped
from nimad.legacy.budget import Budget
from nimad.legacy.bundle import BLOCK, END, PURGED, Bundle, Packed
from nimad.legacy.bundle_index import BundleIndex, read_file
from nimad.legacy.detect import CHECKSUM, ZIP_MAGIC
from nimad.legacy.parsed import Parsed, Vectors
from nimad.legacy.pickle_allowlist import BUILDERS, ITEM_BYTES

DEL = b"\x7f"
WITHIN = 16
"""Length from which a text is also looked for inside of other texts [characters]."""
CHUNK = 4 << 20
ROWS = ("metadata", "factors", "vectors")
"""Arrays of a JSON document with one element for each episode."""

STRUCTURE = frozenset(
    {
        "",
        "state",
        "tensors",
        "vectors",
        "fillers",
        "roles",
        "metadata",
        "config",
        "factors",
        "blocks",
    }
    | {"timestamp", "num_blocks", "block_dim", "storage", "cpu", "data", "dtype", "shape"}
    | {part for name in BUILDERS for part in (*name.rsplit(".", 1), *name.split("."))}
)
"""Words that readers look for: an episode that says no more than one of them loses its fields
in the list of rows, not in the file."""

Spot = tuple[int, int]
"""Where something stands in a file: offset and length in bytes."""


@dataclass
class _Doomed:
    """What one file loses: `rows` of it, and texts that no other row needs."""

    rows: set[int]
    texts: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    inside: re.Pattern[str] | None = None

    @classmethod
    def of(cls, parsed: Parsed, rows: set[int]) -> _Doomed:
        made = cls(rows)
        for row, episode in enumerate(parsed.episodes):
            if row in rows:
                made.texts.update(_strings(episode, keys=False))
                if isinstance(episode, dict):
                    made.kept.update(name for name in episode if isinstance(name, str))
            else:
                made.kept.update(_strings(episode, keys=True))
        made.texts = {
            text for text in made.texts - made.kept if not (text.isdigit() or text in STRUCTURE)
        }
        long = sorted((text for text in made.texts if len(text) >= WITHIN), key=len, reverse=True)
        made.inside = re.compile("|".join(map(re.escape, long))) if long else None
        return made

    def has(self, text: str) -> bool:
        """Whether a text has to go."""
        if text in self.kept:
            return False
        return text in self.texts or (self.inside is not None and bool(self.inside.search(text)))


def blank(bundle: Bundle, working: int, keys: Sequence[int | str], budget: Budget) -> int:
    """Take the episodes with these keys out of `working`, a copy of the bundle; how many.

    With none the copy is left alone.  Raises ValueError when that cannot be done without harm to
    the others, or nothing would be left.
    """
    index = BundleIndex(bundle, replace(budget))
    gone = {int(key) for key in keys}.intersection(index.keys)
    stay = set(index.keys) - gone
    rows = index.occurrences(gone)
    purged = index.purged_with(rows)
    del index
    if not rows:
        return 0
    if not stay:
        raise ValueError("nothing would be left of it")
    with mmap.mmap(working, 0) as target:
        for name in rows:
            file = _File(bundle, bundle.files[name], target)
            file.overwrite(set(purged[name]), replace(budget))
        target.flush()
    _append_list(bundle, working, purged)
    try:
        with Bundle(bundle.path, working) as made:
            after = BundleIndex(made, replace(budget))
            if set(after.keys) == stay and not after.refused:
                return len(gone)
    except NimadError as error:
        raise ValueError(error.message) from error
    raise ValueError("other memories would go with it")


def spots(vectors: Vectors, row: int) -> list[Spot]:
    """The bytes in the file that hold a vector, and nothing else; ValueError when none can be
    named."""
    if vectors.overlap:
        raise ValueError("the rows of a tensor overlap")
    found: list[Spot] = []
    for piece in vectors.pieces(row) or ():
        if piece.data is not None:
            raise ValueError("the numbers of a vector are not kept where they could be overwritten")
        item = ITEM_BYTES[piece.dtype]
        length = vectors.block_size or vectors.dimension
        if piece.step == 1:
            found.append((piece.offset, length * item))
        else:
            found += [(piece.offset + n * piece.step * item, item) for n in range(length)]
    return found


class _File:
    """One file of the bundle: read from the old one, overwritten in the new."""

    def __init__(self, bundle: Bundle, file: Packed, target: mmap.mmap) -> None:
        self._bundle, self._file, self._target = bundle, file, target
        self._view = bundle.of(file)
        self._changed: list[Spot] = []

    def overwrite(self, rows: set[int], budget: Budget) -> None:
        name = self._file.name
        texts: list[tuple[int, int, str]] = []
        parsed = read_file(self._view, name, 0.0, budget, lambda *found: texts.append(found))
        doomed = _Doomed.of(parsed, rows)
        if bytes(self._view[:64]).lstrip()[:1] == b"{":
            self._json(doomed)
        else:
            is_zip = bytes(self._view[:4]) == ZIP_MAGIC
            entries = zipped.entries(self._view, name) if is_zip else {}
            begin = entries["data.pkl"].offset if entries else 0
            for offset, length, text in texts:
                if doomed.has(text):
                    self._put(begin + offset, DEL * length)
            self._vectors(parsed, doomed)
            self._crcs(entries)
        self._checksum()

    def _put(self, offset: int, data: bytes) -> None:
        at = self._file.offset + offset
        self._target[at : at + len(data)] = data
        self._changed.append((offset, len(data)))

    def _vectors(self, parsed: Parsed, doomed: _Doomed) -> None:
        vectors = parsed.vectors
        gone = [(vectors, row) for row in sorted(doomed.rows) if vectors and row < vectors.count]
        gone += [(items, row) for _, name, items, row in parsed.items if doomed.has(name)]
        for table, row in gone:
            for offset, length in spots(table, row):
                self._put(offset, bytes(length))

    def _json(self, doomed: _Doomed) -> None:
        for token in json_index.TOKEN.finditer(self._view):
            start, end = token.span()
            if self._view[start] == ord('"') and end - start > 2:
                text = json_index.parse(self._view, start, end, self._file.name)
                if doomed.has(text):
                    self._put(start + 1, DEL * (end - start - 2))
        parts = json_index.index_parts(self._view, self._file.name)
        for name in ROWS:
            elements = parts[name].elements if name in parts else []
            for row in doomed.rows:
                if row < len(elements):
                    start, end = elements[row]
                    self._put(start, b"{" + b" " * (end - start - 2) + b"}")

    # --- what tells that a file is whole --------------------------------------------------------

    def _crcs(self, entries: dict[str, zipped.Entry]) -> None:
        touched = sorted(offset for offset, _ in self._changed)
        for entry in entries.values():
            first = bisect_left(touched, entry.offset)
            if first < len(touched) and touched[first] < entry.offset + entry.size:
                crc = 0
                for data in self._pieces(entry.offset, entry.size):
                    crc = zlib.crc32(data, crc)
                for at in entry.crc_at:
                    self._put(at, crc.to_bytes(4, "little"))
                self._bundle.drop()

    def _checksum(self) -> None:
        """Tell the new SHA-256 in the file beside it, in the place of the old one."""
        said = self._bundle.files.get(self._file.name + CHECKSUM)
        if said is None:
            return
        old = hashlib.sha256(self._view).hexdigest().encode()
        place = bytes(self._bundle.of(said)).lower().find(old)
        if place >= 0:
            digest = hashlib.sha256()
            for data in self._pieces(0, self._file.size):
                digest.update(data)
            at = said.offset + place
            self._target[at : at + len(old)] = digest.hexdigest().encode()

    def _pieces(self, offset: int, size: int) -> Iterator[bytes]:
        begin, end = self._file.offset + offset, self._file.offset + offset + size
        for start in range(begin, end, CHUNK):
            yield self._target[start : min(start + CHUNK, end)]


def _append_list(bundle: Bundle, working: int, purged: dict[str, list[int]]) -> None:
    """Put the list of purged rows at the end of a bundle, in the place of an earlier one."""
    data = json.dumps(purged, sort_keys=True).encode()
    info = tarfile.TarInfo(PURGED)
    info.size, info.mode = len(data), 0o600
    ends = [f.offset + f.size + -f.size % BLOCK for f in bundle.files.values() if f.name != PURGED]
    with os.fdopen(os.dup(working), "r+b") as file:
        file.seek(max(ends))
        file.write(info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK) + END)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _strings(value: Any, *, keys: bool, depth: int = 0) -> Iterator[str]:
    """The texts within a value, `keys` of dicts included or not."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict) and depth < json_index.MAX_DEPTH:
        for name, item in value.items():
            if keys and isinstance(name, str):
                yield name
            yield from _strings(item, keys=keys, depth=depth + 1)
    elif isinstance(value, (list, tuple, set)) and depth < json_index.MAX_DEPTH:
        for item in value:
            yield from _strings(item, keys=keys, depth=depth + 1)
