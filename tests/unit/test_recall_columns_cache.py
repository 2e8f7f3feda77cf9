"""The columns' file: used when it fits, ignored when it does not, gone after a purge."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nimad.config import Config
from nimad.core import maintenance
from nimad.core.store import MemoryStore
from nimad.model import Filter, Memory
from nimad.recall import columns as columns_module
from nimad.recall import columns_cache, late_order
from nimad.recall.columns import KIND, Columns
from nimad.recall.columns_cache import Saved
from nimad.recall.columns_follower import ColumnsFollower
from nimad.recall.scopes import Scopes
from nimad.recall.weights import DEFAULT
from nimad.words.index import TermIndex
from tests.benchmarks.talk import make_talk
from tests.reopened import reopened
from tests.threads import Background

CONFIG = Config().replace(graph__engine="none")
FILE = "columns.nrc"
NO_FILTER = Filter()
FILTERS = NO_FILTER, Filter(who="Anna"), Filter(layer="input", after=1)
TALK = make_talk(400, 8, seed=7)
Shape = list[list[tuple[int, float]]]


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small stores are kept, too."""
    monkeypatch.setattr(columns_cache, "KEEP_ROWS", 20)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Saved | None]:
    """What each start got out of the file."""
    found: list[Saved | None] = []
    plain = columns_cache.load

    def load(*given: object) -> Saved | None:
        found.append(plain(*given))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(columns_cache, "load", load)
    return found


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[[], MemoryStore]]:
    with reopened(tmp_path / "state", CONFIG) as opened:
        yield opened


def fill(store: MemoryStore, first: int, last: int) -> list[int]:
    """Store a part of a talk, which begins anew after 400 memories; their ids."""
    return store.remember_many([Memory(**TALK.memories[n % 400]) for n in range(first, last)])


def ask(store: MemoryStore) -> Shape:
    return [[(h.memory.id, h.score) for h in store.query(q, 20).hits] for q in TALK.questions]


def test_a_start_reads_the_file_and_answers_the_same(
    open_store: Callable[[], MemoryStore], loaded: list[Saved | None], tmp_path: Path
) -> None:
    store = open_store()
    fill(store, 0, 300)
    store.forget([5, 6, 7, 290])
    ask(store)
    maintenance.finish(store)
    written = (tmp_path / "state" / FILE).stat().st_mtime_ns
    fill(store, 300, 310)
    before = ask(store)
    maintenance.finish(store)
    assert (tmp_path / "state" / FILE).stat().st_mtime_ns == written  # ten rows are not worth it
    store = open_store()
    assert loaded[-1] is not None and loaded[-1].count - loaded[-1].dead == 296
    assert ask(store) == before
    (tmp_path / "state" / FILE).unlink()
    assert ask(open_store()) == before


