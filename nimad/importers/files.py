"""Files of a source, read as hostile: no links, no pipes, nothing of another user, bounded in size.

A tree of files, and the members of an export: those of a directory, of a zip, or of zips in a
directory.  A zip is never unpacked to disk; how much it may hold is checked before it is read.
"""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from nimad.dataclass import dataclass
from nimad.errors import NimadError, SourceUnreadable
from nimad.importers.items import Rejected
from nimad.legacy.detect import check_owner, open_plain
from nimad.limits import count_nodes

MAX_NOTE = 8 << 20
"""Size of the largest file of notes that is read [bytes]."""
MAX_LINE = 12 << 20
"""Length of the longest line, or element, of JSON that is read [bytes]."""
MAX_VALUES = 400_000
"""Number of values in one line, or element, of JSON [values]."""
BUFFER = 1 << 18
"""Bytes that are read from a file at a time."""
MAX_FILES, MAX_DEPTH = 100_000, 24
"""Number of files, and of directories one in the other, that are looked at."""
MAX_DIRECTORY = 16 << 20
"""Size of the largest list of members of a zip [bytes]."""
MAX_UNPACKED, MAX_RATIO, SMALL = 8 << 30, 200, 16 << 20
"""Size of all that a zip may unpack to [bytes]; how many times as large as it is packed a member
may become; size below which that does not matter [bytes]."""
UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError)
"""What reading a damaged file raises."""
_END, _END_BYTES = b"PK\x05\x06", 22


class Unfit(ValueError):
    """A file or a value that is not taken; its text says why."""


def shown(path: str | Path) -> str:
    """A path as text that can be sent."""
    return os.fsencode(path).decode("utf-8", "replace")


def walk(
    root: Path, wanted: Callable[[str], bool], skip: frozenset[str] = frozenset(), depth: int = 0
) -> Iterator[tuple[str, Path] | Rejected]:
    """The files below a directory whose names are wanted, by name: (path from there, path).

    No link is followed; `skip` are names of directories that are passed over.  The key of what was
    refused is its path from there; that of a directory ends with a slash, but for the first one's.
    """
    seen = 0
    todo = [(root, "", depth)]
    while todo:
        directory, prefix, depth = todo.pop()
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            yield Rejected(prefix, f"the directory cannot be read ({error.strerror})", True)
            continue
        below = []
        for entry in entries:
            name = f"{prefix}{shown(entry.name)}"
            is_directory = entry.is_dir(follow_symlinks=False)
            if is_directory and entry.name not in skip:
                if depth == MAX_DEPTH:
                    yield Rejected(f"{name}/", "it lies too deep", True)
                else:
                    below.append((directory / entry.name, f"{name}/", depth + 1))
            elif entry.name in skip:
                continue
            elif entry.is_symlink() and os.path.isdir(entry):  # noqa: PTH112 - it never raises
                yield Rejected(f"{name}/", "it is a link, which is not followed", True)
            elif not is_directory and wanted(entry.name):
                seen += 1
                if seen > MAX_FILES:
                    yield Rejected("", f"there are more than {MAX_FILES:,} files", True)
                    return
                if entry.is_symlink():
                    yield Rejected(name, "it is a link, which is not followed", True)
                else:
                    yield name, directory / entry.name
        todo += reversed(below)


@contextmanager
def opened(path: Path, *, found: bool = True) -> Iterator[IO[bytes]]:
    """A file, open for reading.  One that was only `found` must be its directory's owner's.  Raises
    Unfit."""
    try:
        if found:
            check_owner(path)
        with open_plain(path) as raw:
            if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
                raise Unfit("it is not an ordinary file")
            yield io.BufferedReader(cast(io.RawIOBase, raw), BUFFER)
    except OSError as error:
        raise Unfit(f"it cannot be read ({error.strerror or error})") from None
    except SourceUnreadable as error:
        raise Unfit(str(error.fields.get("detail", error.message))) from None


def read_note(path: Path, *, found: bool = True) -> str:
    """The text of a file.  Raises Unfit where it is too large or no text."""
    with opened(path, found=found) as file:
        data = file.read(MAX_NOTE + 1)
    if len(data) > MAX_NOTE:
        raise Unfit(f"it is larger than {MAX_NOTE >> 20} MiB")
    if b"\0" in data:
        raise Unfit("it holds NUL bytes: it is no text")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Unfit(f"byte {error.start + 1} is not UTF-8") from None


