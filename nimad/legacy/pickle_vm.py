"""Reads pickles without running anything of them: a closed list of opcodes, names and limits.

A pickle is a program for a small stack machine, and the stock machine calls whatever the program
names.  This one knows the opcodes that NIMA's files are made of, and no others.  A name it meets is
looked up in a fixed table of `Builders` (pickle_allowlist.py), which are functions of ours that
check their arguments and return plain values; a name that is not there ends the reading.  Nothing
is imported, no attribute is set, no method of the file's choice is called.

Limits: what is made may not cost more than its budget (each opcode is charged what its value
takes), only scalars and flat tuples are keys, bytes longer than `IN_PLACE` stay in the file as a
`Span`.  Values may be nested deeper than Python likes to recurse, or contain themselves: what
walks them counts the levels.

Source: the opcodes are described in Python's own pickletools.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from nimad.dataclass import dataclass
from nimad.errors import SourceCorrupt, SourceUnsafe
from nimad.legacy.budget import Budget
from nimad.legacy.values import BrokenText

IN_PLACE = 256
"""Length above which bytes are not copied out of the file [bytes]."""
MAX_NAME = 200
"""Length of the longest name [bytes]."""
MAX_LINE = 16 << 20
"""Length of the longest text of protocol 0 [bytes]."""
CONTAINER, SCALAR, MEMO = 120, 40, 100
"""Memory charged for an empty container, a number, an entry of the memo [bytes]."""


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
TextSink = Callable[[int, int, str | None], None]
"""Told of each text: offset of its bytes, their number, the text; None for bytes."""


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

    def run(self, budget: Budget) -> Any:
        """Follow the opcodes up to STOP; the value that they made."""
        while True:
            code = self.view[self.at]
            self.at += 1
            if code == STOP:
                break
            step = STEPS.get(code)
            if step is None:
                self.unsafe(f"uses the opcode {code:#04x}, which no NIMA file has")
            step(self)
            if self.room < 0:
                raise budget.exceeded(self.path)
        if len(self.stack) != 1 or self.marks:
            self.damaged("it ends with a value unfinished")
        return self.stack[0]

    def check_protocol(self) -> None:
        if not 2 <= self.number("<B") <= 5:
            self.unsafe("is of a protocol other than 2 to 5")

    def check_frame(self) -> None:
        if self.number("<Q") > len(self.view) - self.at:
            raise IndexError

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

    def line_bytes(self, most: int = MAX_LINE) -> bytes:
        """Bytes up to the next newline, no more than `most`."""
        start, looked, end = self.at, 64, -1
        ahead = b""
        while end < 0:
            looked = min(4 * looked, most)
            if len(ahead) == min(looked, len(self.view) - start):
                self.damaged("a name has no end")
            ahead = bytes(self.view[start : start + looked])
            end = ahead.find(b"\n")
        self.at = start + end + 1
        return ahead[:end]

    def line(self) -> str:
        """A name or a number up to the next newline."""
        return self.line_bytes(MAX_NAME).decode("utf-8")

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

    def mark(self) -> None:
        self.room -= SCALAR
        self.marks.append(len(self.stack))

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
            self.tell(start, length, None)
            self.push(BrokenText(raw), length + SCALAR)
            return
        self.tell(start, length, text)
        self.push(text, len(text) * (1 if len(text) == length else 4) + 60)

    def push_line(self, coding: str) -> None:
        """A text as protocol 0 writes it, in one line."""
        start, raw = self.at, self.line_bytes()
        text = raw.decode(coding)
        self.tell(start, len(raw), text)
        self.push(text, 4 * len(text) + 60)

    def push_quoted(self) -> None:
        """Bytes of Python 2 as protocol 0 writes them, in quotes."""
        start, raw = self.at, self.line_bytes().strip()
        if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in b"'\"":
            self.damaged("a text has no end")
        data = raw[1:-1].decode("unicode_escape").encode("latin-1")
        text = data.decode("utf-8", "replace")
        self.tell(start + 1, len(raw) - 2, text)
        self.push(text, 4 * len(text) + 60)

    def push_number(self) -> None:
        """A whole number in digits; 00 and 01 are truth values."""
        said = self.line()
        self.push({"00": False, "01": True}[said] if said in ("00", "01") else int(said))

    def tell(self, start: int, length: int, text: str | None) -> None:
        if self.texts is not None:
            self.texts(start, length, text)

    def push_bytes(self, length: int) -> None:
        self.tell(self.at, length, None)
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

    def fill_set(self) -> None:
        values, target = self.since_mark(), self.top()
        if not isinstance(target, set):
            self.damaged("it adds to what is no set")
        self.room -= len(values) * 50
        target.update(as_key(value) for value in values)

    def push_dict(self) -> None:
        pairs = self.since_mark()
        self.push({}, CONTAINER)
        self.fill_dict(pairs)

    def push_set(self) -> None:
        values = self.since_mark()
        self.push({as_key(value) for value in values}, 2 * CONTAINER + 50 * len(values))

    # --- names ----------------------------------------------------------------------------------

    def push_name(self, module: Any, name: Any) -> None:
        full = f"{module}.{name}"
        if not isinstance(module, str) or not isinstance(name, str) or full not in self.builders:
            shown = "".join(c if c.isprintable() else "?" for c in full[:MAX_NAME])
            self.unsafe(f"asks for {shown}, which no NIMA file needs")
        self.push(Name(full))

    def push_name_on_stack(self) -> None:
        name, module = self.pop(), self.pop()
        self.push_name(module, name)

    def call(self) -> None:
        arguments, what = self.pop(), self.pop()
        if not isinstance(what, Name):
            self.unsafe("calls what is no name")
        if not isinstance(arguments, tuple):
            self.damaged(f"{what.name} has no arguments")
        # a builder may copy what it is given, and one value may be given many times
        for given in arguments:
            if hasattr(given, "__len__"):
                self.room -= len(given) * (4 if isinstance(given, (str, bytes)) else 60)
        self.room -= CONTAINER
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


def as_key(value: Any, levels: int = 4) -> Any:
    """A key as it may be: hashing a deeply nested tuple would overflow the stack."""
    if value is None or isinstance(value, (str, int, float, bytes)):
        return value
    if isinstance(value, (tuple, set, frozenset)) and levels:
        parts = [as_key(part, levels - 1) for part in value]
        return tuple(parts) if isinstance(value, tuple) else frozenset(parts)
    raise ValueError(f"a {type(value).__name__} is no key")


def load(
    view: memoryview,
    path: Path | str,
    builders: Builders,
    persistent: Callable[[Any], Any] | None = None,
    texts: TextSink | None = None,
    budget: Budget | None = None,
) -> Any:
    """The value of a pickle.  `path` only names the file in errors.

    `persistent` makes a value of a persistent id (without it the pickle may have none).  Raises
    SourceUnsafe when the pickle asks for anything that is not in `builders`, SourceCorrupt when it
    is damaged or cut short, SourceTooLarge when it is larger than `budget` lets it be once read.
    What is left of that is in `budget` afterwards.
    """
    budget = budget or Budget()
    machine = Machine(view, str(path), builders, persistent, texts, budget.bytes)
    try:
        value = machine.run(budget)
        budget.bytes = machine.room
        return value
    except (IndexError, struct.error, UnicodeDecodeError):
        machine.damaged("it ends too early")
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        machine.damaged(f"{type(error).__name__}: {error}"[:200])


# --- the opcodes ----------------------------------------------------------------------------------

Step = Callable[[Machine], None]
STOP = ord(".")


def _tuple(count: int) -> Step:
    def step(m: Machine) -> None:
        values = [m.pop() for _ in range(count)]
        m.push(tuple(reversed(values)), CONTAINER)

    return step


def _long(m: Machine, length: int) -> None:
    if length > 255:
        m.damaged("a number is too long")
    m.push(int.from_bytes(m.take(length), "little", signed=True), SCALAR + length)


OPCODES: dict[str, tuple[bytes, Step]] = {
    "PROTO": (b"\x80", Machine.check_protocol),
    "FRAME": (b"\x95", Machine.check_frame),
    "MARK": (b"(", Machine.mark),
    "NONE": (b"N", lambda m: m.push(None, 8)),
    "NEWTRUE": (b"\x88", lambda m: m.push(True, 8)),
    "NEWFALSE": (b"\x89", lambda m: m.push(False, 8)),
    "BININT": (b"J", lambda m: m.push(m.number("<i"))),
    "BININT1": (b"K", lambda m: m.push(m.number("<B"))),
    "BININT2": (b"M", lambda m: m.push(m.number("<H"))),
    "LONG1": (b"\x8a", lambda m: _long(m, m.number("<B"))),
    "LONG4": (b"\x8b", lambda m: _long(m, m.number("<i"))),
    "BINFLOAT": (b"G", lambda m: m.push(struct.unpack(">d", m.take(8))[0])),
    "SHORT_BINUNICODE": (b"\x8c", lambda m: m.push_text(m.number("<B"))),
    "BINUNICODE": (b"X", lambda m: m.push_text(m.number("<I"))),
    "BINUNICODE8": (b"\x8d", lambda m: m.push_text(m.number("<Q"))),
    "INT": (b"I", Machine.push_number),
    "LONG": (b"L", lambda m: m.push(int(m.line().rstrip("L")))),
    "FLOAT": (b"F", lambda m: m.push(float(m.line()))),
    "UNICODE": (b"V", lambda m: m.push_line("raw-unicode-escape")),
    "STRING": (b"S", Machine.push_quoted),
    "SHORT_BINSTRING": (b"U", lambda m: m.push_text(m.number("<B"))),
    "BINSTRING": (b"T", lambda m: m.push_text(m.number("<I"))),
    "SHORT_BINBYTES": (b"C", lambda m: m.push_bytes(m.number("<B"))),
    "BINBYTES": (b"B", lambda m: m.push_bytes(m.number("<I"))),
    "BINBYTES8": (b"\x8e", lambda m: m.push_bytes(m.number("<Q"))),
    "BYTEARRAY8": (b"\x96", lambda m: m.push_bytes(m.number("<Q"))),
    "EMPTY_LIST": (b"]", lambda m: m.push([], CONTAINER)),
    "EMPTY_DICT": (b"}", lambda m: m.push({}, CONTAINER)),
    "EMPTY_TUPLE": (b")", lambda m: m.push((), 8)),
    "EMPTY_SET": (b"\x8f", lambda m: m.push(set(), 2 * CONTAINER)),
    "TUPLE": (b"t", lambda m: m.push(tuple(m.since_mark()), CONTAINER)),
    "LIST": (b"l", lambda m: m.push(list(m.since_mark()), CONTAINER)),
    "DICT": (b"d", Machine.push_dict),
    "TUPLE1": (b"\x85", _tuple(1)),
    "TUPLE2": (b"\x86", _tuple(2)),
    "TUPLE3": (b"\x87", _tuple(3)),
    "APPEND": (b"a", lambda m: m.fill_list([m.pop()])),
    "APPENDS": (b"e", lambda m: m.fill_list(m.since_mark())),
    "SETITEM": (b"s", lambda m: m.fill_dict([m.pop(), m.pop()][::-1])),
    "SETITEMS": (b"u", lambda m: m.fill_dict(m.since_mark())),
    "ADDITEMS": (b"\x90", Machine.fill_set),
    "FROZENSET": (b"\x91", Machine.push_set),
    "BINGET": (b"h", lambda m: m.recall(m.number("<B"))),
    "LONG_BINGET": (b"j", lambda m: m.recall(m.number("<I"))),
    "GET": (b"g", lambda m: m.recall(int(m.line()))),
    "PUT": (b"p", lambda m: m.remember(int(m.line()))),
    "BINPUT": (b"q", lambda m: m.remember(m.number("<B"))),
    "LONG_BINPUT": (b"r", lambda m: m.remember(m.number("<I"))),
    "MEMOIZE": (b"\x94", lambda m: m.remember(len(m.memo))),
    "GLOBAL": (b"c", lambda m: m.push_name(m.line(), m.line())),
    "STACK_GLOBAL": (b"\x93", Machine.push_name_on_stack),
    "REDUCE": (b"R", Machine.call),
    "BUILD": (b"b", Machine.build),
    "BINPERSID": (b"Q", Machine.push_persistent),
}
"""Opcodes of NIMA's files, by the names that Python's pickletools.py explains."""
STEPS: dict[int, Step] = {code[0]: step for code, step in OPCODES.values()}
