"""Parts of a query are done once, by the helper thread or by who needs them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from nimad.probe.priority import Priority
from nimad.recall.helper_thread import HelperThread
from tests.threads import PATIENCE, Background


@pytest.fixture
def helper() -> Iterator[HelperThread]:
    made = HelperThread()
    made._useful = True  # also where a test may use one processor only
    yield made
    made.close()


def test_thread_does_a_part_that_nobody_has_asked_for_yet(helper: HelperThread) -> None:
    done = threading.Event()

    def work() -> str:
        done.set()
        return threading.current_thread().name

    part = helper.begin(work)
    assert done.wait(PATIENCE)
    assert part.result() == "query-part"


def test_who_asks_does_what_the_thread_has_not_begun(helper: HelperThread) -> None:
    """Else a query would wait for another one's search."""
    busy, end = threading.Event(), threading.Event()

    def block() -> None:
        busy.set()
        end.wait(PATIENCE)

    first = helper.begin(block)
    assert busy.wait(PATIENCE)
    names: list[str] = []
    helper.begin(lambda: names.append(threading.current_thread().name)).result()
    end.set()
    first.result()
    helper.begin(lambda: None).result()
    assert names == [threading.current_thread().name]


def test_error_of_a_part_reaches_who_asks(helper: HelperThread) -> None:
    begun = threading.Event()

    def fail() -> None:
        begun.set()
        raise ValueError("so it is")

    part = helper.begin(fail)
    assert begun.wait(PATIENCE)
    with pytest.raises(ValueError, match="so it is"):
        part.result()
    assert helper.begin(lambda: 1).result() == 1  # the thread goes on


def test_thread_has_the_usual_priority_whoever_asks_first(helper: HelperThread) -> None:
    """One at SCHED_IDLE would keep queries waiting while the machine is busy."""

    def ask_at_rest() -> None:
        Priority().lower()
        helper.begin(lambda: None).result()

    with Background(ask_at_rest):
        pass
    begun, policies = threading.Event(), list[int]()

    def tell() -> None:
        policies.append(os.sched_getscheduler(0))
        begun.set()

    part = helper.begin(tell)
    assert begun.wait(PATIENCE)
    part.result()
    assert policies == [os.SCHED_OTHER]


def test_closed_one_leaves_parts_to_who_asks(helper: HelperThread) -> None:
    helper.begin(lambda: None).result()
    thread = helper._thread
    assert thread is not None
    helper.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert helper.begin(lambda: 2).result() == 2