def read_lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, without blank ones; one that is too long comes cut."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        rest = line
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE + 1)
        if line.strip():
            yield number, line


def read_json(data: bytes) -> Any:
    """The value of a JSON text.  Raises Unfit."""
    if len(data) > MAX_LINE:
        raise Unfit(f"it is longer than {MAX_LINE >> 20} MiB")
    if count_nodes(data, MAX_VALUES) > MAX_VALUES:
        raise Unfit(f"it holds more than {MAX_VALUES:,} values")
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=lambda name: None)
    except UnicodeDecodeError as error:
        raise Unfit(f"byte {error.start + 1} is not UTF-8") from None
    except RecursionError:
        raise Unfit("it is nested too deeply") from None
    except ValueError as error:
        raise Unfit(f"it is not JSON ({str(error)[:80]})") from None


def objects(stream: IO[bytes], part: str) -> Iterator[tuple[int, dict[str, Any]] | Rejected]:
    """The objects of JSON Lines with their line numbers."""
    for number, line in read_lines(stream):
        try:
            value = read_json(line)
            if not isinstance(value, dict):
                raise Unfit("it is not a JSON object")
            yield number, value
        except Unfit as error:
            yield Rejected(f"{part}, line {number}", str(error), True)


def first_object(path: Path) -> dict[str, Any]:
    """The object on the first line of a file; empty where there is none."""
    try:
        with opened(path, found=False) as file:
            for told in objects(file, ""):
                return {} if isinstance(told, Rejected) else told[1]
    except Unfit:
        pass
    return {}


# --- the members of an export ---------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """A file of an export: in a directory, or in a zip.  `open` raises what is in UNREADABLE."""

    name: str
    open: Callable[[], IO[bytes]]


def members(path: Path) -> Iterator[Member | Rejected]:
    """The JSON files of an export: of a directory, of a zip, of the zips in a directory."""
    if not path.is_dir():
        yield from (
            _of_zip(path, "")
            if is_zip(path)
            else [Member(path.name, partial(_plain, path, found=False))]
        )
        return
    for told in walk(path, lambda name: name.lower().endswith((".json", ".zip"))):
        if isinstance(told, Rejected):
            yield told
        elif told[0].lower().endswith(".zip"):
            yield from _of_zip(told[1], f"{told[0]}/")
        else:
            yield Member(told[0], partial(_plain, told[1]))


def is_zip(path: Path) -> bool:
    """Whether a file begins like a zip."""
    try:
        with open_plain(path) as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def _plain(path: Path, *, found: bool = True) -> IO[bytes]:
    try:
        if found:
            check_owner(path)
    except NimadError as error:
        raise Unfit(error.message) from None
    return io.BufferedReader(cast(io.RawIOBase, open_plain(path)), BUFFER)


def _of_zip(path: Path, prefix: str) -> Iterator[Member | Rejected]:
    name = prefix.rstrip("/") or path.name
    try:
        with open_plain(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 65_535 - _END_BYTES))
            tail = file.read()
        end = tail.rfind(_END)
        if end < 0 or len(tail) - end < _END_BYTES:
            raise Unfit("its zip has no end: it was cut short")
        if struct.unpack_from("<I", tail, end + 12)[0] > MAX_DIRECTORY:
            raise Unfit("it has more members than an export")
        archive = zipfile.ZipFile(path)
    except (*UNREADABLE, struct.error, RuntimeError) as error:
        yield Rejected(name, str(error)[:200] or type(error).__name__, True)
        return
    with archive:
        room = MAX_UNPACKED
        for info in archive.infolist():
            if not info.filename.lower().endswith(".json"):
                continue
            room -= info.file_size
            if info.flag_bits & 1:
                yield Rejected(prefix + info.filename, "it is encrypted", True)
            elif info.file_size > max(SMALL, MAX_RATIO * info.compress_size) or room < 0:
                why = f"it would unpack to {info.file_size >> 20} MiB"
                yield Rejected(prefix + info.filename, why, True)
            else:
                yield Member(
                    prefix + info.filename,
                    partial(archive.open, info),
                )
