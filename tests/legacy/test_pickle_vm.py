"""The unpickler: what it reads as pickle does, what it refuses, what it never does or costs."""

from __future__ import annotations

import datetime
import pickle
import pickletools
import time
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nimad.errors import NimadError, SourceCorrupt, SourceUnsafe
from nimad.legacy.budget import Budget
from nimad.legacy.pickle_allowlist import BUILDERS, persistent
from nimad.legacy.pickle_vm import OPCODES, Span, load
from nimad.legacy.values import BrokenText

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 200), 1 << 200)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=300)
    | st.binary(max_size=200)
)
KEYS = st.text(st.characters(codec="utf-8"), max_size=10) | st.integers(-5, 300)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(KEYS, inner, max_size=6)
        | st.tuples(inner, inner)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=20,
)


def read(data: bytes, **more: Any) -> Any:
    return load(memoryview(data), "x", BUILDERS, persistent, **more)


@given(VALUES, st.integers(0, 5))
def test_it_reads_what_pickle_wrote(value: Any, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
def test_plain_containers_in_every_protocol(protocol: int) -> None:
    value = {
        "set": {1, "a", (2, None)},
        "frozen": frozenset({b"x", 2.5}),
        "empty": [set(), frozenset(), bytearray()],
        "bytes": bytearray(b"abc"),
        "default": defaultdict(set, {"x": {1}}),
        "counted": Counter("abca"),
        "pairs": Counter([("a", "b"), ("a", ("c", None))]),
        "ordered": OrderedDict({None: 1, 2.5: 2, (b"x", 3): 3}),
        "sets of sets": {frozenset({1, 2}), (frozenset({3}), 4)},
        "sets as keys": {frozenset({"x"}): 1},
    }
    assert read(pickle.dumps(value, protocol)) == value
    for queue in (deque(), deque([1, "a", [2]]), deque("abc", maxlen=2)):
        assert read(pickle.dumps(queue, protocol)) == list(queue)


def test_texts_of_python_2() -> None:
    said = b"(dp0\nS'metadata'\np1\n(lp2\n(dp3\nS'raw_text'\nV caf\\u00e9\np5\n"
    said += b"sU\3\xc3\xa9xI01\nsag1\na."
    assert read(said[:-1] + b"s.") == {"metadata": [{"raw_text": " café", "éx": True}, "metadata"]}
    for cut in range(1, len(said)):
        with pytest.raises(SourceCorrupt):
            read(said[:cut])


@pytest.mark.parametrize("protocol", range(6))
def test_the_names_it_knows(protocol: int) -> None:
    utc = datetime.UTC
    moment = datetime.datetime(2023, 5, 8, 13, 56, 1, 250_000, tzinfo=utc)
    value = {
        "ordered": OrderedDict(a=1, b=[2]),
        "default": defaultdict(int, {"x": 3}),
        "moment": moment,
        "day": datetime.date(2024, 2, 29),
        "set": {1, 2},
    }
    if protocol < 4:
        del value["set"]  # there it is a call of a built-in type
    found = read(pickle.dumps(value, protocol))
    assert found["ordered"] == {"a": 1, "b": [2]} and found["default"] == {"x": 3}
    assert found["moment"] == moment.isoformat() and found["day"] == "2024-02-29"
    assert found.get("set", {1, 2}) == {1, 2}


def test_long_bytes_stay_in_the_file() -> None:
    data = pickle.dumps({"a": b"x" * 5000, "b": b"y" * 10}, 4)
    found = read(data)
    assert isinstance(found["a"], Span) and found["b"] == b"y" * 10
    assert data[found["a"].offset :][: found["a"].length] == b"x" * 5000


def test_text_that_is_not_utf8() -> None:
    assert read(b"\x80\x02X\x02\0\0\0\xff\xfe.") == BrokenText(b"\xff\xfe")


def test_the_places_of_texts() -> None:
    data = pickle.dumps(["eins", "zwei", "größer" * 100], 4)
    told: list[tuple[int, int, str]] = []
    read(data, texts=lambda *found: told.append(found))
    assert [text for *_, text in told] == ["eins", "zwei", "größer" * 100]
    assert all(data[at : at + length].decode() == text for at, length, text in told)


# --- what it refuses ------------------------------------------------------------------------------

GET_SYSTEM = b"cposix\nsystem\n"
CALLS = {
    "reduce": b"\x80\x02" + GET_SYSTEM + b"X\4\0\0\0true\x85R.",
    "stack global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    "inst": b"\x80\x02(X\4\0\0\0trueiposix\nsystem\n.",
    "obj": b"\x80\x02(" + GET_SYSTEM + b"X\4\0\0\0trueo.",
    "newobj": b"\x80\x02" + GET_SYSTEM + b")\x81.",
    "newobj_ex": b"\x80\x04" + GET_SYSTEM + b")}\x92.",
    "extension": b"\x80\x02\x82\x01.",
    "build": b"\x80\x02]}b.",
    "build on a name": b"\x80\x02ccollections\nOrderedDict\n}b.",
    "persistent": b"\x80\x02Pabc\n.",
    "out of band": b"\x80\x05\x97.",
    "protocol 1": b"\x80\x01}.",
    "call of a type": b"\x80\x02cbuiltins\nlist\n)R.",
    "attribute": b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.",
}


@pytest.mark.parametrize("program", CALLS.values(), ids=list(CALLS))
def test_nothing_is_called(program: bytes) -> None:
    with pytest.raises((SourceUnsafe, SourceCorrupt)):
        read(program)


def test_no_opcode_that_makes_objects_is_known() -> None:
    codes = {op.name: op.code.encode("latin-1") for op in pickletools.opcodes}
    known = set(OPCODES)
    assert {name: code for name, (code, _) in OPCODES.items()}.items() <= codes.items()
    makers = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "DUP"}
    assert not known & makers
    assert {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPERSID"} < known, "held to a table"


def test_the_table_holds_functions_of_ours_only() -> None:
    assert {builder.__module__ for builder in BUILDERS.values()} == {
        "nimad.legacy.pickle_allowlist"
    }


BOMBS = {
    "a text of 4 GB": b"\x80\x02X\xff\xff\xff\xffabc.",
    "bytes of 8 EB": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",
    "a memo of 4 billion": b"\x80\x02}r\xff\xff\xff\xff.",
    "a long number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a million lists": b"\x80\x02" + b"]" * 1_000_000 + b".",
    "marks": b"\x80\x02" + b"(" * 1_000_000 + b".",
    "nested": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a key that is nested": b"\x80\x02})" + b"\x85" * 100_000 + b"Ks.",
    "copies of a copy": b"\x80\x02"
    + b"]("
    + b"K\1K\1\x86" * 20_000
    + b"eq\0"
    + b"("
    + b"ccollections\nOrderedDict\nh\0\x85R" * 20_000
    + b"t.",
}


