"""Questions go before a migration: it waits while one is asked, whoever asked for it, and none has
to take over what the migration has just written."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nimad.config import Config
from nimad.core import query_priority
from nimad.core.query_priority import QueryPriority
from nimad.core.store import MemoryStore
from nimad.core.unwritten import BULK
from nimad.errors import DiskFull, RecordsDamaged
from nimad.index.kernels.contract import LANES
from nimad.migrate.manager import MigrationManager
from nimad.model import Memory, Stage
from nimad.serve.access import Access
from nimad.serve.dispatch import MYSELF, Dispatcher, Pending
from nimad.serve.frames import Frame
from nimad.serve.server import Limits, Server
from nimad.serve.verbs import Call, Verb
from nimad.store import sources
from tests.benchmarks.talk import make_talk
from tests.dispatching import answer_to
from tests.legacy import stores
from tests.legacy.moving import QUICK, attach, opened
from tests.threads import PATIENCE, Background

ROWS = 200


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return stores.small_store(tmp_path / "graph.sqlite", count=ROWS)


@contextmanager
def moving(
    tmp_path: Path, source: Path, **settings: Any
) -> Iterator[tuple[MemoryStore, MigrationManager]]:
    with opened(tmp_path / "state", migration__batch_size=ROWS, **settings) as (store, manager):
        attach(manager, source, strategy="full")
        yield store, manager


def step(store: MemoryStore, manager: MigrationManager) -> Stage:
    """Do a batch; the stage after it."""
    manager._pipeline.advance(sources.due_sources(store.records)[0])
    return sources.all_sources(store.records)[0].stage


def test_a_full_migration_waits_in_the_middle_of_a_batch_while_a_question_is_answered(
    source: Path, tmp_path: Path
) -> None:
    with moving(tmp_path, source) as (store, manager):
        priority, waits, asked = store.query_priority, threading.Event(), threading.Event()
        real = priority.yield_to_queries

        def held(longest: float = query_priority.LONGEST_PAUSE) -> None:
            if store.records._commits._lock.depth and not asked.is_set():
                waits.set()  # within the transaction
                assert asked.wait(PATIENCE)
            real(longest)

        priority.yield_to_queries = held  # type: ignore[method-assign]
        with Background(step, store, manager):
            assert waits.wait(PATIENCE)
            assert store.query("number 7").hits == []  # nothing is committed yet
            asked.set()
        assert store.records.counts()["memories"] == ROWS


def test_no_stage_of_a_full_migration_goes_on_for_long_without_a_look(
    source: Path, tmp_path: Path
) -> None:
    looks: dict[Stage, int] = {}
    with moving(tmp_path, source, graph__engine="ladybug") as (store, manager):
        now = Stage.ATTACHED

        def look(longest: float = 0.0) -> None:
            looks[now] = looks.get(now, 0) + 1

        store.query_priority.yield_to_queries = look  # type: ignore[method-assign]
        while sources.due_sources(store.records):
            now = step(store, manager)
    least = {Stage.ATTACHED: ROWS // 16, Stage.COPIED: 4, Stage.ENCODED: 8}
    assert all(looks[stage] >= number for stage, number in least.items()), looks
    assert looks[Stage.LINKED] >= ROWS // 32 + ROWS // 16, looks


def test_what_lies_between_two_looks_does_not_grow_with_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In calls of functions, which are as many on every machine: 1,000 take .3 ms or so.  A look
    that is missing where a batch's rows are gone through costs each of them some."""
    rows, most = 1500, 5000
    calls, longest, last = 0, dict[str, int](), ""

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    def look(self: QueryPriority, longest_pause: float = 0.0) -> None:
        nonlocal calls, last
        profiler = sys.getprofile()
        sys.setprofile(None)
        here = "".join(traceback.format_stack(sys._getframe(1), 4))
        between = f"{last}\n  to\n{here}"
        longest[between] = max(longest.get(between, 0), calls)
        calls, last = 0, here
        sys.setprofile(profiler)

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        made = np.random.default_rng(len(texts)).normal(size=(len(texts), 256)).astype(np.float32)
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        return made

    source = stores.small_store(tmp_path / "graph.sqlite", count=rows)
    for state in ("warm", "state"):  # what is imported, compiled or looked up once is not counted
        monkeypatch.setattr(QueryPriority, "yield_to_queries", look)
        settings = {"migration__batch_size": rows, "graph__engine": "ladybug"}
        with opened(tmp_path / state, **settings) as (store, manager):
            monkeypatch.setattr(store.query_priority, "_last", math.inf)  # somebody asks
            monkeypatch.setattr(store.embedder, "embed", embed)
            talk = [Memory(**fields) for fields in make_talk(rows, 1).memories]
            calls, last = 0, "the begin"
            longest.clear()
            sys.setprofile(count)
            try:
                attach(manager, source, strategy="full")
                manager.finish()
                for first in range(0, rows, 500):
                    store.remember_many(talk[first : first + 500])
                while store.words.follow():
                    pass
            finally:
                sys.setprofile(None)
                monkeypatch.undo()
    found = sorted(longest, key=longest.__getitem__)
    assert longest[found[-1]] <= most, f"{longest[found[-1]]} calls from\n{found[-1]}"


