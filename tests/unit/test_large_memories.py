"""What is larger than a frame: exported and got in pieces, cut in answers, never in RAM at once."""

from __future__ import annotations

import asyncio
import json
import os
import tracemalloc
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nimad.background.worker import Worker
from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.limits import MAX_FRAME, MAX_PAYLOAD
from nimad.migrate.manager import MigrationManager
from nimad.model import EVERYTHING, MAX_TEXT, CutMemory, Filter, Memory
from nimad.namespaces import Namespaces
from nimad.serve import service_verbs, wire
from nimad.serve.access import Access, Peer
from nimad.serve.dispatch import Dispatcher
from nimad.serve.frames import Frame
from nimad.serve.oversize import Document, cut_to_fit
from nimad.serve.protocol import encode, size_of
from nimad.serve.verb_table import verbs
from nimad.store import bounded, goals, namespaces, rows
from nimad.store.bounded import fair_share, get_within, page_within
from nimad.store.goals import Goal
from tests.dispatching import answer_to

ME = Peer(os.getpid(), 0, 0)
Ask = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(tmp_path / "state", Config().replace(embedder="hash"))
    yield opened
    opened.close()


@pytest.fixture
def ask(store: MemoryStore) -> Ask:
    """Asks one verb through a dispatcher; the whole reply."""
    served = verbs(
        store,
        MigrationManager(store, Worker(lambda: store.config)),
        service_verbs.Traffic("x.sock"),
    )

    async def answer(frame: bytes) -> bytes | None:
        dispatcher = Dispatcher(served, Access("", ""), threads=1)
        try:
            return await answer_to(dispatcher, Frame(frame), ME)
        finally:
            dispatcher.abandon()

    def asked(method: str, **params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        line = asyncio.run(answer(json.dumps(request).encode()))
        assert line is not None and len(line) <= MAX_FRAME + 1
        return json.loads(line)

    return asked


def pieces(ask: Ask, verb: str, **params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A record put together, and the last reply."""
    text = ""
    while True:
        reply = ask(verb, offset=len(text), **params)["result"]
        piece = reply["piece"]
        text += piece["json"]
        if len(text) == piece["length"]:
            return json.loads(text), reply


def large(number: int, size: int = 200_000) -> Memory:
    """A memory whose JSON is larger than a frame: \\x01 takes six bytes there."""
    return Memory(text=f"{number} kettle " + "\x01" * (size - 20), affect="ü" * 1000)


def test_an_export_gets_past_memories_larger_than_a_frame(ask: Ask, store: MemoryStore) -> None:
    blob = bytes(range(256)) * 8000
    given = [
        Memory(text="first"),
        large(2),
        Memory(text="a picture", blobs={"embedding": blob}),
        Memory(text="last"),
    ]
    store.remember_many(given)
    seen = exported(ask)
    assert [memory["text"] for memory in seen] == [memory.text for memory in given]
    assert b64decode(seen[2]["blobs"]["embedding"]) == blob


@pytest.mark.parametrize("spare", [-100_000, 50, 10_000])
def test_a_goal_larger_than_a_frame_is_exported_as_one(
    ask: Ask, store: MemoryStore, spare: int
) -> None:
    """Also where the memory alone would fit, and is too large with what makes it a goal."""
    (size,) = [
        size_of(wire.exported(store.get(n))) for n in store.remember_many([Memory(text="x")])
    ]
    text = "\x01" * ((MAX_PAYLOAD - size - spare) // 6)
    (number,) = store.remember_many([Memory(text="", extra={"kept": text})])
    goal = Goal(number, 0.5, 1_700_000_000_000, due=1_800_000_000_000)
    with store.records.write() as tx:
        goals.add(tx, goal)
    (_, seen) = exported(ask)
    assert seen["extra"] == {"kept": text}
    assert wire.imported_goal(seen) == goal._replace(memory=0)


def test_a_part_of_a_large_memory_does_not_read_others(ask: Ask, store: MemoryStore) -> None:
    """Nor the whole blob once more than its checksum needs."""
    size = 1 << 20
    store.remember_many([Memory(f"m {n}", blobs={"photo": bytes(size)}) for n in range(40)])

    def reads() -> int:
        return int(Path("/proc/self/io").read_text().split("syscr:")[1].split()[0])

    before = reads()
    assert ask("get", id=25, offset=0)["result"]["piece"]["length"]
    assert reads() - before < 1.5 * size / 4096


def exported(ask: Ask) -> list[dict[str, Any]]:
    """What a client gets of all memories, pages and pieces."""
    seen: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        reply = ask("export", after=after)
        if "error" in reply:
            assert reply["error"]["data"]["code"] == "reply_too_large"
            record, last = pieces(ask, "export", after=after)
            seen.append(record)
            after = last["next"]
        else:
            seen += reply["result"]["memories"]
            after = reply["result"]["next"]
    return seen


def test_pieces_end_with_the_store(ask: Ask, store: MemoryStore) -> None:
    assert ask("export", offset=0)["result"] == {"memories": [], "piece": None, "next": None}
    (number,) = store.remember_many([Memory(text="one")])
    found, last = pieces(ask, "export")
    assert found["text"] == "one" and last["next"] is None
    assert ask("export", after=number, offset=0)["result"]["piece"] is None
    assert ask("get", id=number, offset=10**9)["result"]["piece"]["json"] == ""


def test_a_large_memory_is_got_cut_and_in_pieces_whole(ask: Ask, store: MemoryStore) -> None:
    (number,) = store.remember_many([large(1)])
    short = ask("get", id=number)["result"]["memory"]
    assert short["cut"] is True and short["text"].endswith(" …") and short["affect"] == "ü" * 1000
    assert size_of(short) > MAX_PAYLOAD // 2
    found, _ = pieces(ask, "get", id=number)
    assert found["text"] == large(1).text and "cut" not in found


@pytest.mark.parametrize("more", [{}, {"context": True}, {"mode": "words"}, {"explain": True}])
def test_a_query_is_cut_to_the_frame(ask: Ask, store: MemoryStore, more: dict[str, Any]) -> None:
    store.remember_many([Memory(text="who mended the kettle?"), *map(large, range(12))])
    reply = ask("query", text="kettle mended", k=10, **more)["result"]
    assert len(reply["results"]) == 10 and "cut" not in reply
    whole = [memory for memory in reply["results"] if "cut" not in memory]
    assert [memory["text"] for memory in whole] == ["who mended the kettle?"]
    assert all(memory["text"].endswith(" …") for memory in reply["results"] if "cut" in memory)


def test_similar_and_related_are_cut_to_the_frame(ask: Ask, store: MemoryStore) -> None:
    ids = store.remember_many([large(number) for number in range(8)])
    assert any("cut" in memory for memory in ask("similar", id=ids[0])["result"]["results"])
    turn = [large(number) for number in range(3)]
    for memory, layer in zip(turn, ("input", "contemplation", "output"), strict=True):
        memory.turn, memory.layer = "t", layer
    ids = store.remember_many(turn)
    reply = ask("related", id=ids[0])["result"]
    assert reply["results"] and all("cut" in memory for memory in reply["results"])


def test_a_query_for_a_thousand_large_memories_holds_few_megabytes(
    ask: Ask, store: MemoryStore
) -> None:
    for start in range(0, 200, 20):
        store.remember_many(
            [Memory(text=f"kettle {n} " + "x" * (MAX_TEXT - 20)) for n in range(start, start + 20)]
        )
    ask("query", text="kettle", k=1)
    tracemalloc.start()
    try:
        reply = ask("query", text="kettle", k=1000, mode="words")["result"]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(reply["results"]) > 100 and reply["results"][0]["cut"] is True
    assert peak < 48 << 20, "40 MB of texts were in RAM at once, several times over"


def test_verbs_that_name_many_memories_do_not_hold_them(ask: Ask, store: MemoryStore) -> None:
    """10,000 may be named, of 200,000 characters each: redated, forgotten by a user who is bound,
    and compared with what an importer brings."""
    origin = {"kind": "chatgpt", "path": "/x", "identity": "1", "name": "x"}
    for start in range(0, 60, 4):
        items = [
            {"item": f"c#{n}", "text": f"kettle {n} " + "x" * (MAX_TEXT - 20)}
            for n in range(start, start + 4)
        ]
        assert ask("import.put", **origin, items=items)["result"]["added"] == 4
    ids = store.records.matching(EVERYTHING).tolist()
    assert len(ids) == 60
    short = [{"item": f"c#{n}", "text": f"kettle {n}"} for n in range(60)]
    for work in (
        lambda: ask("redate", ids=ids, when=1_700_000_000_000),
        lambda: namespaces.seen(store.records, ids, Namespaces(["default"])),
        lambda: ask("import.known", **origin),
        lambda: ask("import.put", **origin, items=short),
    ):
        tracemalloc.start()
        try:
            assert "error" not in (work() or {})
            assert tracemalloc.get_traced_memory()[1] < 10 << 20, "of 12 MB of texts"
        finally:
            tracemalloc.stop()
    texts = {memory.text for memory in store.export(0, 100)}
    assert texts == {f"kettle {n}" for n in range(60)}


def test_results_are_left_out_where_cutting_is_not_enough(ask: Ask) -> None:
    memory = {"id": 1, "text": "x" * 300, "tags": ["t"] * 30}
    result = cut_to_fit({"results": [dict(memory) for _ in range(10)]}, 2000)
    assert result["cut"] is True and 1 <= len(result["results"]) < 10
    assert size_of(result) <= 2000


@pytest.mark.parametrize("room", [3000, 5000, 20_000, 10**6])
def test_whatever_the_texts_are_the_result_fits(room: int) -> None:
    rng = np.random.default_rng(room)
    alphabet = ["a", "ü", "😀", '"', "\x01", "日"]
    memories = [
        {"id": n, "text": "".join(rng.choice(alphabet, int(rng.integers(0, 5000)))), "extra": None}
        for n in range(5)
    ]
    kept = [memory["text"] for memory in memories]
    result = cut_to_fit({"results": memories}, room)
    assert size_of(result) <= room
    for memory in result["results"]:
        whole = kept[memory["id"]]
        assert memory["text"] == whole if "cut" not in memory else len(memory["text"]) < len(whole)


@pytest.mark.parametrize("letter", ["a", "é", "日", "😀", '"', "\x01"])
def test_nothing_is_left_out_that_could_be_cut(letter: str) -> None:
    """At each size of the frame, and with a passage that says the same again."""
    for room in range(2000, 2200):
        found = [{"id": n, "text": letter * (900 + 700 * n)} for n in range(2)]
        found[1]["context"] = {"memories": [dict(found[1])]}
        result = cut_to_fit({"results": found, "took_ms": 0.5}, room)
        assert len(result["results"]) == 2 and "cut" not in result
        assert size_of(result) <= room


def test_a_fair_share_leaves_short_ones_whole() -> None:
    assert fair_share([], 10) == 0 and fair_share([1, 2, 3], 100) == 3
    assert fair_share([1, 100, 100], 101) == 50 and fair_share([5, 5], 0) == 0


def test_pieces_of_any_text_fit_and_make_the_whole() -> None:
    record = {"id": 1, "text": '"\\😀\x01ü' * 300_000}
    text = ""
    while len(text) < (piece := Document(record).piece(len(text)))["length"]:
        assert size_of(piece) < MAX_FRAME - 1000
        text += piece["json"]
    assert json.loads(text) == record


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 1000])
def test_any_part_of_a_document_with_blobs_can_be_had(step: int) -> None:
    blobs = {"a": b"", "b": b"x", "c": bytes(range(256)), '"': b"\0\1"}
    whole = {"id": 1, "text": "ü", "blobs": {n: b64encode(b).decode() for n, b in blobs.items()}}
    document = Document(
        {"id": 1, "text": "ü"},
        {name: len(data) for name, data in blobs.items()},
        lambda name, first, size: blobs[name][first : first + size],
    )
    expected = encode(whole).decode()
    for offset in range(0, len(expected) + 2, step):
        piece = document.piece(offset)
        assert piece["json"] == expected[offset:] and piece["length"] == len(expected)


def test_reading_within_a_bound(store: MemoryStore) -> None:
    ids = store.remember_many(
        [Memory(text=f"{n}" * 1000, affect="a" * 50, extra={"n": "e" * 900}) for n in range(1, 10)]
        + [Memory(text="short") for _ in range(20)]
    )
    found = get_within(store.records, ids, 6000)
    assert list(found) == ids and found[ids[-1]] == store.records.get(ids[-1:])[ids[-1]]
    assert found[ids[0]].text.endswith(" …") and found[ids[0]].extra is None
    assert sum(len(memory.text) for memory in found.values()) < 6100
    assert get_within(store.records, ids, 10**6) == store.records.get(ids)
    page, more = page_within(store.records, 0, 500, EVERYTHING, 5000)
    assert more and 1 <= len(page) <= 3
    assert page_within(store.records, 0, len(ids), EVERYTHING, 10**7)[1] is False
    assert page_within(store.records, 0, 2, Filter(namespace="default"), 10**7)[1] is True
    assert page_within(store.records, 0, 2, Filter(namespace="other"), 10**7) == ([], False)


def test_what_no_answer_can_hold_is_not_read(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question for many results that found one with 12 MB took .1 s, each time."""
    store.remember_many([Memory(f"the kettle {number}") for number in range(20)])
    (large,) = store.remember_many(
        [Memory("the kettle sings", who="Maya", tags=("loud",), extra={"a": "x" * (12 << 20)})]
    )
    read: list[int] = []
    real = rows.from_row

    def from_row(row: Any) -> Memory:
        read.append(max(len(value) for value in row if isinstance(value, str)))
        return real(row)

    monkeypatch.setattr(rows, "from_row", from_row)
    monkeypatch.setattr(bounded, "from_row", from_row)
    found = get_within(store.records, [*range(1, 21), large])
    assert len(found) == len(read) == 21 and max(read) < 100
    cut = found[large]
    assert isinstance(cut, CutMemory) and cut.extra is None
    assert (cut.text, cut.who, cut.tags) == ("the kettle sings", "Maya", ("loud",))
    assert not isinstance(found[1], CutMemory)
    whole = store.get(large)
    assert whole.extra == {"a": "x" * (12 << 20)} and not isinstance(whole, CutMemory)
