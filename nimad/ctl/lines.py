"""A JSON Lines file as batches of memories, each small enough for one frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn

from nimad.ctl.human import size
from nimad.errors import BadRecord, InputUnusable

BATCH_ROWS = 500
"""Most memories in a batch: so many the daemon takes at a time."""
BATCH_BYTES = 900_000
"""Most bytes of memories in a batch; a frame holds 1 MiB with its envelope."""
RECORD_BYTES = (1 << 20) - 4096
"""Longest memory: it must fit in a frame alone [bytes]."""
LINE_BYTES = 8 << 20
"""Longest line: a memory whose every character is escaped still fits [bytes]."""


@dataclass
class Batch:
    """Memories and the lines they stand on, which are not always consecutive: blank ones count."""

    memories: list[dict[str, Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    bytes: int = 0

    def add(self, memory: dict[str, Any], number: int, length: int) -> None:
        """Take a memory in; `length` is what it takes in a frame [bytes]."""
        self.memories.append(memory)
        self.numbers.append(number)
        self.bytes += length + 1

    def has_room(self, length: int) -> bool:
        """True when a memory of that length may still come in; an empty batch takes any."""
        fits = len(self.memories) < BATCH_ROWS and self.bytes + length < BATCH_BYTES
        return fits or not self.memories


class LineReader:
    """Reads memories from a binary stream; `name` stands in errors, `first` is the first line.

    Holds one batch and one line at a time, however long the file is.
    """

    def __init__(self, stream: BinaryIO, name: str, first: int = 1) -> None:
        self._stream = stream
        self._name = name
        self._first = first
        self.number = 0
        """The line that was read last, from 1."""

    def batches(self) -> Iterator[Batch]:
        """The batches, in the order of the lines.

        Before BadRecord is raised for a line, what stands before it was yielded, so that the lines
        before the bad one can be imported.
        """
        batch = Batch()
        try:
            for memory, length in self._records():
                if not batch.has_room(length):
                    yield batch
                    batch = Batch()
                batch.add(memory, self.number, length)
        except BadRecord:
            if batch.memories:
                yield batch
            raise
        if batch.memories:
            yield batch

    def _records(self) -> Iterator[tuple[dict[str, Any], int]]:
        while line := self._read():
            self.number += 1
            if self.number < self._first:
                while line and not line.endswith(b"\n"):  # the rest of a line of any length
                    line = self._read()
                continue
            if len(line) > LINE_BYTES:
                self._refuse(f"the line is longer than {size(LINE_BYTES)}")
            if self.number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield self._record(line)

    def _read(self) -> bytes:
        try:
            return self._stream.readline(LINE_BYTES + 1)
        except OSError as error:
            raise InputUnusable(path=self._name, detail=error.strerror) from error

    def _record(self, line: bytes) -> tuple[dict[str, Any], int]:
        try:
            memory = json.loads(line.decode(), parse_constant=self._no_constant)
            packed = json.dumps(memory, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            length = len(packed.encode())
        except json.JSONDecodeError as error:
            self._refuse(f"it is not JSON ({error.msg} at character {error.pos + 1})")
        except UnicodeDecodeError as error:
            self._refuse(f"byte {error.start + 1} is not UTF-8")
        except UnicodeEncodeError:
            self._refuse("a text in it is not Unicode (a lone surrogate)")
        except RecursionError:
            self._refuse("it is nested too deeply")
        except ValueError:
            self._refuse("a number in it is too large")
        if not isinstance(memory, dict):
            self._refuse("it is not a JSON object")
        if length > RECORD_BYTES:
            self._refuse(f"the memory has {size(length)}; at most {size(RECORD_BYTES)} fit")
        return memory, length

    def _no_constant(self, name: str) -> NoReturn:
        self._refuse(f"{name} is not JSON")

    def _refuse(self, detail: str) -> NoReturn:
        raise BadRecord(where=f"{self._name}:{self.number}", detail=detail) from None