def test_who_gives_memory_back_looks_before(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C library lets nobody have memory meanwhile: some milliseconds."""
    done = ["begin"]
    monkeypatch.setattr("nimad.heap.give_back", lambda: done.append("give back"))
    with moving(tmp_path, source) as (store, manager):
        monkeypatch.setattr(QueryPriority, "yield_to_queries", lambda *_: done.append("look"))
        store.words._give_way = store.query_priority.yield_to_queries
        monkeypatch.setattr("nimad.core.store.TEXT", 1)
        manager.finish()
        store.remember_many([Memory(f"It is noon, {number}.") for number in range(BULK)])
        store.words.rebuild()
        server = Server([], Access("", ""), Limits.of(store.config))
        server.dispatcher.give_way = store.give_way
        server._give_back()
    before = Counter(done[place - 1] for place, what in enumerate(done) if what == "give back")
    assert before["look"] >= 5 and before.total() == before["look"], before


def test_a_segment_is_sealed_in_pieces_between_which_questions_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nimad.index.writer._PIECE", LANES)
    looks = 0

    def look(*_: object) -> None:
        nonlocal looks
        looks += 1

    with closing(MemoryStore.open(tmp_path / "state", Config().replace(**QUICK))) as store:
        store.remember_many([Memory(f"It is noon, {number}.") for number in range(10 * LANES)])
        monkeypatch.setattr(store.semantic, "give_way", look)
        assert store.semantic.flush() == 10 * LANES
        assert looks == 23, "before each batch, ten times while rows are coded, ten while written"
        assert store.blocks.verify() == []


def test_a_question_has_nothing_to_take_over_from_a_batch(source: Path, tmp_path: Path) -> None:
    """Nobody asked before: else the first question after 60,000 took longer than one may."""
    with moving(tmp_path, source) as (store, manager):
        step(store, manager)
        assert store.records.counts()["memories"] == ROWS
        assert store.recall._columns.count == ROWS and store.terms.waiting == ROWS
        assert store.query("number 7").hits


def test_a_migration_goes_on_when_words_cannot_be_made(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RecordsDamaged(path="records.sqlite", detail="a page is gone")

    with moving(tmp_path, source) as (store, manager):
        with monkeypatch.context() as patch:
            patch.setattr(store.terms, "add_ahead", fail)
            manager.finish()
        assert store.records.counts()["memories"] == ROWS
        assert store.query("number 7").hits


def test_none_takes_over_either_what_was_committed_this_moment(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    with moving(tmp_path, source) as (store, manager):
        commits = store.records._commits
        real = commits._secure

        def secure(changed: bool) -> None:
            real(changed)
            if changed:  # the COMMIT is over, and what is to follow it not done yet
                store.query("number 7")
                seen.append((store.records.counts()["memories"], store.recall._columns.count))

        monkeypatch.setattr(commits, "_secure", secure)
        step(store, manager)
        assert seen == [(ROWS, 0)]
        store.remember_many([Memory(f"It is noon, {number}.") for number in range(BULK)])
        assert seen == [(ROWS, 0), (ROWS + BULK, ROWS)]
        assert store.query("noon").hits


def test_what_comes_after_a_bulk_that_was_not_committed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(MemoryStore.open(tmp_path / "state", Config().replace(**QUICK))) as store:
        commits = store.records._commits

        def fail(changed: bool) -> None:
            if changed:
                raise DiskFull(detail="no room")

        with monkeypatch.context() as patch:
            patch.setattr(commits, "_secure", fail)
            with pytest.raises(DiskFull):
                store.remember_many([Memory(f"It is noon, {number}.") for number in range(BULK)])
        assert store.recall._unacknowledged == (0, 0)


def test_what_others_add_meanwhile_is_found_at_once(source: Path, tmp_path: Path) -> None:
    with moving(tmp_path, source) as (store, manager):
        step(store, manager)
        number = store.remember(Memory("The zeppelin is moored at the pier."))
        assert [hit.memory.id for hit in store.query("zeppelin").hits] == [number]


def test_all_is_found_when_a_migration_is_over_or_pauses(source: Path, tmp_path: Path) -> None:
    with moving(tmp_path, source) as (store, manager):
        step(store, manager)
        manager.pause()
        assert store.query("number 7").hits
        manager.resume()
        manager.finish()
        assert store.query("number 7").hits


# --- the pause ----------------------------------------------------------------------------------


def test_a_pause_ends_with_the_last_question() -> None:
    priority, goes_on = QueryPriority(), threading.Event()

    def work() -> None:
        priority.yield_to_queries(PATIENCE)
        goes_on.set()

    with priority:
        with priority:
            worker = Background(work)
            worker.start()
            while not priority._pausing:
                assert not goes_on.wait(0.001), "it did not wait for the question"
        assert not goes_on.wait(0.05), "one question is still under way"
    assert goes_on.wait(PATIENCE / 2)
    worker.finish()


def test_beside_questions_without_an_end_work_goes_on_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(query_priority, "WORK_SHARE", 1e-6)  # a pause of 10 ms, hours of work
    priority = QueryPriority()
    with priority:
        priority.yield_to_queries(0.01)
        with Background(priority.yield_to_queries, 10 * PATIENCE):
            pass


def test_questions_that_came_a_moment_ago_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(query_priority.time, "monotonic", lambda: clock[0])
    priority = QueryPriority()
    assert not priority.asked_lately
    with priority:
        clock[0] += 1000
        assert priority.asked_lately
    clock[0] += query_priority.LATELY - 0.1
    assert priority.asked_lately
    clock[0] += 0.2
    assert not priority.asked_lately


# --- from the socket ----------------------------------------------------------------------------


def test_a_reading_verb_goes_first_from_when_it_came_until_its_reply_is_out() -> None:
    order: list[str] = []

    class First:
        def __enter__(self) -> None:
            order.append("first")

        def __exit__(self, *_: object) -> None:
            order.append("over")

    def verb(name: str, access: str = "read", *, watching: bool = False) -> Verb:
        def run(call: Call) -> dict[str, Any]:
            order.append(name)
            return {}

        return Verb(name, access, run, watching=watching)

    verbs = [verb("asks"), verb("writes", "control"), verb("watches", watching=True)]

    async def all_of_them() -> None:
        dispatcher = Dispatcher(verbs, Access("", ""), 1)
        dispatcher.first = First()
        for each in verbs:
            frame = Frame(b'{"jsonrpc":"2.0","id":1,"method":"%s"}' % each.name.encode(), [])
            over = asyncio.Event()

            def send(pending: Pending, reply: bytes | None, over: asyncio.Event = over) -> None:
                assert reply is not None
                order.append("sent")
                over.set()

            dispatcher.answer(Pending(frame, MYSELF, send))
            await over.wait()
        dispatcher.abandon()

    asyncio.run(all_of_them())
    assert order[:4] == ["first", "asks", "sent", "over"]
    assert order[4:] == ["writes", "sent", "watches", "sent"]


def test_a_large_frame_is_parsed_after_the_question_under_way() -> None:
    asked: list[str] = []

    async def send(text: str) -> None:
        dispatcher = Dispatcher([Verb("says", "read", lambda call: {})], Access("", ""), 1)
        dispatcher.give_way = lambda: asked.append(text[:5])
        data = b'{"jsonrpc":"2.0","id":1,"method":"says","params":{"text":"%s"}}' % text.encode()
        assert await answer_to(dispatcher, Frame(data, []), MYSELF) is not None
        dispatcher.abandon()

    for text in ("small", "some " * 1000, "large" * 20_000):
        asyncio.run(send(text))
    assert asked == ["large"]
