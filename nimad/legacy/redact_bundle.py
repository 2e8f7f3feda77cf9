"""Takes purged episodes out of a kept bundle: overwrites what they say, where it stands.

A file keeps its length and its form: the texts of a purged episode become DEL characters, its
hypervector zeros, in JSON it becomes an empty object; CRCs and checksums are made anew, so that the
files of a restored backup still open.  The bundle gets a member `PURGED` that lists the rows, which
the reader then leaves out.

What stays is what nimad reads of the other episodes: their texts and bytes, their hypervectors, the
fillers and roles that no purged episode named.  Of anything else (a history, a cache, tables that
are not read, remarks in a checksum's file) only numbers and plain identifiers stay that no purged
episode says: those are the names of fields.

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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from nimad.errors import NimadError
from nimad.legacy import json_index, zipped
from nimad.legacy.budget import Budget
from nimad.legacy.bundle import BLOCK, END, PURGED, Bundle, Packed
from nimad.legacy.bundle_index import BundleIndex, read_file
from nimad.legacy.detect import CHECKSUM, JSON, ZIP_MAGIC, file_format
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

PLAIN = re.compile(r"[A-Za-z_][\w.:]{0,40}|[\d.:TZ+ -]*", re.ASCII)
"""Names of fields and of devices; versions and times."""
_WORD = re.compile(r"\w+")
READ = ("data.pkl", "version", "byteorder", ".format_version", ".storage_alignment")
"""Entries of a checkpoint beside its storages that torch or nimad reads."""

Spot = tuple[int, int]
"""Where something stands in a file: offset and length in bytes."""


class _Doomed:
    """What purged episodes say, in all files of a bundle."""

    def __init__(self) -> None:
        self.texts: set[str] = set()
        self._inside: re.Pattern[str] | None = None
        self._words: set[str] = set()

    def add(self, episodes: Iterable[Any]) -> None:
        """Doom the texts of episodes."""
        for episode in episodes:
            said = (text for text in _said(episode, keys=False) if isinstance(text, str))
            fields = episode if isinstance(episode, dict) else ()
            self.texts |= {
                text for text in said if not (text.isdigit() or text in STRUCTURE or text in fields)
            }
        long = sorted((text for text in self.texts if len(text) >= WITHIN), key=len, reverse=True)
        self._inside = re.compile("|".join(map(re.escape, long))) if long else None
        self._words = {word for text in self.texts for word in _WORD.findall(text.casefold())}

    def says(self, text: str) -> bool:
        """Whether it is such a text, or holds one."""
        return text in self.texts or bool(self._inside and self._inside.search(text))

    def is_harmless(self, text: str) -> bool:
        """Whether it may stay though nothing that is read needs it."""
        if text in STRUCTURE or text.isdigit() or len(text) < 4:
            return True
        words = _WORD.findall(text.casefold())
        return bool(PLAIN.fullmatch(text)) and self._words.isdisjoint(words)


class _Kept:
    """What one file keeps: what its other episodes say, and names of fillers and roles."""

    def __init__(self, parsed: Parsed, rows: set[int], doomed: _Doomed) -> None:
        self._doomed = doomed
        self.said: set[str | bytes] = set()
        for row, episode in enumerate(parsed.episodes):
            if row not in rows:
                self.said.update(_said(episode, keys=True))
        names = (name for _, name, _, _ in parsed.items)
        self.items = {name for name in names if name in self.said or not doomed.says(name)}

    def needs(self, text: str) -> bool:
        """Whether a text stays."""
        if text in self.said or text in self.items:
            return True
        return not self._doomed.says(text) and self._doomed.is_harmless(text)

    def needs_bytes(self, data: bytes) -> bool:
        """Whether bytes stay that are no vector; a few may be a number."""
        if data in self.said:
            return True
        return len(data) <= WITHIN and not self._doomed.says(data.decode("utf-8", "replace"))


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
    doomed = _Doomed()
    for name in rows:
        parsed = read_file(bundle.of(bundle.files[name]), name, 0.0, replace(budget))
        doomed.add(parsed.episodes[row] for row in purged[name])
    with mmap.mmap(working, 0) as target:
        for name, packed in bundle.files.items():
            if name != PURGED and not name.endswith(CHECKSUM):
                gone_there = set(purged.get(name, ()))
                _File(bundle, packed, target, gone_there, doomed, budget).overwrite()
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

    def __init__(
        self,
        bundle: Bundle,
        file: Packed,
        target: mmap.mmap,
        rows: set[int],
        doomed: _Doomed,
        budget: Budget,
    ) -> None:
        self._bundle, self._file, self._target = bundle, file, target
        self._view = bundle.of(file)
        self._changed: list[Spot] = []
        self._spots: list[tuple[int, int, str | None]] = []
        sink = lambda *found: self._spots.append(found)  # noqa: E731
        self._parsed = read_file(self._view, file.name, 0.0, replace(budget), sink)
        self._rows = rows
        self._kept = _Kept(self._parsed, rows, doomed)

    def overwrite(self) -> None:
        if file_format(bytes(self._view[:64]), self._file.name) == JSON:
            self._json()
        else:
            is_zip = bytes(self._view[:4]) == ZIP_MAGIC
            entries = zipped.entries(self._view, self._file.name) if is_zip else {}
            read = self._vectors()
            self._texts(entries["data.pkl"].offset if entries else 0, read)
            self._storages(entries, read)
            self._crcs(entries)
        if self._changed:
            self._checksum()

    def _put(self, offset: int, data: bytes) -> None:
        at = self._file.offset + offset
        self._target[at : at + len(data)] = data
        self._changed.append((offset, len(data)))

    def _vectors(self) -> list[int]:
        """Overwrite the vectors that go; where the pieces of those that stay begin, sorted."""
        tables = [
            (name not in self._kept.items, table, row) for _, name, table, row in self._parsed.items
        ]
        if vectors := self._parsed.vectors:
            tables += [(row in self._rows, vectors, row) for row in range(vectors.count)]
        read = []
        for gone, table, row in tables:
            for offset, length in spots(table, row):
                if gone:
                    self._put(offset, bytes(length))
                else:
                    read.append(offset)
        return sorted(read)

    def _texts(self, begin: int, read: list[int]) -> None:
        """Overwrite texts and bytes of a pickle, which begins at `begin`."""
        for offset, length, text in self._spots:
            at = begin + offset
            place = bisect_left(read, at)
            if text is not None:
                stays = self._kept.needs(text)
            else:
                data = bytes(self._view[at : at + length])
                stays = read[place : place + 1] == [at] or self._kept.needs_bytes(data)
            if not stays:
                self._put(at, DEL * length if text is not None else bytes(length))

    def _storages(self, entries: dict[str, zipped.Entry], read: list[int]) -> None:
        """Overwrite what a checkpoint has beside the numbers that are read."""
        for name, entry in entries.items():
            first = bisect_left(read, entry.offset)
            used = first < len(read) and read[first] < entry.offset + entry.size
            if not used and name not in READ:
                for start in range(0, entry.size, CHUNK):
                    self._put(entry.offset + start, bytes(min(CHUNK, entry.size - start)))

    def _json(self) -> None:
        parts = json_index.index_parts(self._view, self._file.name)
        vectors = parts.get("vectors", json_index.Part(0, 0))
        for start, end, text in self._tokens(self._view):
            in_vector = vectors.start <= start < vectors.end
            if not in_vector and not self._kept.needs(text):
                self._put(start, DEL * (end - start))
        for name in ROWS:
            elements = parts[name].elements if name in parts else []
            for row in self._rows:
                if row < len(elements):
                    start, end = elements[row]
                    self._put(start, b"{" + b" " * (end - start - 2) + b"}")

    def _tokens(self, view: memoryview) -> Iterator[tuple[int, int, str]]:
        """(begin, end, text) of the strings of a JSON document, without their quotes."""
        for token in json_index.TOKEN.finditer(view):
            start, end = token.span()
            if view[start] == ord('"') and end - start > 2:
                yield start + 1, end - 1, json_index.parse(view, start, end, self._file.name)

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
        """Tell the new SHA-256 in the file beside it, in the place of the old one; nothing else
        that is told there stays."""
        said = self._bundle.files.get(self._file.name + CHECKSUM)
        if said is None:
            return
        old = hashlib.sha256(self._view).hexdigest().encode()
        view = self._bundle.of(said)
        if bytes(view[:1]) == b"{":
            for start, end, text in self._tokens(view):
                if text.encode() != old and not self._kept.needs(text):
                    at = said.offset + start
                    self._target[at : at + end - start] = DEL * (end - start)
        place = bytes(view).lower().find(old)
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


def _said(value: Any, *, keys: bool, depth: int = 0) -> Iterator[str | bytes]:
    """The texts and bytes within a value, `keys` of dicts included or not."""
    if isinstance(value, (str, bytes)):
        yield value
    elif isinstance(value, dict) and depth < json_index.MAX_DEPTH:
        for name, item in value.items():
            if keys and isinstance(name, (str, bytes)):
                yield name
            yield from _said(item, keys=keys, depth=depth + 1)
    elif isinstance(value, (list, tuple, set)) and depth < json_index.MAX_DEPTH:
        for item in value:
            yield from _said(item, keys=keys, depth=depth + 1)