@pytest.mark.parametrize("harm", ["flip", "cut", "older", "gone", "empty"])
def test_a_file_that_does_not_fit_is_ignored(
    open_store: Callable[[], MemoryStore], loaded: list[Saved | None], tmp_path: Path, harm: str
) -> None:
    file = tmp_path / "state" / FILE
    store = open_store()
    fill(store, 0, 200)
    ask(store)
    maintenance.finish(store)
    older = file.read_bytes()
    fill(store, 200, 400)
    before = ask(store)
    maintenance.finish(store)
    data = bytearray(file.read_bytes())
    assert data != older
    data[len(data) // 2] ^= 4
    harmed = {"flip": bytes(data), "cut": bytes(data[:-9]), "older": older, "empty": b""}
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(harmed[harm])
    store = open_store()
    assert loaded[-1] is None
    assert ask(store) == before
    maintenance.finish(store)  # what was read anew is kept
    assert ask(open_store()) == before
    assert loaded[-1] is not None


def test_a_purge_deletes_the_file(open_store: Callable[[], MemoryStore], tmp_path: Path) -> None:
    file = tmp_path / "state" / FILE
    store = open_store()
    fill(store, 0, 200)
    ask(store)
    maintenance.finish(store)
    columns = store.recall._columns
    secret = int(columns.print[9]).to_bytes(8, "little", signed=True)
    assert secret in file.read_bytes()
    store.forget([10], purge=True)
    assert not file.exists()
    ask(store)
    maintenance.finish(store)
    assert secret not in file.read_bytes()


def test_a_save_under_way_does_not_bring_the_file_back(
    open_store: Callable[[], MemoryStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purge in the middle of it: what is written before is deleted, nothing is written after."""
    store = open_store()
    fill(store, 0, 200)
    ask(store)
    plain = columns_cache.save
    purges: list[Background] = []

    def save(*given: object) -> None:
        purges.append(Background(store.forget, [10], purge=True))
        purges[0].start()
        purges[0].join(0.3)
        plain(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(columns_cache, "save", save)
    assert store.recall.keep()
    purges[0].finish()
    assert not (tmp_path / "state" / FILE).exists()
    monkeypatch.undo()


def test_a_file_behind_the_change_log_counts(
    open_store: Callable[[], MemoryStore], loaded: list[Saved | None]
) -> None:
    """Nor does it matter that the memories are gone by which its names are found."""
    store = open_store()
    fill(store, 0, 300)
    ask(store)
    maintenance.finish(store)
    who = {memory.who for memory in store.export(0, 300)}
    first = [store.records.value("SELECT min(id) FROM memories WHERE who = ?", (w,)) for w in who]
    store.forget([number for number in first if number])
    fill(store, 300, 320)
    with store.records.write() as tx:
        tx.prune_changes(store.records.head())
    store = open_store()
    assert loaded[-1] is not None
    check_columns(store)
    after = ask(store)
    store.words.rebuild()
    assert ask(store) == after


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 40)),
        st.tuples(st.just("forget"), st.integers(1, 200), st.integers(1, 30)),
        st.tuples(st.just("keep"), st.just(0)),
        st.tuples(st.just("start"), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=20, deadline=None)
@given(steps=STEPS)
def test_columns_out_of_a_file_are_those_of_the_records(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Whatever came, went and was kept before: the same chains, names, sessions and times."""
    place = tmp_path_factory.mktemp("saved") / "state"
    store = MemoryStore.open(place, CONFIG)
    added = 0
    try:
        for step in [*steps, ("start", 0)]:
            match step:
                case ("add", count):
                    fill(store, added % 360, added % 360 + count)
                    added += count
                case ("forget", first, count):  # type: ignore[misc]
                    store.forget(list(range(first, first + count)))
                case ("keep", _):
                    store.recall.query("anything", 1, "hybrid", where=NO_FILTER)
                    store.recall.keep()
                case _:
                    store.close()
                    store = MemoryStore.open(place, CONFIG)
            check_columns(store)
    finally:
        store.close()


def check_columns(store: MemoryStore) -> None:
    """What the store has against what is read anew, codes translated to what they stand for."""
    store.recall.query("anything", 1, "hybrid", where=NO_FILTER)
    kept, fresh = store.recall._columns, Columns()
    assert ColumnsFollower(store.records, TermIndex(store.records), fresh).sync()
    mine, read = np.flatnonzero(kept.alive[:]), np.flatnonzero(fresh.alive[:])
    for name in ("id", "time", "importance", "words", "print", *(KIND.names or ())):
        assert np.array_equal(getattr(kept, name)[mine], getattr(fresh, name)[read]), name
    for name in ("before", "after"):
        sides = []
        for columns, rows in ((kept, mine), (fresh, read)):
            other = getattr(columns, name)[rows]
            sides.append(np.where(other >= 0, columns.id[other], -1).tolist())
        assert sides[0] == sides[1], name
    for columns, rows in ((kept, mine), (fresh, read)):
        spelled = {code: name for name, code in columns.subjects.codes.items()}
        who = store.records.rows("SELECT lower(who) FROM memories ORDER BY id")
        assert [spelled.get(code) for code in columns.who[rows].tolist()] == [w for (w,) in who]
    for where in FILTERS:
        grown = store.recall._scopes.of(where)  # out of the scope before, where rows only came
        anew = Scopes(store.records, kept, DEFAULT).of(where)
        assert grown.id[:].tolist() == anew.id[:].tolist()
        assert grown.who[:].tolist() == anew.who[:].tolist()
        for name in {field.name for field in dataclasses.fields(anew)} - {"_spoken", "id", "who"}:
            same = repr(getattr(grown, name)) == repr(getattr(anew, name))
            assert same and np.array_equal(grown.mask, anew.mask), name
        some = np.array([0, 2])
        assert np.array_equal(grown.spoken_by(some), anew.spoken_by(some))
        assert np.array_equal(grown.sample, anew.sample)
    pairs = set(zip(kept.session[mine].tolist(), fresh.session[read].tolist(), strict=True))
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    mapped=st.integers(0, 400),
    parts=st.lists(st.integers(0, 60), max_size=4),
)
def test_fingerprints_are_found_in_their_order(seed: int, mapped: int, parts: list[int]) -> None:
    """Evenly spread ones, the same ones many times, and those that came after the file, at once or
    one after the other; and after rows were taken out."""
    rng = np.random.default_rng(seed)
    prints = rng.integers(-(2**63), 2**63 - 1, 1 + mapped + sum(parts))
    prints[rng.random(len(prints)) < rng.random()] = rng.choice([0, prints[0], 2**63 - 1, -(2**63)])
    asked = np.unique(np.append(rng.choice(prints, 5), rng.integers(-(2**63), 2**63 - 1, 3)))
    columns = Columns()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns_module, "_SCANNED", 0)
        patch.setattr(late_order, "LATE", 8)
        for count in (1 + mapped, *parts):
            some = prints[columns.count : columns.count + count]
            ids = np.arange(columns.count, columns.count + count) + 1
            columns.append({"id": ids, "print": some, "alive": np.ones(count, np.bool_)})
            if mapped and columns._order is None:
                columns._order = np.argsort(some, kind="stable").astype(np.uint32)
            found = columns._with_prints(asked)
            here = prints[: columns.count]
            assert found.tolist() == np.flatnonzero(np.isin(here, asked)).tolist()
        columns.mark_dead(np.arange(0, len(prints), 3))
        columns.compact()
        columns.append({"id": np.array([5000]), "print": prints[:1]})
        left = np.append(np.delete(prints, np.arange(0, len(prints), 3)), prints[:1])
        found = columns._with_prints(asked)
        assert found.tolist() == np.flatnonzero(np.isin(left, asked)).tolist()


@pytest.mark.parametrize("more", [0, 20_000], ids=["as mapped", "grown beyond the room"])
def test_nothing_is_mapped_of_a_file_that_was_discarded(
    open_store: Callable[[], MemoryStore],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    more: int,
) -> None:
    """And what is in memory instead stays as it is when the files' pages are given back."""
    monkeypatch.setattr(columns_module, "_SCANNED", 0)
    store = open_store()
    fill(store, 0, 400)
    prints = np.arange(6000) * 1_000_003 % 6007
    columns = store.recall._columns
    columns.append({"id": np.arange(1001, 7001), "print": prints, "alive": prints >= 0})
    columns.changed = columns.count
    assert store.recall.keep()
    columns.append({"id": np.arange(7001, 7001 + more), "print": -1 - np.arange(more)})
    store.recall.discard_columns()
    store.recall.rest()
    assert str(tmp_path / "state" / FILE) not in Path("/proc/self/maps").read_text()
    assert columns._with_prints(prints[77:78]).tolist() == [400 + 77]
    assert columns.print[400:6400].tolist() == prints.tolist()


def test_a_start_does_not_read_every_memory(tmp_path: Path) -> None:
    """The columns know every id, so the records are not read whole to find what has no vector."""
    with closing(MemoryStore.open(tmp_path, Config())) as store:
        store.remember_many([Memory(f"note {n} " + 3000 * "x") for n in range(3500)])
        maintenance.finish(store)
        store.semantic.flush()
        store.forget([7])
    records = (tmp_path / "records.sqlite").stat().st_size
    before = read_bytes()
    with closing(MemoryStore.open(tmp_path, Config())) as store:
        assert read_bytes() - before < records / 2, "the newest 1000 tell whether the clock is set"
        assert store.semantic.unencoded_ids == [] and len(store.blocks.ids()) == 3499


def read_bytes() -> int:
    """What this process has read by system calls."""
    return int(Path("/proc/self/io").read_text().split()[1])
