"""The worker and its jobs: order, pauses, failures that keep nobody from going on; maintenance
without migrations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nimad.background.maintenance_job import LATEST_SECONDS, MaintenanceJob, WordsJob
from nimad.background.worker import Step, Worker
from nimad.config import Config
from nimad.core import maintenance, semantic, words
from nimad.core import setbacks as setbacks_module
from nimad.core.setbacks import Setbacks
from nimad.core.store import MemoryStore
from nimad.core.unwritten import BULK
from nimad.errors import Busy, Degraded, DiskFull
from nimad.index.params import BlockParams
from nimad.model import Memory
from tests.legacy.moving import CALM, QUICK
from tests.threads import in_thread
from tests.unit.test_migrate_worker import until

pytestmark = pytest.mark.usefixtures("at_usual_priority")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Counting:
    """A job with steps left to do; each may fail."""

    def __init__(self, name: str, steps: int, error: Exception | None = None) -> None:
        self.name, self.left, self.error = name, steps, error
        self.done: list[float] = []
        self.closed = False

    def next_step(self) -> Step | None:
        return Step(self.step) if self.left else None

    def step(self) -> None:
        self.done.append(time.monotonic())
        if self.error is not None:
            raise self.error
        self.left -= 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def worker() -> Iterator[Worker]:
    settings = Config().replace(migration__idle_seconds=0.0, **CALM)
    made = Worker(lambda: settings)
    yield made
    made.stop()


def test_the_pauses_after_failures_grow_up_to_an_hour() -> None:
    clock = Clock()
    setbacks = Setbacks(clock)
    assert setbacks.remaining("job") == 0.0
    pauses = []
    for _ in range(8):
        setbacks.note("job", OSError(5, "on purpose"))
        pauses.append(setbacks.remaining("job"))
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    clock.now += 3000
    assert setbacks.remaining("job") == 600
    setbacks.clear("job")
    assert setbacks.remaining("job") == 0.0
    assert setbacks.note("job", OSError(5, "on purpose")).due - clock.now == 60


def test_what_is_busy_is_asked_again_within_a_minute() -> None:
    clock = Clock()
    setbacks = Setbacks(clock)
    told = [setbacks.note("purge", Busy(detail="on purpose")).due - clock.now for _ in range(6)]
    assert told == [60] * 6


@pytest.mark.parametrize("error", [RuntimeError("a bug"), DiskFull(detail="on purpose")])
def test_a_job_that_fails_keeps_no_other_from_going_on(worker: Worker, error: Exception) -> None:
    broken, sound = Counting("broken", 1, error), Counting("sound", 50)
    worker.add(broken)
    worker.add(sound)
    worker.start()
    until(lambda: sound.left == 0)
    assert len(broken.done) == 1, "it waits its minute"
    worker.stop()
    assert broken.closed and sound.closed


def test_it_is_tried_more_and_more_seldom(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setbacks_module, "FIRST_PAUSE", 0.02)
    broken = Counting("broken", 1, RuntimeError("a bug"))
    worker.add(broken)
    worker.start()
    until(lambda: len(broken.done) == 5)
    pauses = [after - before for before, after in zip(broken.done, broken.done[1:], strict=False)]
    assert all(pause >= 0.02 * 2**n for n, pause in enumerate(pauses))


def test_a_retry_does_not_wait_for_the_pause_to_end(worker: Worker) -> None:
    broken = Counting("broken", 1, RuntimeError("a bug"))
    worker.add(broken)
    worker.start()
    until(lambda: len(broken.done) == 1)

    def tried_again() -> bool:
        worker.retry()  # the first may come before the failure is noted
        return len(broken.done) > 1

    until(tried_again)


def test_a_job_that_waits_is_passed_by(worker: Worker) -> None:
    class Waiting(Counting):
        def next_step(self) -> Step | None:
            return Step(self.step, wait=30.0)

    waiting, sound = Waiting("waiting", 1), Counting("sound", 20)
    worker.add(waiting)
    worker.add(sound)
    worker.start()
    until(lambda: sound.left == 0)
    assert not waiting.done


def test_nothing_begins_while_it_is_held(worker: Worker) -> None:
    job = Counting("job", 0)
    worker.add(job)
    worker.start()
    with worker.hold():
        time.sleep(0.05)
        job.left = 5
        worker.wake()
        time.sleep(0.1)
        assert len(job.done) <= 1, "at most the step that had begun"
    until(lambda: job.left == 0)


# --- maintenance ----------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    settings = {**QUICK, "migration__idle_seconds": 0.0, "blocks__flush_rows": 100}
    made = MemoryStore.open(tmp_path / "state", Config().replace(**settings))
    yield made
    made.close()


def test_maintenance_needs_no_migrations(worker: Worker, store: MemoryStore) -> None:
    worker.add(MaintenanceJob(store, worker))
    worker.start()
    store.remember_many([Memory(f"note {number}") for number in range(150)])
    until(lambda: store.blocks.stats()["hot"] == 0 and store.blocks.stats()["segments"] == 1)


class Steps:
    """Stands for what is done in a step: each call takes the next outcome, at last False."""

    def __init__(self, *outcomes: bool | Exception) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self, *_: object) -> bool:
        self.calls += 1
        outcome = self.outcomes.pop(0) if self.outcomes else False
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def ready(job: MaintenanceJob | WordsJob) -> Callable[[], object] | None:
    """What the worker would run now."""
    step = job.next_step()
    return step.run if step is not None and step.wait <= 0 else None


@pytest.mark.parametrize("error", [Degraded(part="embedder", detail="away"), OSError(5, "I/O")])
def test_failed_maintenance_is_tried_again_later_and_after_a_change(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    clock = Clock()
    follow = Steps(True, error, error, error)
    store.setbacks = Setbacks(clock)
    monkeypatch.setattr(store.dense, "follow", follow)
    job = MaintenanceJob(store, Worker(lambda: store.config, clock))
    for pause in (60, 120, 240):
        while run := ready(job):
            run()
        waits = job.next_step()
        assert waits is not None and waits.wait == pause
        clock.now += pause
    (ready(job) or pytest.fail)()
    assert follow.calls == 5 and job.next_step() is None, "nothing is left, nobody wakes up"
    store.on_change()
    assert ready(job)


def test_words_that_are_missing_come_before_migrations(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else does; a busy machine delays them for a minute at most."""
    monkeypatch.setattr(words, "FILLED", 20)
    store.remember_many([Memory(f"the heron number {number}") for number in range(100)])
    clock = Clock()
    worker = Worker(lambda: store.config, clock)
    job = WordsJob(store, worker)
    assert job.next_step() is None
    store.health.fail("words", words.RENEWED)
    store.recall.words_changed([], complete=False)
    assert store.query("heron", mode="words").hits == []
    store.config = store.config.replace(migration__idle_seconds=3600.0)
    worker.touch()
    assert (step := job.next_step()) and step.wait == LATEST_SECONDS
    clock.now += LATEST_SECONDS
    monkeypatch.setattr(store.semantic, "follow", pytest.fail)
    while run := ready(job):
        run()
    assert job.next_step() is None and len(store.query("heron", mode="words").hits) == 10


