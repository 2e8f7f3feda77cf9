"""Export, import into an empty store, export: the same lines, whatever the memories hold."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nimad.core.store import MemoryStore
from nimad.ctl.client import Client
from nimad.ctl.export_command import pages
from nimad.ctl.import_command import run_import
from nimad.ctl.main import build
from nimad.ctl.screen import Screen
from nimad.errors import NimadError, RemoteError
from nimad.legacy.bundle import take_bundle
from nimad.legacy.stores import find
from nimad.limits import MAX_FRAME
from nimad.model import FIELDS, MAX_TEXT, MAX_TIME, MIN_TIME, Memory
from nimad.serve import protocol
from nimad.serve.access import Peer
from nimad.serve.memory_verbs import MemoryVerbs
from nimad.serve.verbs import Call
from tests.legacy import checkpoints
from tests.legacy.moving import migrate, opened
from tests.legacy.stores import create, embedding, insert, node, small_store

ME = Peer(os.getpid(), os.getuid(), os.getgid())


class Loopback(Client):
    """nimactl's client without a socket: frames of a daemon's size go to the verbs of a store."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__("/nowhere")
        self._verbs = {verb.name: verb for verb in MemoryVerbs(store).all()}

    def call(self, verb: str, fd: int | None = None, **params: Any) -> dict[str, Any]:
        if verb == "ping":
            return {}
        frame = self._frame(verb, params)
        call = Call(protocol.decode(frame[:-1])["params"], ME, [] if fd is None else [fd])
        try:
            reply = json.dumps(self._verbs[verb].answer(call), ensure_ascii=False)
        except NimadError as error:
            raise RemoteError.from_wire(error.to_wire()) from None
        assert len(reply.encode()) <= MAX_FRAME
        return dict(json.loads(reply))


def exported(store: MemoryStore) -> bytes:
    return b"".join(lines for _, lines in pages(Loopback(store)))


def imported(lines: bytes, store: MemoryStore) -> None:
    with TemporaryDirectory() as place:
        file = Path(place) / "lines"
        file.write_bytes(lines)
        args = build(["import"]).parse_args(["import", str(file)])
        assert run_import(args, Loopback(store), Screen()) == 0


def told(lines: bytes) -> list[dict[str, Any]]:
    """The memories without what may differ: ids, and where a store of its own had them from."""
    found = [json.loads(line) for line in lines.split(b"\n") if line]
    for memory in found:
        extra = dict(memory["extra"] or {})
        source = memory.pop("source")
        memory["from"] = extra.pop("source", source)
        memory["extra"] = extra
        del memory["id"]
    return found


@contextmanager
def empty() -> Iterator[MemoryStore]:
    with (
        TemporaryDirectory() as place,
        opened(Path(place) / "state", embedder="hash") as (store, _),
    ):
        yield store


def check_round_trip(store: MemoryStore) -> None:
    first = exported(store)
    with empty() as other:
        imported(first, other)
        second = exported(other)
    assert told(second) == told(first)
    with empty() as third:
        imported(second, third)
        assert told(exported(third)) == told(second)


# --- memories of our own --------------------------------------------------------------------------


def texts(field: Any) -> st.SearchStrategy[str]:
    """Short ones, and now and then one at the bound."""
    bound = st.sampled_from(["x", "ä", "語", "\U0001f9ca"]).map(lambda sign: sign * field.most)
    least = 0 if field.blank else 1
    plain = st.text(min_size=least, max_size=30).filter(lambda t: field.blank or t.strip())
    return st.one_of(plain, plain, plain, bound) if field.most <= 20_000 else plain


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=9)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
MOMENTS = st.one_of(
    st.none(),
    st.sampled_from([MIN_TIME, -1, 1, 10**8, 10**11 - 1, 10**11, 10**14 - 1, 10**14, MAX_TIME - 1]),
    st.integers(MIN_TIME, MAX_TIME - 1).filter(bool),
)
KINDS: dict[str, Any] = {
    "choice": lambda field: st.sampled_from(field.choices),
    "moment": lambda field: MOMENTS,
    "share": lambda field: st.none() | st.floats(0, 1),
    "count": lambda field: st.sampled_from([0, 1, field.most]),
    "tags": lambda field: st.lists(
        st.text(min_size=1, max_size=9).filter(str.strip) | st.just("t" * field.most), max_size=4
    ).map(tuple),
    "json": lambda field: st.none() | st.dictionaries(st.text(max_size=5), JSON, max_size=4),
    "blobs": lambda field: st.dictionaries(st.text(max_size=9), st.binary(max_size=99), max_size=2),
}


def values(name: str, field: Any) -> st.SearchStrategy[Any]:
    if field.kind == "text":
        optional = name not in ("text", "namespace")
        return st.none() | texts(field) if optional else texts(field)
    found = KINDS[field.kind](field)
    return st.none() | found if name == "origin" else found  # type: ignore[no-any-return]


