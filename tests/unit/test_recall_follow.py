"""Following the change log: it ends, it is quick, and it comes to what reading everything gives."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nimad.config import Config
from nimad.core.store import MemoryStore
from nimad.core.unwritten import BULK
from nimad.model import Filter, Memory
from nimad.recall import columns_follower
from tests.unit.test_recall_columns_cache import FILTERS, TALK, check_columns, fill

CONFIG = Config().replace(graph__engine="none", embedder="hash")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    with closing(MemoryStore.open(tmp_path / "state", CONFIG)) as made:
        yield made


def rollback(store: MemoryStore, count: int) -> None:
    """Memories come and are gone again before anything follows, as after an undone migration."""
    with store.records.write() as tx:
        ids = tx.add_memories([Memory(text="undone") for _ in range(count)])
        tx.delete_memories(ids)


@contextmanager
def ends_within(seconds: int) -> Iterator[None]:
    """Fail when the block takes longer, rather than hang."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def prune(store: MemoryStore) -> None:
    with store.records.write() as tx:
        tx.prune_changes(store.records.head())


@pytest.mark.parametrize("gone", [slice(0, 300), slice(100, 500), slice(0, 600), slice(400, 600)])
def test_following_ends_when_the_memories_of_a_change_are_gone(
    store: MemoryStore, gone: slice
) -> None:
    ids = fill(store, 0, 600)
    store.forget(ids[gone])
    with ends_within(120):
        store.recall.follow()
    check_columns(store)


def test_words_made_anew_do_not_make_the_next_query_read_all(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.forget(fill(store, 0, 600)[5:50])
    asked = TALK.memories[3]["text"]
    before = store.query(asked, k=20, now=1).hits
    assert before

    def read_again(texts: Sequence[str]) -> NoReturn:
        raise AssertionError(f"{texts} were read again")

    monkeypatch.setattr(columns_follower, "fingerprints", read_again)
    store.words.rebuild()
    assert store.query(asked, k=20, now=1).hits == before
    monkeypatch.undo()
    check_columns(store)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 260)),
        st.tuples(st.just("forget"), st.tuples(st.integers(0, 700), st.integers(1, 250))),
        st.tuples(st.just("rollback"), st.integers(1, 260)),
        st.tuples(st.just("singles"), st.integers(1, 20)),
        st.tuples(st.just("prune"), st.just(0)),
        st.tuples(st.just("follow"), st.just(0)),
        st.tuples(st.just("save"), st.just(0)),
        st.tuples(st.just("start"), st.just(0)),
    ),
    max_size=10,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
@example(steps=[("rollback", 1), ("rollback", 1), ("follow", 0), ("add", 1), ("forget", (0, 206))])
def test_following_ends_at_what_reading_everything_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]
) -> None:
    """Whatever comes, goes, and is forgotten by the log between two follows."""
    place = tmp_path_factory.mktemp("follow") / "state"
    store = MemoryStore.open(place, CONFIG)
    try:
        for step, value in [*steps, ("follow", 0)]:
            match step:
                case "add":
                    fill(store, 0, value)
                case "forget":
                    store.forget(list(range(value[0], sum(value))))
                case "rollback":
                    rollback(store, value)
                case "singles":
                    for n in range(value):
                        store.forget(fill(store, 0, 1) if n % 3 == 0 else [n * 7])
                        fill(store, 0, 1)
                case "prune":
                    prune(store)
                case "follow":
                    with ends_within(120):
                        store.recall.follow()
                    for where in FILTERS:
                        store.recall._scopes.of(where).spoken_by(np.array([0, 2]))
                case "save":
                    store.recall.keep()
                case _:
                    store.close()
                    store = MemoryStore.open(place, CONFIG)
        check_columns(store)
    finally:
        store.close()


