"""Both sides of the socket keep to the same limits, and a verb that is called read only reads."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.background.worker import Worker
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.ctl import import_command
from nimad.ctl.client import Client
from nimad.ctl.import_command import LINE_BYTES, LineReader, json_list
from nimad.ctl.main import build
from nimad.errors import BadRecord, FrameTooLarge, UsageError
from nimad.limits import (
    BATCH_BYTES,
    LENGTHY,
    MAX_BUDGET,
    MAX_DEPTH,
    MAX_FRAME,
    MAX_IMPORT,
    MAX_PAYLOAD,
    MAX_RESULTS,
    UNHURRIED,
    is_lengthy,
)
from nimad.migrate.manager import MigrationManager
from nimad.model import MAX_TEXT, Memory
from nimad.reflection import goals
from nimad.serve import (
    accounts,
    connection,
    memory_verbs,
    migration_verbs,
    protocol,
    query_verb,
    service_verbs,
)
from nimad.serve.access import Access, Peer
from nimad.serve.dispatch import Dispatcher
from nimad.serve.frames import Frame, FrameDecoder
from nimad.serve.verb_table import verbs
from nimad.serve.verbs import Verb
from tests.dispatching import answer_to


def served(store: MemoryStore) -> dict[str, Verb]:
    migrations = MigrationManager(store, Worker(lambda: store.config))
    return {v.name: v for v in verbs(store, migrations, service_verbs.Traffic("x.sock"))}


# --- limits ---------------------------------------------------------------------------------------


def test_every_limit_fits_in_a_frame() -> None:
    assert 4 * MAX_TEXT < MAX_PAYLOAD < MAX_FRAME, "any text of that length, in UTF-8"
    assert BATCH_BYTES <= MAX_PAYLOAD and LINE_BYTES >= 6 * MAX_PAYLOAD
    assert 2 * accounts.cost_of(b"\xff" * MAX_FRAME) <= accounts.USER_BYTES, "two of the largest"
    assert connection.IN_FLIGHT <= accounts.USER_REQUESTS


def test_both_sides_refuse_the_same_frame() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"x" * MAX_FRAME + b"\n")
    assert decoder.take()
    decoder.feed(b"x" * (MAX_FRAME + 1) + b"\n")
    with pytest.raises(FrameTooLarge):
        decoder.take()
    overhead = len(protocol.encode({"jsonrpc": "2.0", "id": 1, "method": "m", "params": {"a": ""}}))
    assert len(Client("/x")._frame("m", {"a": "x" * (MAX_FRAME - overhead)})) == MAX_FRAME + 1
    with pytest.raises(FrameTooLarge):
        Client("/x").call("m", a="x" * (MAX_FRAME - overhead + 1))


def test_what_one_line_of_an_import_may_hold_passes_the_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "x" * (MAX_PAYLOAD - len('{"text":""}'))
    ((batch),) = LineReader(io.BytesIO(json.dumps({"text": text}).encode()), "f").batches()
    frame = Client("/x")._frame(
        "import", {"memories": json_list(batch.memories), "where": "f:1" * 300}
    )
    assert len(frame) <= MAX_FRAME + 1
    longer = json.dumps({"text": text + "x"}).encode()
    ((batch),) = LineReader(io.BytesIO(longer), "f").batches()
    assert len(batch.memories) == 1, "it goes alone, behind a descriptor"
    monkeypatch.setattr(import_command, "MAX_RECORD", len(longer) - 10)
    with pytest.raises(BadRecord):
        list(LineReader(io.BytesIO(longer), "f").batches())
    with pytest.raises(ValueError, match=str(MAX_IMPORT)):
        memory_verbs.IMPORT["memories"].check([{}] * (MAX_IMPORT + 1))


BOUNDED = {
    "k": (["query", "x", "-k"], query_verb.QUERY["k"], MAX_RESULTS),
    "budget": (["query", "x", "--budget"], query_verb.QUERY["budget"], MAX_BUDGET),
    "depth": (["related", "1", "--depth"], memory_verbs.RELATED["depth"], MAX_DEPTH),
    "limit": (["related", "1", "-k"], memory_verbs.RELATED["limit"], MAX_RESULTS),
    "batch_size": (["migrate", "x", "--batch-size"], migration_verbs.ATTACH["batch_size"], 100_000),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_nimactl_takes_what_the_daemon_takes(name: str) -> None:
    argv, param, most = BOUNDED[name]
    options = vars(build(argv).parse_args([*argv, str(most)]))
    assert options[name] == most == param.check(most)
    with pytest.raises(UsageError):
        build(argv).parse_args([*argv, str(most + 1)])
    with pytest.raises(ValueError, match=str(most)):
        param.check(most + 1)


# --- the table of verbs ---------------------------------------------------------------------------

READ = {
    "ping": {},
    "status": {},
    "doctor": {},
    "query": {"text": "kettle", "context": True, "explain": True},
    "get": {"id": 1},
    "similar": {"id": 1},
    "related": {"id": 1, "depth": 5},
    "complete": {"what": "kettle", "ask": "who"},
    "phi": {"id": 1},
    "narrative": {"budget": 100},
    "person": {"name": "anybody"},
    "connect": {"id": 1, "other": 2},
    "dream.list": {},
    "goal.list": {},
    "goal.show": {"id": 61},
    "graph": {"cypher": "MATCH (m:Memory) RETURN count(*)"},
    "documents.find": {},
    "documents.namespaces": {},
    "export": {},
    "audit": {},
    "metrics": {},
    "import.known": {"kind": "openclaw", "path": "/nowhere", "identity": "x"},
    "browse": {},
    "timeline": {"edges": [0, 1, 2]},
    "migrate.status": {},
}
"""Every verb with "read" access and parameters for it."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A store with a segment, hot vectors, words, relations."""
    state = tmp_path / "state"
    store = MemoryStore.open(state, Config().replace(embedder="hash"))
    for start in range(0, 60, 20):
        store.remember_many(
            [Memory(text=f"the kettle number {start + n}", turn=f"{start}") for n in range(20)]
        )
    goals.add(store, Memory("mend the kettle"))
    store.close()
    return state


