"""Threads of the tests: what goes wrong in one is told by the test that started it."""

from __future__ import annotations

import ast
import socket
import threading
from pathlib import Path

import pytest

from tests.threads import PATIENCE, Background, Callers, all_finished, in_thread

TESTS = Path(__file__).parents[1]
NEW_THREADS = {"Thread", "Timer", "start_new_thread"}
NEVER_WAITS = "system/test_daemon.py"
"""The file that looks, without waiting, whether a caller is there."""


def fail() -> None:
    raise ZeroDivisionError


def test_a_test_gets_the_error_of_its_thread() -> None:
    with pytest.raises(ZeroDivisionError):
        in_thread(fail)
    told, wait = pytest.raises(AssertionError, match="did not end"), threading.Event()
    waiting = Background(wait.wait)
    waiting.start()
    with told:
        waiting.finish(0.01)
    wait.set()
    waiting.finish()


def test_a_thread_that_nobody_finishes_is_told() -> None:
    left = Background(fail)
    with pytest.raises(AssertionError, match=r"fail .*ZeroDivisionError"), all_finished():
        left.start()
        left.join()


@pytest.mark.parametrize("leaves", ["the caller", "the server"])
def test_callers_that_are_hung_up_on_end_quietly(leaves: str) -> None:
    ended = threading.Semaphore(0)

    def talk(connection: socket.socket) -> None:
        try:
            while True:
                connection.recv(1 << 16)
                connection.sendall(b"x" * (1 << 16))
        finally:
            ended.release()

    server = socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(server.getsockname()) as caller, all_finished():
        with Callers(server, talk):
            caller.sendall(b"x")
            assert caller.recv(1)
            if leaves == "the caller":
                caller.close()
                assert ended.acquire(timeout=PATIENCE)
        assert leaves == "the caller" or ended.acquire(timeout=PATIENCE)
        assert server.fileno() == -1


def test_another_failure_of_a_talk_is_a_failure_of_the_test() -> None:
    def talk(connection: socket.socket) -> None:
        Path("/nowhere").read_bytes()

    server = socket.create_server(("127.0.0.1", 0))
    with (
        pytest.raises(FileNotFoundError),
        Callers(server, talk),
        socket.create_connection(server.getsockname()) as caller,
    ):
        assert caller.recv(1) == b""


def test_every_thread_of_a_test_is_one_that_is_finished() -> None:
    """Benchmarks are no tests; what serves callers outlives them otherwise, and fails in another
    test."""
    offenders = []
    for file in sorted(TESTS.rglob("*.py")):
        name = file.relative_to(TESTS).as_posix()
        if name == "threads.py" or name.startswith("benchmarks/"):
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            called = getattr(node, "func", None)
            function = getattr(called, "attr", getattr(called, "id", ""))
            place = f"{name}:{getattr(node, 'lineno', 0)}: {function}"
            if function in NEW_THREADS:
                offenders.append(f"{place}: take tests.threads.Background")
            elif function == "accept" and not node.args and name != NEVER_WAITS:  # type: ignore[attr-defined]
                offenders.append(f"{place}: take tests.threads.Callers")
    assert not offenders, "\n".join(offenders)
