"""The exception tree: stable codes, unique numbers, messages that can be filled."""

from __future__ import annotations

import string

import pytest

from nimad.errors import (
    ConfigError,
    EmbedderMissing,
    NimadError,
    NotFound,
    RecordsDamaged,
    RemoteError,
    StateTooNew,
    StateUnusable,
    all_errors,
)

SYSEXITS = {1, 64, 65, 66, 69, 70, 71, 73, 74, 75, 76, 77, 78, 130}


def filled(cls: type[NimadError]) -> NimadError:
    template = f"{cls.__doc__} {cls.hint}"
    names = {name for _, name, _, _ in string.Formatter().parse(template) if name}
    return cls(**dict.fromkeys(names, "x"))


@pytest.mark.parametrize("cls", all_errors(), ids=lambda c: c.__name__)
def test_every_error_can_be_said_and_sent(cls: type[NimadError]) -> None:
    error = filled(cls)
    assert error.message and "\n" not in error.message and "{" not in error.message
    assert error.next_step
    assert cls.exit in SYSEXITS
    sent = error.to_wire()
    received = RemoteError.from_wire(sent)
    assert (received.code, received.exit, received.wire) == (cls.code, cls.exit, cls.wire)
    assert (received.message, received.next_step) == (error.message, error.next_step)


def test_codes_and_wire_numbers_are_unique() -> None:
    codes = [cls.code for cls in all_errors()]
    wires = [cls.wire for cls in all_errors()]
    assert len(set(codes)) == len(codes)
    assert len(set(wires)) == len(wires)


def test_the_message_is_the_exception_text() -> None:
    assert str(NotFound(kind="memory", id=3)) == "There is no memory 3."


@pytest.mark.parametrize("detail", ["Permission denied", "Permission denied."])
def test_what_happened_ends_where_the_next_step_begins(detail: str) -> None:
    assert "Permission denied. Give --state" in StateUnusable(state="x", detail=detail).sentences


def test_what_keeps_the_daemon_from_starting_is_mended_without_a_daemon() -> None:
    for kind in (RecordsDamaged, StateTooNew, StateUnusable, ConfigError, EmbedderMissing):
        assert "nimactl" not in kind.hint, f"{kind.__name__}: nothing answers nimactl then"