def test_no_words_are_overdue_for_ids_of_what_is_forgotten(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One memory behind many ids that nobody has: its step would be done again and again."""
    monkeypatch.setattr(words, "MOST", 40)
    job = WordsJob(store, Worker(lambda: store.config, Clock()))
    ids = store.remember_many([Memory(f"the heron number {number}") for number in range(100)])
    maintenance.finish(store)
    store.forget(ids, purge=True)
    maintenance.finish(store)
    store.remember(Memory("the heron is back"))
    assert store.terms.covered == 0 and not store.words.overdue and job.next_step() is None


def test_a_step_that_can_do_nothing_is_not_done_again_at_once(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    job = WordsJob(store, Worker(lambda: store.config, clock))
    monkeypatch.setattr(words.WordsIndex, "overdue", True)  # whatever is done
    for _ in range(3):
        runs = 0
        while run := ready(job):
            run()
            runs += 1
            assert runs < 10
        assert (step := job.next_step()) and step.wait == semantic.BULK_SECONDS
        clock.now += semantic.BULK_SECONDS


def test_a_busy_machine_delays_maintenance_for_a_minute_at_most(store: MemoryStore) -> None:
    clock = Clock()
    store.config = store.config.replace(migration__idle_seconds=3600.0)
    worker = Worker(lambda: store.config, clock)
    job = MaintenanceJob(store, worker)
    worker.touch()
    assert (step := job.next_step()) and step.wait == LATEST_SECONDS
    clock.now += LATEST_SECONDS
    assert (step := job.next_step()) and step.wait == 0 and not step.yielding
    job.hurry()
    assert ready(job)


def test_what_no_query_can_do_without_waits_for_no_idle_machine(store: MemoryStore) -> None:
    """After an upgrade of a large store neither words nor meaning may answer."""
    clock = Clock()
    store.config = store.config.replace(migration__idle_seconds=3600.0)
    worker = Worker(lambda: store.config, clock)
    job = MaintenanceJob(store, worker)
    worker.touch()
    store.health.fail("words", "made anew")
    assert not ready(job), "the meaning answers"
    store.health.fail("blocks", "made anew")
    assert ready(job)


def test_a_burst_of_writes_waits_for_no_idle_machine(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a daemon that is restarted often under load never writes what its tail holds."""
    monkeypatch.setattr(words, "MOST", 300)
    store.config = store.config.replace(migration__idle_seconds=3600.0)
    busy = Worker(lambda: store.config)
    busy.add(WordsJob(store, busy))
    busy.add(MaintenanceJob(store, busy))
    busy.start()
    try:
        for number in range(500):
            busy.touch()
            store.remember(Memory(f"note {number}"))
        until(lambda: store.words.size() > 0)
        assert store.blocks.stats()["segments"] == 0, "small segments would make queries slower"
    finally:
        busy.stop()


def test_while_a_bulk_comes_segments_are_merged_that_learn_no_blocks(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.config = store.config.replace(migration__idle_seconds=3600.0)
    worker = Worker(lambda: store.config, Clock())
    job = MaintenanceJob(store, worker)

    def bring(bulks: int, sizes: list[int]) -> None:
        for _ in range(bulks):
            worker.touch()
            store.remember_many([Memory(f"the kettle {n}") for n in range(BULK)])
            store.semantic.flush()
        while run := ready(job):
            run()
        assert sorted(store.blocks.sizes().values()) == sizes

    store.semantic.configure(store.config.replace(blocks__merge_segments=2))
    monkeypatch.setattr(store.blocks, "params", BlockParams(learn_rows=3 * BULK))
    bring(2, [BULK, BULK])
    bring(1, [BULK, 2 * BULK])
    monkeypatch.setattr(store.blocks, "params", BlockParams(learn_rows=2 * BULK))
    bring(3, [BULK, BULK, BULK, BULK, 2 * BULK])
    monkeypatch.setattr(semantic, "HELD", 5)
    bring(1, [7 * BULK])
    bring(4, [BULK, BULK, BULK, BULK, 7 * BULK])
    monkeypatch.setattr(semantic, "BULK_SECONDS", 0.0)
    bring(1, [BULK, BULK, BULK, BULK, BULK, 7 * BULK])
    store.config = store.config.replace(migration__idle_seconds=0.0)
    bring(0, [5 * BULK, 7 * BULK])


def test_a_change_during_a_step_is_not_forgotten(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = MaintenanceJob(store, Worker(lambda: store.config, Clock()))

    def step(of: MemoryStore, *, sparing: bool) -> bool:
        in_thread(store.on_change)
        return False

    monkeypatch.setattr(maintenance, "step", step)
    (ready(job) or pytest.fail)()
    assert job.next_step() is not None


def test_a_purge_that_was_cut_short_waits_for_no_idle_machine(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    store.config = store.config.replace(migration__idle_seconds=3600.0)
    store.setbacks = Setbacks(clock)
    worker = Worker(lambda: store.config, clock)
    job = MaintenanceJob(store, worker)
    worker.touch()
    doomed = [store.remember(Memory(f"the kettle {number}")) for number in range(2)]
    monkeypatch.setattr(store.words, "scrub", Steps(OSError(5, "I/O error")))
    assert not store.forget(doomed[:1], purge=True).purged
    assert store.purge.due and ready(job), "it may go on at once"
    monkeypatch.undo()
    (ready(job) or pytest.fail)()
    assert store.purge.unfinished() is None and not store.purge.due
    assert not ready(job), "what is left can wait"
