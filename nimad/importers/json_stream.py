"""Reads a large JSON array an element at a time: an export of 200 MB never lies whole in memory.

Only brackets and quotes are looked at until an element is whole; json.loads, in C, does the rest.
An element that is not JSON is refused alone, because the next one begins at its bracket.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from nimad.importers.files import MAX_LINE, Unfit, opened, read_json
from nimad.importers.items import Rejected

CHUNK = 1 << 18
"""Bytes that are read at a time."""
MAX_DEPTH = 200
"""Number of brackets around a value [brackets]."""
_BRACKET = re.compile(rb'["\[\]{}]')
_IN_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


def memories_of(path: Path, *names: str) -> Iterator[tuple[str, dict[str, Any] | Rejected]]:
    """The objects of a list in a file that a user named, each with its place for a message; or why
    one, or what follows, is none.  `names`: fields that may hold the list."""
    where = path.name
    try:
        with opened(path, found=False) as file:
            reader = ArrayReader(file, *names)
            for number, value in enumerate(reader.values(), 1):
                where = f"{path.name}, memory {number}"
                if isinstance(value, dict):
                    yield where, value
                else:
                    why = str(value) if isinstance(value, Unfit) else "it is not an object"
                    yield where, Rejected(where, why)
            if not reader.whole:
                yield where, Rejected(path.name, "it ends in the middle", True)
    except Unfit as error:
        yield where, Rejected(path.name, str(error), True)


class ArrayReader:
    """The elements of the array that a stream holds: at its top, or under one of some names in the
    object at its top.  Elements that are neither objects nor arrays are passed over."""

    def __init__(self, stream: IO[bytes], *names: str) -> None:
        self._stream, self._names = stream, {name.encode() for name in names}
        self._data = b""
        self._at = 0  # what is before it was looked at
        self._start = -1  # where the element begins, while one is open
        self._lost = ""  # why the open element is not taken
        self.whole = False
        """Whether the end of the array was seen."""

    def values(self) -> Iterator[Any | Unfit]:
        """Each element, or why it is not taken."""
        for told in self._elements():
            try:
                yield told if isinstance(told, Unfit) else read_json(told)
            except Unfit as error:
                yield error

    def _elements(self) -> Iterator[bytes | Unfit]:
        depth, level, last = 0, -1, b""
        while token := self._next():
            if token[0] == ord('"'):
                last = token[1:-1] if depth == 1 else b""  # a key of the object at the top
            elif token in (b"[", b"{"):
                if level < 0 and token == b"[" and (not depth or last in self._names):
                    level = depth + 1
                elif depth == level:
                    self._start = self._at - 1
                depth += 1
                if depth > MAX_DEPTH:
                    self._lost = "it is nested too deeply"
            else:
                depth -= 1
                if depth == level and self._start >= 0:
                    whole = self._data[self._start : self._at]
                    yield Unfit(self._lost) if self._lost else whole
                    self._start, self._lost = -1, ""
                elif depth < level:
                    self.whole = True
                    return

    def _next(self) -> bytes:
        """The next bracket, or text with its quotes (cut, where it is long); empty at the end."""
        while True:
            found = _BRACKET.search(self._data, self._at)
            if found is None:
                self._at = len(self._data)
            elif found[0] != b'"':
                self._at = found.end()
                return found[0]
            else:
                text = _IN_TEXT.match(self._data, found.end())
                end = text.end() if text else found.end()
                if end < len(self._data) and self._data[end] == ord('"'):
                    self._at = end + 1
                    return self._data[found.start() : min(self._at, found.start() + 100)]
                self._at = found.start()
            if not self._more():
                return b""

    def _more(self) -> bool:
        """Read on; what is not needed any more goes.  False at the end."""
        if self._start >= 0 and self._at - self._start > MAX_LINE and not self._lost:
            self._lost = f"it is longer than {MAX_LINE >> 20} MiB"
        keep = self._at if self._start < 0 or self._lost else self._start
        if len(self._data) - keep > MAX_LINE and self._at == keep:
            raise Unfit(f"a text in it is longer than {MAX_LINE >> 20} MiB")
        read = self._stream.read(max(CHUNK, (len(self._data) - keep) // 2))
        self._data = self._data[keep:] + read
        self._at -= keep
        self._start = min(self._start, 0)
        return bool(read)