MEMORY = st.fixed_dictionaries(
    {name: values(name, field) for name, field in FIELDS.items() if field.kind != "source"}
).map(lambda fields: Memory(**fields))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(MEMORY, min_size=1, max_size=6, unique_by=lambda m: m.key or id(m)))
def test_what_is_remembered(memories: list[Memory]) -> None:
    with empty() as store:
        store.remember_many(memories)
        check_round_trip(store)


def test_what_is_larger_than_a_frame() -> None:
    long = "ä\n" * 100_000
    with empty() as store:
        store.remember_many(
            [
                Memory("before"),
                Memory(long, summary=long[::-1], affect=long, blobs={"b": os.urandom(2_000_000)}),
                Memory("many values", extra={"n": list(range(50_000))}),
                Memory("between"),
                Memory("blobs", blobs={"a": bytes(4_000_000), "b": b""}),
                *(Memory(f"m{n}", extra={str(k): k for k in range(60)}) for n in range(300)),
            ]
        )
        check_round_trip(store)


@pytest.mark.slow
def test_what_is_as_large_as_a_legacy_row_may_be() -> None:
    with empty() as store:
        blob = random.Random(1).randbytes(16 << 20)
        large = Memory("x" * MAX_TEXT, blobs={"a": blob, "b": b"1"})
        store.remember_many([Memory("before"), large])
        check_round_trip(store)


# --- memories of others ---------------------------------------------------------------------------


def odd_rows() -> list[dict[str, Any]]:
    """What the field has in graphs: other units, no dates, long names, NULLs, BLOBs, columns."""
    times: list[Any] = [
        0,
        1,
        -5,
        1_715_162_400,
        1_715_162_400_250_000,
        1_715_162_400_250_000_000,
        1 << 62,
        253_402_300_800_001,
        -(1 << 62),
        "some day",
        "2024-05-08T23:30:00",
        "1715162400",
        1.5e9,
        None,
        b"x",
        31_536_000_000,
    ]
    rows = [node(at + 1, timestamp=time, created_at=None) for at, time in enumerate(times)]
    more: list[dict[str, Any]] = [
        {"session_key": "agent:" + "x" * 1200, "who": "A" * 1200, "turn_id": "t" * 1200},
        {"who": "B" * 19_999, "conversation_id": "c" * 30_000, "summary": "s" * 30_000},
        {"text": "t" * 300_000},
        {"text": None},
        {"text": ""},
        {"text": "a\0b"},
        {"text": "\ufeffé"},
        {"fe_score": 7.5},
        {"fe_score": -0.0},
        {"fe_score": "high"},
        {"layer": "dream"},
        {"created_at": "yesterday"},
        {"embedding": embedding(0.5)},
        {"who": b"\xff\x00"},
        {"affect_json": None, "who": None, "summary": "", "session_key": ""},
    ]
    return rows + [node(100 + at, **fields) for at, fields in enumerate(more)]


def test_a_graph_with_odd_rows(tmp_path: Path) -> None:
    create(tmp_path / "graph.sqlite", loose=True)
    insert(tmp_path / "graph.sqlite", "memory_nodes", odd_rows())
    with opened(tmp_path / "state") as (store, manager):
        done = migrate(manager, tmp_path / "graph.sqlite", time_zone="Asia/Tokyo")
        assert done["state"] == "verified"
        check_round_trip(store)


@pytest.mark.parametrize("schema", [1, 3])
def test_a_graph(tmp_path: Path, schema: int) -> None:
    small_store(tmp_path / "graph.sqlite", schema=schema)
    with opened(tmp_path / "state") as (store, manager):
        migrate(manager, tmp_path / "graph.sqlite")
        check_round_trip(store)


def test_checkpoints(tmp_path: Path) -> None:
    episodes = [
        checkpoints.episode(n, **more)
        for n, more in enumerate(
            [
                {},
                {"timestamp": 1_715_162_400},
                {"timestamp": 1_715_162_400_250_000},
                {"timestamp": "2024-05-08T23:30:00"},
                {"timestamp": None, "when": ""},
                {"timestamp": 1e30},
                {"importance": 3},
                {"raw_text": "x" * 250_000},
                {"mood": {"deep": [1, {"er": None}]}},
                {"who": "w" * 25_000},
                {"themes": "t" * 99_000},
            ]
        )
    ]
    vectors = checkpoints.tensor(np.zeros((len(episodes), 8)))
    checkpoints.save(tmp_path / "latest.pt", checkpoints.nested(episodes, vectors))
    with opened(tmp_path / "state") as (store, manager):
        (found,) = find(tmp_path / "latest.pt").stores
        with take_bundle(found.members, found.path, tmp_path) as taken:
            manager.attach(taken.fd, taken.request(strategy="full", time_zone="Europe/Berlin"))
        manager.finish()
        assert store.records.counts()["memories"] == len(episodes)
        check_round_trip(store)