def contents(state: Path) -> dict[str, str]:
    """The digest of each file.

    Left out is what SQLite's readers share, the index of its log.
    """
    return {
        str(path.relative_to(state)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(state.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def ask(found: dict[str, Verb], method: str, params: dict[str, Any]) -> dict[str, Any]:
    async def answer() -> bytes | None:
        dispatcher = Dispatcher(found.values(), Access("", ""), threads=1)
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            peer = Peer(os.getpid(), 0, 0)
            return await answer_to(dispatcher, Frame(json.dumps(request).encode()), peer)
        finally:
            dispatcher.abandon()

    reply = asyncio.run(answer())
    assert reply is not None
    result: dict[str, Any] = json.loads(reply)
    return result


def test_lengthy_verbs_exist(state: Path) -> None:
    store = MemoryStore.open(state, Config().replace(embedder="hash"))
    found = served(store)
    store.close()
    assert found.keys() >= UNHURRIED
    assert found.keys() >= LENGTHY
    assert is_lengthy("forget", {"purge": True}) and not is_lengthy("forget", {"ids": [1]})
    assert is_lengthy("import", {"size": 9}) and not is_lengthy("import", {"memories": []})


def test_verbs_that_read_change_no_byte_of_the_state(state: Path) -> None:
    """What is counted of a reader (accesses) is written with the next change, or at the stop."""
    store = MemoryStore.open(state, Config().replace(embedder="hash"))
    try:
        store.graph.rebuild()
        found = served(store)
        named = {verb.name for verb in found.values() if verb.access == "read"}
        assert named - {"migrate.quarantine", "export.all"} == READ.keys(), (
            "a new verb that reads: add it here"
        )
        before = contents(state)
        for verb, params in READ.items():
            reply = ask(found, verb, params)
            assert "result" in reply, (verb, reply)
            assert contents(state) == before, f"{verb} wrote"
    finally:
        store.close()


def test_doctor_tells_of_a_damaged_segment_and_leaves_it_be(state: Path) -> None:
    store = MemoryStore.open(state, Config().replace(embedder="hash"))
    try:
        rebuilt = ask(served(store), "rebuild", {"part": "blocks"})
        assert "result" in rebuilt
        (segment,) = (state / "blocks").glob("*.nsb")
        data = np.memmap(segment, np.uint8, "r+")
        data[len(data) // 2 :] ^= 0x5A
        data.flush()
        before = contents(state)
        problems = ask(served(store), "doctor", {})["result"]["problems"]
        assert problems and contents(state) == before
    finally:
        store.close()
