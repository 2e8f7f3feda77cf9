"""The size of a batch: grows while there is time and memory, halves when there is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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
    batcher = made("pi")
    batcher.succeeded(300, 0.2)
    assert batcher.next_size() == 600
    batcher.succeeded(600, 0.2)
    assert batcher.next_size() == 900


def test_growth_stays_within_the_time() -> None:
    batcher = made("pi")
    batcher.succeeded(300, 1.5)  # 400 rows would take the 2 seconds
    assert batcher.next_size() == 400


def test_a_slow_batch_halves() -> None:
    batcher = made("x86_64")
    batcher.succeeded(1000, 3.5)
    assert batcher.next_size() == 500
    batcher.succeeded(500, 2.5)  # a little over: leave it
    assert batcher.next_size() == 500


def test_a_batch_that_was_not_full_does_not_grow() -> None:
    batcher = made("pi")
    batcher.succeeded(12, 0.001)
    assert batcher.next_size() == 300


def test_bounds_hold() -> None:
    batcher = made("pi", least=100, most=500)
    for _ in range(10):
        batcher.succeeded(batcher.next_size(), 0.001)
    assert batcher.next_size() == 500
    for _ in range(10):
        batcher.succeeded(batcher.next_size(), 100.0)
    assert batcher.next_size() == 100


def test_free_memory_bounds_it() -> None:
    reserve = 128 << 20
    assert made(free=reserve + 200 * ROW_BYTES).next_size() == 200
    assert made(free=reserve + 10 * ROW_BYTES, least=50).next_size() == 50
    assert made(free=0, least=50).next_size() == 50


def test_a_memory_error_halves_even_a_fixed_size_and_below_the_least() -> None:
    batcher = made(fixed=4, least=50)
    assert batcher.next_size() == 4
    assert batcher.failed(memory_error=True) and batcher.next_size() == 2
    assert batcher.failed(memory_error=True) and batcher.next_size() == 1
    assert not batcher.failed(memory_error=True)
    assert not made().failed(memory_error=False)


def test_a_fixed_size_learns_nothing() -> None:
    batcher = made(fixed=77)
    batcher.succeeded(77, 0.001)
    batcher.succeeded(77, 99.0)
    assert batcher.next_size() == 77


@given(
    st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=50),
    st.integers(0, 1 << 31),
)
def test_it_is_always_a_size(history: list[tuple[float, bool]], free: int) -> None:
    batcher = made(free=free, least=20, most=3000)
    for seconds, memory_error in history:
        size = batcher.next_size()
        assert 1 <= size <= 3000
        if memory_error:
            batcher.failed(memory_error=True)
        else:
            batcher.succeeded(size, seconds)
