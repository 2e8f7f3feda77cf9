"""Reads pickles without running anything of them: a closed list of opcodes, names and limits.

A pickle is a program for a small stack machine, and the stock machine calls whatever the program
names.  This one knows the opcodes that NIMA's files are made of, and no others.  A name it meets is
looked up in a fixed table of `Builders` (inert.py), which are functions of ours that check their
arguments and return plain values; a name that is not there ends the reading.  Nothing is imported,
no attribute is set, no method of the file's choice is called.

Limits: what is made may not cost more than `MAX_BYTES` (each opcode is charged what its value
takes), only scalars and flat tuples are keys, bytes longer than `IN_PLACE` stay in the file as a
`Span`.  Values may be nested deeper than Python likes to recurse, or contain themselves: whoever
walks them counts the levels.

Source: the opcodes are described in Python's own pickletools.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nimad.legacy.machine import CONTAINER, MAX_BYTES, SCALAR, Builders, Machine, TextSink, as_key


def load(
    view: memoryview,
    path: Path | str,
    builders: Builders,
    persistent: Callable[[Any], Any] | None = None,
    texts: TextSink | None = None,
    room: int = MAX_BYTES,
) -> Any:
    """The value of a pickle.  `path` only names the file in errors.

    `persistent` makes a value of a persistent id (without it the pickle may have none).  Raises
    SourceUnsafe when the pickle asks for anything that is not in `builders`, SourceCorrupt when it
    is damaged, cut short, or larger than `room` [bytes] once read.
    """
    machine = Machine(view, str(path), builders, persistent, texts, room)
    try:
        return _run(machine)
    except (IndexError, struct.error, UnicodeDecodeError):
        machine.damaged("it ends too early")
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        machine.damaged(f"{type(error).__name__}: {error}"[:200])


def _run(machine: Machine) -> Any:
    view, stack = machine.view, machine.stack
    while True:
        code = view[machine.at]
        machine.at += 1
        if code == STOP:
            break
        step = STEPS.get(code)
        if step is None:
            machine.unsafe(f"uses the opcode {code:#04x}, which no NIMA file has")
        step(machine)
        if machine.room < 0:
            machine.damaged("what it holds would take more memory than a NIMA file ever does")
    if len(stack) != 1 or machine.marks:
        machine.damaged("it ends with a value unfinished")
    return stack[0]


# --- the opcodes ----------------------------------------------------------------------------------

Step = Callable[[Machine], None]
STOP = ord(".")


def _proto(m: Machine) -> None:
    if not 2 <= m.number("<B") <= 5:
        m.unsafe("is of a protocol other than 2 to 5")


def _frame(m: Machine) -> None:
    if m.number("<Q") > len(m.view) - m.at:
        raise IndexError


def _mark(m: Machine) -> None:
    m.room -= SCALAR
    m.marks.append(len(m.stack))


def _tuple(count: int) -> Step:
    def step(m: Machine) -> None:
        values = [m.pop() for _ in range(count)]
        m.push(tuple(reversed(values)), CONTAINER)

    return step


def _put_item(m: Machine) -> None:
    value, key = m.pop(), m.pop()
    m.fill_dict([key, value])


def _append(m: Machine) -> None:
    value = m.pop()
    m.fill_list([value])


def _stack_global(m: Machine) -> None:
    name, module = m.pop(), m.pop()
    m.push_name(module, name)


def _set_items(m: Machine) -> None:
    values, target = m.since_mark(), m.top()
    if not isinstance(target, set):
        m.damaged("it adds to what is no set")
    m.room -= len(values) * 50
    target.update(as_key(value) for value in values)


def _long(m: Machine, length: int) -> None:
    if length > 255:
        m.damaged("a number is too long")
    m.push(int.from_bytes(m.take(length), "little", signed=True), SCALAR + length)


def _dict_from_mark(m: Machine) -> None:
    pairs = m.since_mark()
    m.push({}, CONTAINER)
    m.fill_dict(pairs)


STEPS: dict[int, Step] = {
    ord(code): step
    for code, step in {
        "\x80": _proto,
        "\x95": _frame,
        "(": _mark,
        "N": lambda m: m.push(None, 8),
        "\x88": lambda m: m.push(True, 8),
        "\x89": lambda m: m.push(False, 8),
        "J": lambda m: m.push(m.number("<i")),
        "K": lambda m: m.push(m.number("<B")),
        "M": lambda m: m.push(m.number("<H")),
        "\x8a": lambda m: _long(m, m.number("<B")),
        "\x8b": lambda m: _long(m, m.number("<i")),
        "G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
        "\x8c": lambda m: m.push_text(m.number("<B")),
        "X": lambda m: m.push_text(m.number("<I")),
        "\x8d": lambda m: m.push_text(m.number("<Q")),
        "C": lambda m: m.push_bytes(m.number("<B")),
        "B": lambda m: m.push_bytes(m.number("<I")),
        "\x8e": lambda m: m.push_bytes(m.number("<Q")),
        "\x96": lambda m: m.push_bytes(m.number("<Q")),
        "]": lambda m: m.push([], CONTAINER),
        "}": lambda m: m.push({}, CONTAINER),
        ")": lambda m: m.push((), 8),
        "\x8f": lambda m: m.push(set(), 2 * CONTAINER),
        "t": lambda m: m.push(tuple(m.since_mark()), CONTAINER),
        "l": lambda m: m.push(list(m.since_mark()), CONTAINER),
        "d": _dict_from_mark,
        "\x85": _tuple(1),
        "\x86": _tuple(2),
        "\x87": _tuple(3),
        "a": _append,
        "e": lambda m: m.fill_list(m.since_mark()),
        "s": _put_item,
        "u": lambda m: m.fill_dict(m.since_mark()),
        "\x90": _set_items,
        "h": lambda m: m.recall(m.number("<B")),
        "j": lambda m: m.recall(m.number("<I")),
        "q": lambda m: m.remember(m.number("<B")),
        "r": lambda m: m.remember(m.number("<I")),
        "\x94": lambda m: m.remember(len(m.memo)),
        "c": lambda m: m.push_name(m.line(), m.line()),
        "\x93": _stack_global,
        "R": lambda m: m.call(),
        "b": lambda m: m.build(),
        "Q": lambda m: m.push_persistent(),
    }.items()
}
