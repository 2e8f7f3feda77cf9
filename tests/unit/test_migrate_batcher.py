"""The size of a batch: grows while there is time and memory, halves when there is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimad.migrate import batcher
from nimad.migrate.batcher import OTHER_START, ROW_BYTES, START_ROWS, Batcher, Bounds

PLENTY = 8 << 30


def made(board: str = "pi", free: int = PLENTY, fixed: int = 0, **bounds: float) -> Batcher:
    sizes = Bounds(**bounds)  # type: ignore[arg-type]
    return Batcher(sizes, fixed, lambda: free, lambda: board, lambda: None)


def test_the_board_gives_the_first_size() -> None:
    assert {board: made(board).next_size() for board in START_ROWS} == START_ROWS
    assert made("riscv64").next_size() == OTHER_START


def test_a_short_time_gives_a_small_first_size() -> None:
    assert made("x86_64", least=16, seconds=0.05).next_size() == 25
    assert made("pi", least=16, seconds=0.05).next_size() == 16


def test_a_quick_batch_grows_by_one_step() -> None:
    sizes = made("pi")
    sizes.succeeded(300, 0.2)
    assert sizes.next_size() == 600
    sizes.succeeded(600, 0.2)
    assert sizes.next_size() == 900


def test_growth_stays_within_the_time() -> None:
    sizes = made("pi")
    sizes.succeeded(300, 1.5)  # 400 rows would take the 2 seconds
    assert sizes.next_size() == 400


def test_a_slow_batch_halves() -> None:
    sizes = made("x86_64")
    sizes.succeeded(1000, 3.5)
    assert sizes.next_size() == 500
    sizes.succeeded(500, 2.5)  # a little over: leave it
    assert sizes.next_size() == 500


def test_a_batch_that_was_not_full_does_not_grow() -> None:
    sizes = made("pi")
    sizes.succeeded(12, 0.001)
    assert sizes.next_size() == 300


def test_bounds_hold() -> None:
    sizes = made("pi", least=100, most=500)
    for _ in range(10):
        sizes.succeeded(sizes.next_size(), 0.001)
    assert sizes.next_size() == 500
    for _ in range(10):
        sizes.succeeded(sizes.next_size(), 100.0)
    assert sizes.next_size() == 100


def test_free_memory_bounds_it() -> None:
    reserve = 128 << 20
    assert made(free=reserve + 200 * ROW_BYTES).next_size() == 200
    assert made(free=reserve + 10 * ROW_BYTES, least=50).next_size() == 50
    assert made(free=0, least=50).next_size() == 50


def test_a_memory_error_halves_even_a_fixed_size_and_below_the_least() -> None:
    sizes = made(fixed=4, least=50)
    assert sizes.next_size() == 4
    assert sizes.ran_out_of_memory() and sizes.next_size() == 2
    assert sizes.ran_out_of_memory() and sizes.next_size() == 1
    assert not sizes.ran_out_of_memory()


def test_a_fixed_size_learns_nothing() -> None:
    sizes = made(fixed=77)
    sizes.succeeded(77, 0.001)
    sizes.succeeded(77, 99.0)
    assert sizes.next_size() == 77


@given(
    st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=50),
    st.integers(0, 1 << 31),
)
def test_it_is_always_a_size(history: list[tuple[float, bool]], free: int) -> None:
    sizes = made(free=free, least=20, most=3000)
    for seconds, memory_error in history:
        size = sizes.next_size()
        assert 1 <= size <= 3000
        if memory_error:
            sizes.ran_out_of_memory()
        else:
            sizes.succeeded(size, seconds)


# --- what it heeds, and what it tells -------------------------------------------------------------


class Told:
    """A batcher whose surroundings a test sets; notes what it tells."""

    def __init__(self, fixed: int = 0, **bounds: float) -> None:
        self.free, self.share = PLENTY, None  # type: int, float | None
        self.changes: list[tuple[int, int, str]] = []
        self.batcher = Batcher(
            Bounds(**bounds),  # type: ignore[arg-type]
            fixed,
            lambda: self.free,
            lambda: "x86_64",
            lambda: self.share,
            lambda *change: self.changes.append(change),
        )


def test_pressure_halves_and_its_end_lets_it_grow() -> None:
    told = Told()
    told.share = 0.12
    assert told.batcher.next_size() == 500
    assert told.batcher.reason == "halved: memory pressure 12 %"
    told.share = 0.04
    assert told.batcher.next_size() == 500
    told.batcher.succeeded(500, 0.1)
    assert told.batcher.size == 1500 and told.batcher.reason.startswith("grown: ")
    assert [change[:2] for change in told.changes] == [(1000, 500), (500, 1500)]


def test_short_memory_lowers_it_and_bounds_the_growth() -> None:
    told = Told()
    reserve = Bounds().reserve_bytes
    told.free = reserve + 100 * ROW_BYTES
    assert told.batcher.next_size() == 100
    assert told.batcher.size == 500, "no more than by half at once"
    assert "130 MiB of memory free, 128 of them kept back" in told.batcher.reason
    assert told.batcher.next_size() == 100
    for _ in range(4):
        told.batcher.next_size()
    told.batcher.succeeded(100, 0.1)
    assert told.batcher.size <= 125
    told.free = PLENTY
    told.batcher.succeeded(told.batcher.size, 0.1)
    assert told.batcher.size > 1000


def test_a_memory_error_is_told() -> None:
    told = Told()
    told.batcher.ran_out_of_memory()
    assert told.batcher.reason == "halved: out of memory"
    told.batcher.ran_out_of_memory()
    assert told.changes[-1] == (500, 250, "halved: out of memory")


def test_a_fixed_size_heeds_no_pressure_but_what_fits() -> None:
    told = Told(fixed=400)
    told.share = 0.9
    assert told.batcher.next_size() == 400 and told.batcher.reason == "as asked for"
    told.free = Bounds().reserve_bytes + 70 * ROW_BYTES
    assert told.batcher.next_size() == 70
    told.free = PLENTY
    assert told.batcher.next_size() == 400


def test_small_changes_are_not_told() -> None:
    told = Told()
    told.batcher.succeeded(1000, 1.9)  # 1052 rows would take the 2 seconds
    assert told.batcher.size == 1052 and told.changes == []
    told.batcher.succeeded(1052, 1.8)
    assert told.batcher.size > 1125 and [change[0] for change in told.changes] == [1000]


def test_the_real_surroundings_are_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(batcher.memory, "available_memory", lambda: looks.append(1) or PLENTY)
    now = [100.0]
    around = batcher.Surroundings(lambda: now[0])
    for _ in range(10):
        assert around.available() == PLENTY
        now[0] += batcher.LOOK_SECONDS / 5
    assert len(looks) == 2