def test_a_thousand_single_memories_are_read_together(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query after them waits for a few statements, not for some for each memory."""
    store.recall.follow()
    for n in range(300):
        store.remember(Memory(text=f"note {n} of a busy day", who="Anna"))
    for n in range(1, 300, 7):
        store.forget([n])
    statements: list[str] = []
    plain = store.records.rows

    def counted(sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        statements.append(sql)
        return plain(sql, parameters)

    monkeypatch.setattr(store.records, "rows", counted)
    found = store.recall.query("which note of a busy day?", 3, "hybrid", Filter())
    assert len(found) == 3
    assert len(statements) < 30
    check_columns(store)


def test_what_the_log_no_longer_holds_is_found_by_the_ids(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns that are behind the log read what came, and nothing again."""
    ids = fill(store, 0, 300)
    store.recall.follow()
    store.forget(ids[10:20])
    more = fill(store, 0, 5)
    prune(store)
    read: list[int] = []
    plain = columns_follower.rows_within

    def watched(*args: Any) -> list[tuple[Any, ...]]:
        found = plain(*args)
        read.extend(row[0] for row in found)
        return found

    monkeypatch.setattr(columns_follower, "rows_within", watched)
    store.recall.follow()
    assert read == more
    check_columns(store)


def test_the_query_after_many_memories_has_nothing_to_catch_up_with(store: MemoryStore) -> None:
    store.remember_many([Memory(text=f"the {n}th plum") for n in range(BULK)])
    assert not store.recall.follow(0)
    store.remember(Memory(text="one more plum"))
    assert store.recall.follow(0)
    assert {hit.memory.text for hit in store.query("more plum", k=1).hits} == {"one more plum"}


def test_a_bulk_takes_what_came_before_it_along(store: MemoryStore) -> None:
    """Its words are cut before its columns are made: what others wrote must not be passed by."""
    for number in range(5):
        store.remember(Memory(text=f"pelican number {number}"))
    store.remember_many([Memory(text=f"otter number {number}") for number in range(BULK)])
    store.remember(Memory(text="pelican number nine"))
    assert len(store.query("pelican", 10, "words").hits) == 6
    assert len(store.query("otter", 100, "words").hits) == BULK
    assert store.words.check() == []


def test_queries_need_not_have_what_no_client_knows_of(store: MemoryStore) -> None:
    store.remember(Memory(text="a pelican"))
    assert len(store.query("pelican", 10, "words").hits) == 1
    before = store.records.head()
    with store.records.write() as tx:
        tx.add_memories([Memory(text="another pelican")])
    store.recall.spare(before, store.records.head())
    assert len(store.query("pelican", 10, "words").hits) == 1
    store.remember(Memory(text="the third pelican"))  # acknowledged, so all before it is followed
    assert len(store.query("pelican", 10, "words").hits) == 3
    store.recall.spare(0, 0)
    assert store.words.check() == []


def test_many_bulks_at_a_time_leave_every_word(store: MemoryStore) -> None:
    """Clients that write side by side, while others ask."""

    def write(name: str) -> None:
        for number in range(4):
            memories = [Memory(text=f"{name} {number} {n}") for n in range(BULK + 9 * number)]
            store.remember_many(memories)
            assert len(store.query(name, 500, "words").hits) == sum(
                BULK + 9 * before for before in range(number + 1)
            )

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, ("heron", "badger", "marten")))
    assert store.words.check() == []


LONG = " ".join(f"{name}{n}" for n in range(1500) for name in ("kettle", "garden"))


@pytest.fixture
def cut(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that whoever follows the records cuts into words."""
    found: list[str] = []
    of_texts = store.terms._analysis.of_texts

    def told(texts: Iterable[str]) -> Iterator[tuple[list[str], int]]:
        some = [*texts]
        found.extend(some)
        yield from of_texts(some)

    monkeypatch.setattr(store.terms._analysis, "of_texts", told)
    return found


def test_no_question_cuts_a_long_text_of_somebody_else(store: MemoryStore, cut: list[str]) -> None:
    """Who stores it has done so, before anybody could read it."""
    fill(store, 0, 10)
    number = store.remember(Memory(LONG))
    store.remember_many([Memory("a ladder"), Memory(f"{LONG} twice"), Memory("a violin")])
    assert [hit.memory.id for hit in store.query("kettle700", 1).hits] == [number]
    assert not [text for text in cut if len(text) > 1000]
    check_columns(store)
    assert store.words.check() == []


@pytest.mark.parametrize("undone", [False, True])
def test_a_question_right_after_the_commit_takes_the_words_as_they_were_cut(
    store: MemoryStore, cut: list[str], undone: bool
) -> None:
    """Not those of a transaction that was undone, whose ids others were given."""
    fill(store, 0, 10)
    texts = ["a ladder", LONG, "a violin"]
    segment = store.terms.cut_ahead(texts, lambda: None)
    with store.records.write() as tx:
        before = tx.add_memories([Memory("a bridge")])
        ids = tx.add_memories([Memory(f"{text} again" if undone else text) for text in texts])
        tx.add_memories([Memory("an orchard")])
    store.terms.expected.add(ids, texts, segment)
    assert [hit.memory.id for hit in store.query("kettle700", 1).hits] == [ids[1]]
    assert (len([text for text in cut if len(text) > 1000]) > 0) is undone
    store.terms.expected.forget(ids)
    assert [hit.memory.id for hit in store.query("bridge", 1, "words").hits] == before
    check_columns(store)
    assert store.words.check() == []