@pytest.mark.parametrize("program", BOMBS.values(), ids=list(BOMBS))
def test_bombs_are_bounded(program: bytes) -> None:
    room = 16 << 20
    began = time.process_time()
    tracemalloc.start()
    try:
        try:
            read(program, budget=Budget(room))
        except NimadError as error:
            assert isinstance(error, SourceCorrupt)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < 3 * room
    assert time.process_time() - began < 20, "bounded, however slow the machine"


@given(st.binary(max_size=400))
@example(b"\x80\x04\x95" + b"\0" * 8 + b"}.")
@settings(max_examples=400)
def test_any_bytes_end_in_a_value_or_a_reason(data: bytes) -> None:
    for program in (data, b"\x80\x04" + data):
        try:
            read(program, budget=Budget(1 << 20))
        except NimadError as error:
            assert isinstance(error, (SourceCorrupt, SourceUnsafe))


@given(st.data())
@settings(max_examples=200)
def test_a_changed_pickle_ends_in_a_value_or_a_reason(data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps({"metadata": [{"who": "a", "n": [1.5, None]}] * 3}, 4))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(whole), budget=Budget(1 << 20))
    except NimadError as error:
        assert isinstance(error, (SourceCorrupt, SourceUnsafe))
    assert not Path("/tmp/nimad-pickle-bomb").exists()
