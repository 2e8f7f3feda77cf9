"""What stands in the list of projections is maintained, purged, checked, shown and rebuilt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nimad.check import check
from nimad.config import Config
from nimad.core import maintenance, status
from nimad.core.health import Health
from nimad.core.projection import Problem, Projection
from nimad.core.setbacks import Setbacks
from nimad.core.store import MemoryStore
from nimad.errors import Degraded, DiskFull, GraphFailed, UsageError
from nimad.model import Memory
from nimad.store.forgotten import PurgeNote
from nimad.store.records import Records


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    opened = MemoryStore.open(tmp_path / "state", Config())
    yield opened
    opened.close()


class CountOfMemories(Projection):
    """A toy: a file with the number of memories, which follows the change log."""

    name = "count"

    def __init__(self, path: Path, records: Records, health: Health) -> None:
        self.path, self.records, self.health = path, records, health
        self.known: int | None = 0
        self.scrubbed: list[int] = []
        self.rested = self.closed = False
        self.broken: Exception | None = None

    @property
    def position(self) -> int | None:
        return self.known

    def open(self) -> None:
        self.path.write_text("0")

    def follow(self) -> bool:
        if self.broken is not None:
            raise self.broken
        if self.known == self.records.head():
            return False
        self.rebuild()
        return True

    def rebuild(self) -> int:
        count = self.records.counts()["memories"]
        self.known = self.records.head()
        self.path.write_text(str(count))
        self.health.restore(self.name)
        return count

    def scrub(self, note: PurgeNote) -> None:
        if self.broken is not None:
            raise self.broken
        self.scrubbed += note.ids

    def check(self) -> list[Problem]:
        if self.path.read_text() == str(self.records.counts()["memories"]):
            return []
        self.health.fail(self.name, "it is wrong")
        return [Problem(self.name, "it is wrong", "nothing: it is made anew in idle time")]

    def size(self) -> int:
        return self.path.stat().st_size

    def rest(self) -> None:
        self.rested = True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def toy(store: MemoryStore) -> CountOfMemories:
    made = CountOfMemories(store.state / "count.txt", store.records, store.health)
    made.open()
    store.projections.insert(0, made)
    return made


def test_a_new_projection_is_a_file_and_a_line_in_the_list(
    store: MemoryStore, toy: CountOfMemories
) -> None:
    ids = store.remember_many([Memory(f"note {n} about the garden") for n in range(3)])
    assert [problem.part for problem in check(store) if problem.severity == "error"] == ["count"]
    assert store.query("garden").degraded == ["count"]
    maintenance.finish(store)
    assert toy.path.read_text() == "3" and store.degraded() == {} and check(store) == []
    maintenance.rest(store)
    assert toy.rested
    assert status.describe(store)["disk"]["count"] == 1
    assert maintenance.rebuild(store, "count")["count"].rows == 3
    assert "count" in maintenance.rebuild(store, "all")
    store.forget(ids[:1], purge=True)
    assert toy.scrubbed == ids[:1]


def test_a_projection_that_is_behind_keeps_the_change_log_up_to_a_bound(
    store: MemoryStore, toy: CountOfMemories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "PRUNE_CHANGES", 10)
    monkeypatch.setattr(maintenance, "KEEP_CHANGES", 30)
    for n in range(25):
        store.remember(Memory(f"note {n}"))
    toy.known = 3
    for projection in store.projections[1:]:  # all others are there
        projection.follow()
    assert not maintenance.prune_changes(store), "nothing yet: 3 is less than a write is worth"
    toy.known = 15
    assert maintenance.prune_changes(store) and store.records.pruned_to() == 15
    toy.broken = OSError(5, "Input/output error")
    for n in range(40):
        store.remember(Memory(f"late note {n}"))
    maintenance.finish(store)
    assert store.records.pruned_to() == store.records.head() - 30, "it does not wait for ever"
    toy.broken, toy.known = None, None
    for n in range(20):
        store.remember(Memory(f"later note {n}"))
    store.query("note")
    maintenance.prune_changes(store)
    assert store.records.pruned_to() >= store.records.head() - 30


@pytest.mark.parametrize(
    "error",
    [DiskFull(detail="on purpose"), OSError(5, "Input/output error"), RuntimeError("a bug")],
)
def test_what_cannot_be_done_is_set_aside_and_the_rest_is_done(
    store: MemoryStore, toy: CountOfMemories, error: Exception
) -> None:
    now = [0.0]
    store.setbacks = Setbacks(lambda: now[0])
    store.configure(store.config.replace(blocks__flush_rows=100))
    toy.broken = error
    store.remember_many([Memory(f"note {n}") for n in range(150)])
    maintenance.finish(store)
    assert store.blocks.stats()["hot"] == 0, "the others were not kept from their work"
    told = status.describe(store)["waiting"]
    assert list(told) == ["count"] and str(error.args[-1]) in told["count"]
    assert [problem.part for problem in check(store) if "not finished" in problem.what]
    waits = []
    for _ in range(8):
        assert not maintenance.step(store)
        waits.append(store.setbacks.due_in())
        now[0] += waits[-1] or 0
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600], "more and more seldom"
    toy.broken = None
    maintenance.finish(store)
    assert toy.path.read_text() == "150" and store.setbacks.due_in() is None


def test_what_is_rebuilt_is_named(store: MemoryStore) -> None:
    with pytest.raises(UsageError, match="no part 'nonsense'; parts are words, blocks"):
        maintenance.rebuild(store, "nonsense")
    with pytest.raises(Degraded):
        maintenance.rebuild(store, "dense")


def test_status_does_not_fail_because_a_part_does(
    store: MemoryStore, toy: CountOfMemories, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.remember(Memory("a note"))
    toy.path.unlink()

    def fail(*_: object) -> int:
        raise GraphFailed(detail="its file is gone")

    for projection in store.projections[1:]:
        monkeypatch.setattr(projection, "size", fail)
    if store.graph is not None:
        monkeypatch.setattr(store.graph, "counts", fail)
    shown = status.describe(store)
    assert shown["memories"] == 1 and shown["disk"]["count"] == 0


def test_health_tells_of_a_new_failure_once() -> None:
    told: list[str] = []
    health = Health(lambda: told.append("failed"))
    health.fail("words", "one")
    health.fail("words", "two")
    assert told == ["failed"] and health.reasons() == {"words": "two"}
    assert health.restore("words") and not health.restore("words")
    assert health.reason("words") is None


def test_the_change_log_is_kept_while_the_file_of_the_columns_needs_it(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "PRUNE_CHANGES", 10)
    monkeypatch.setattr("nimad.recall.columns_cache.KEEP_ROWS", 20)
    for count in (30, 15):  # the second time too few for the file to be written anew
        for n in range(count):
            store.remember(Memory(f"note {n} of {count}"))
        store.query("note")
        maintenance.finish(store)
    written = store.recall.columns_cache.position
    assert written is not None and written < store.records.head()
    assert 0 < store.records.pruned_to() <= written
    store.close()
    again = MemoryStore.open(store.state, store.config)
    assert again.recall.columns_cache.position == written, "the start reads only what came later"
    again.close()


def test_an_embedder_that_is_back_is_used_at_once(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(texts: object) -> None:
        raise Degraded(part="embedder", detail="it is away")

    with monkeypatch.context() as broken:
        broken.setattr(store.embedder, "embed", away)
        store.remember_many([Memory(f"note {n}") for n in range(5)])
        for _ in range(3):
            maintenance.finish(store)
        assert "away" in status.describe(store)["waiting"]["blocks"]
    maintenance.finish(store)
    assert len(store.semantic.unencoded_ids) == 5, "it waits a minute"
    store.remember(Memory("a late note"))
    maintenance.finish(store)
    assert store.semantic.unencoded_ids == [] and check(store) == []
