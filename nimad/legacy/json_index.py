"""Where the parts of a large JSON document lie, so that each can be read by itself.

One pass over the bytes finds the values of the outermost object and the elements of its arrays.
Source: RFC 8259.
"""

from __future__ import annotations

import json
import re
from dataclasses import field
from pathlib import Path
from typing import Any, NoReturn

from nimad.dataclass import dataclass
from nimad.errors import SourceCorrupt
from nimad.legacy.budget import Budget

# A quote that no string begins with is a token of its own: without it the search would begin anew
# behind each quote of a string that has no end.
TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:"]', re.DOTALL)
MAX_DEPTH = 64
"""Levels of a document."""
CONTAINER = 120
"""Memory charged for a container [bytes]."""
BLANK = 200
"""Length of the longest space between brackets of an empty array [bytes]."""


@dataclass(slots=True)
class Part:
    """A value: its bytes from `start` to `end`, and those of its elements if it is an array."""

    start: int
    end: int
    elements: list[tuple[int, int]] = field(default_factory=list)


def index_parts(
    view: memoryview, path: Path | str, budget: Budget | None = None
) -> dict[str, Part]:
    """The parts of the object that a document is.  Raises SourceCorrupt.  Cost: one pass.

    What is read in one piece, all but the vectors, is charged to `budget`.
    """
    return _Index(view, path, budget or Budget()).read()


def parse(view: memoryview, start: int, end: int, path: Path | str) -> Any:
    """The value in some bytes.  Raises SourceCorrupt."""
    try:
        return json.loads(bytes(view[start:end]))
    except (ValueError, RecursionError) as error:
        raise SourceCorrupt(path=path, detail=f"its JSON: {error}"[:200]) from None


class _Index:
    """One pass; `_key` is the name of the value under way, `_from` where it begins."""

    def __init__(self, view: memoryview, path: Path | str, budget: Budget) -> None:
        self._view, self._path = view, path
        self._found: dict[str, Part] = {}
        self._open: list[int] = []
        self._key: str | None = None
        self._text: tuple[int, int] | None = None
        self._from = self._element = 0
        self._elements: list[tuple[int, int]] = []
        self._budget = budget

    def read(self) -> dict[str, Part]:
        for token in TOKEN.finditer(self._view):
            (start, end), code = token.span(), self._view[token.start()]
            if code == ord('"'):
                if end - start == 1:
                    self._damaged("a text has no end")
                self._text = (start, end)
            elif code in b"{[":
                self._enter(code, end)
            elif code in b"}]":
                self._leave(code, start, end)
            elif code == ord(":") and len(self._open) == 1:
                if self._text is None:
                    self._damaged("a value has no name")
                self._key = parse(self._view, *self._text, self._path)
                self._from, self._elements, self._text = end, [], None
            elif code == ord(",") and len(self._open) == 1:
                self._end_value(start)
            elif code == ord(",") and len(self._open) == 2 and self._open[1] == ord("["):
                self._end_element(start)
                self._element = end
            if self._key != "vectors":  # those are read one by one
                self._charge(CONTAINER if code in b"{[" else end - start)
            if not self._open and self._found:
                break
        if self._open or not self._found:
            self._damaged("it ends too early")
        return self._found

    def _damaged(self, detail: str) -> NoReturn:
        raise SourceCorrupt(path=self._path, detail=f"its JSON: {detail}")

    def _charge(self, cost: int) -> None:
        self._budget.bytes -= cost
        if self._budget.bytes < 0:
            raise self._budget.exceeded(self._path)

    def _enter(self, code: int, end: int) -> None:
        if not self._open and (code != ord("{") or self._found):
            self._damaged("it is no object")
        self._open.append(code)
        if len(self._open) > MAX_DEPTH:
            self._damaged(f"it is nested more than {MAX_DEPTH} levels deep")
        if len(self._open) == 2:
            self._element = end

    def _leave(self, code: int, start: int, end: int) -> None:
        if not self._open or self._open.pop() != {ord("}"): ord("{"), ord("]"): ord("[")}[code]:
            self._damaged("its brackets do not match")
        if len(self._open) == 1 and code == ord("]"):
            self._end_element(start)
        elif not self._open:
            self._end_value(start)
            self._found.setdefault("", Part(0, end))

    def _end_element(self, end: int) -> None:
        said = self._view[self._element : min(end, self._element + BLANK)]
        if end - self._element > BLANK or bytes(said).strip():
            self._elements.append((self._element, end))
            self._charge(CONTAINER)

    def _end_value(self, end: int) -> None:
        if self._key is not None:
            self._found[self._key] = Part(self._from, end, self._elements)
        self._key, self._elements = None, []
