"""The stack machine that reads a pickle: what the opcodes of unpickle.py work on, within limits."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from nimad.errors import SourceCorrupt, SourceUnsafe
from nimad.legacy.values import BrokenText

MAX_BYTES = 512 << 20
"""Memory that the values of one pickle may take, as estimated [bytes]."""
IN_PLACE = 256
"""Bytes objects longer than this are not copied out of the file [bytes]."""
MAX_NAME = 200
CONTAINER, SCALAR, MEMO = 120, 40, 100
"""What is charged for an empty container, a number, an entry of the memo [bytes]."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes that stay where they are: `length` of them, `offset` from the pickle's begin."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Name:
    """A "module.name" of the table, not yet called."""

    name: str


Builders = Mapping[str, Callable[..., Any]]
"""Name -> what makes an inert value of the arguments; raises ValueError when they are not fit."""
TextSink = Callable[[int, int, str], None]
"""Told of each text: offset of its bytes, their number, the text."""


class Machine:
    """One reading: the stack, the marks on it, the memo."""

    def __init__(
        self,
        view: memoryview,
        path: str,
        builders: Builders,
        persistent: Callable[[Any], Any] | None,
        texts: TextSink | None,
        room: int,
    ) -> None:
        self.view, self.path, self.at, self.room = view, path, 0, room
        self.builders, self.persistent, self.texts = builders, persistent, texts
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    # --- complaints -----------------------------------------------------------------------------

    def damaged(self, detail: str) -> NoReturn:
        raise SourceCorrupt(path=self.path, detail=f"its pickle, at byte {self.at}: {detail}")

    def unsafe(self, detail: str) -> NoReturn:
        raise SourceUnsafe(path=self.path, detail=detail)

    # --- reading --------------------------------------------------------------------------------

    def take(self, length: int) -> memoryview:
        """The next bytes of the file."""
        start, self.at = self.at, self.at + length
        if length < 0 or self.at > len(self.view):
            raise IndexError
        return self.view[start : self.at]

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def line(self) -> str:
        """A text up to the next newline."""
        start = self.at
        ahead = bytes(self.view[start : start + MAX_NAME])
        end = ahead.find(b"\n")
        if end < 0:
            self.damaged("a name has no end")
        self.at = start + end + 1
        return ahead[:end].decode("utf-8")

    # --- the stack ------------------------------------------------------------------------------

    def push(self, value: Any, cost: int = SCALAR) -> None:
        self.room -= cost
        self.stack.append(value)

    def pop(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            self.damaged("it takes a value from below its mark")
        return self.stack.pop()

    def top(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            self.damaged("it takes a value from below its mark")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        """Take everything down to the last mark, and the mark."""
        if not self.marks:
            self.damaged("a mark is missing")
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def push_text(self, length: int) -> None:
        start = self.at
        raw = bytes(self.take(length))
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            self.push(BrokenText(raw), length + SCALAR)
            return
        if self.texts is not None:
            self.texts(start, length, text)
        self.push(text, len(text) * (1 if len(text) == length else 4) + 60)

    def push_bytes(self, length: int) -> None:
        if length <= IN_PLACE:
            self.push(bytes(self.take(length)), length + SCALAR)
            return
        start = self.at
        self.take(length)
        self.push(Span(start, length), 80)

    def remember(self, key: int) -> None:
        self.room -= MEMO
        self.memo[key] = self.top()

    def recall(self, key: int) -> None:
        if key not in self.memo:
            self.damaged(f"it refers to value {key}, which there is not")
        self.push(self.memo[key], 8)

    def fill_dict(self, pairs: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(pairs) % 2:
            self.damaged("it puts an item into what is no dict")
        self.room -= len(pairs) * 50
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[as_key(key)] = value

    def fill_list(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            self.damaged("it appends to what is no list")
        self.room -= len(values) * 8
        target.extend(values)

    # --- names ----------------------------------------------------------------------------------

    def push_name(self, module: Any, name: Any) -> None:
        full = f"{module}.{name}"
        if not isinstance(module, str) or not isinstance(name, str) or full not in self.builders:
            shown = "".join(c if c.isprintable() else "?" for c in full[:MAX_NAME])
            self.unsafe(f"asks for {shown}, which no NIMA file needs")
        self.push(Name(full))

    def call(self) -> None:
        arguments, what = self.pop(), self.pop()
        if not isinstance(what, Name):
            self.unsafe("calls what is no name")
        if not isinstance(arguments, tuple):
            self.damaged(f"{what.name} has no arguments")
        # a builder may copy what it is given, and one value may be given many times
        sizes = (len(given) for given in arguments if hasattr(given, "__len__"))
        self.room -= CONTAINER + 60 * sum(sizes)
        if self.room >= 0:
            self.stack.append(self.builders[what.name](*arguments))

    def build(self) -> None:
        state, target = self.pop(), self.top()
        fill = self.builders.get(f"{type(target).__name__} state")
        if fill is None:
            self.unsafe("changes the inside of a value")
        fill(target, state)

    def push_persistent(self) -> None:
        if self.persistent is None:
            self.unsafe("refers to something outside of itself")
        self.push(self.persistent(self.pop()), CONTAINER)


def as_key(value: Any) -> Any:
    """A key as it may be: hashing a deeply nested tuple would overflow the stack."""
    parts = value if isinstance(value, tuple) else (value,)
    if all(part is None or isinstance(part, (str, int, float, bytes)) for part in parts):
        return value
    raise ValueError(f"a {type(value).__name__} is no key")
