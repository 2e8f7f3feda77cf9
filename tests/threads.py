"""Threads of the tests: whoever starts one joins it, and its error is a failure of that test.

A thread that outlives its test, or fails after it, is charged to another one.  `Background` gives
what went wrong to the test that joins it, `Callers` serves a listener until the test hangs up.
conftest.py fails a test that leaves one unfinished, tests/unit/test_threads.py lists threads that
are made otherwise.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

PATIENCE = 120.0
"""Longest wait for what is about to happen, on a busy machine too [s]."""
HUNG_UP = (
    *(errno.EBADF, errno.EINVAL, errno.ENOTCONN, errno.EPIPE),
    *(errno.ECONNRESET, errno.ECONNABORTED, errno.ESHUTDOWN),
)
"""What a socket says that was closed or shut down, by this side or by the other one [errno]."""

_unfinished: set[Background] = set()


class Background(threading.Thread):
    """`work(*given, **more)` in a thread; as a context manager it starts and is finished."""

    def __init__(self, work: Callable[..., object], *given: Any, **more: Any) -> None:
        super().__init__(name=getattr(work, "__qualname__", repr(work)), daemon=True)
        self._work = lambda: work(*given, **more)
        self.error: BaseException | None = None

    def start(self) -> None:
        if threading.current_thread() is threading.main_thread():  # not what a server starts
            _unfinished.add(self)
        super().start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error

    def finish(self, seconds: float = PATIENCE) -> None:
        """Wait for its end, and raise what it raised."""
        self.join(seconds)
        assert not self.is_alive(), f"{self.name} did not end within {seconds} seconds"
        _unfinished.discard(self)
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Background:
        self.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.finish()


@contextlib.contextmanager
def all_finished() -> Iterator[None]:
    """AssertionError when threads that are started here were not finished."""
    before = _unfinished.copy()
    yield
    left = _unfinished - before
    _unfinished.difference_update(left)
    assert not left, "not finished: " + ", ".join(f"{each.name} ({each.error!r})" for each in left)


def in_thread(work: Callable[..., object], *given: Any) -> None:
    """Do it in another thread, and wait for it."""
    with Background(work, *given):
        pass


def after(seconds: float, work: Callable[..., object], *given: Any) -> Background:
    """A thread that does it a little later; to be started."""
    return Background(lambda: (time.sleep(seconds), work(*given)))


@contextlib.contextmanager
def setting(event: threading.Event) -> Iterator[None]:
    """Set it afterwards, however this ends: `with Background(until_told), setting(told):`."""
    try:
        yield
    finally:
        event.set()


@contextlib.contextmanager
def side_by_side(works: Iterable[Callable[[], object]]) -> Iterator[None]:
    """Each in a thread of its own, beside what is done meanwhile."""
    with contextlib.ExitStack() as threads:
        for work in works:
            threads.enter_context(Background(work))
        yield


@contextlib.contextmanager
def until_hung_up() -> Iterator[None]:
    """The end of a connection or of a listener ends what is done here, and is no error."""
    try:
        yield
    except OSError as error:
        if error.errno not in HUNG_UP:
            raise


def hang_up(connection: socket.socket) -> None:
    """Wake up who waits on it; a closed one is left alone."""
    with until_hung_up():
        connection.shutdown(socket.SHUT_RDWR)


class Callers:
    """Those who connect to `listener`: `talk` is called for each, with its connection, in a thread
    of its own, until the test leaves; then all are hung up on.

    `talk` may end when its caller does: that is no error.  Others are raised when the test leaves.
    """

    def __init__(self, listener: socket.socket, talk: Callable[[socket.socket], object]) -> None:
        self._listener, self._talk = listener, talk
        self._connections: list[socket.socket] = []
        self._threads = [Background(self._accept)]

    def __enter__(self) -> Callers:
        self._threads[0].start()
        return self

    def __exit__(self, *reason: object) -> None:
        hang_up(self._listener)
        self._threads[0].finish()
        self._listener.close()
        for connection in self._connections:
            hang_up(connection)
        with contextlib.ExitStack() as threads:
            for thread in self._threads[1:]:
                threads.callback(thread.finish)

    def _accept(self) -> None:
        with until_hung_up():
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._threads.append(Background(self._serve, connection))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, until_hung_up():
            self._talk(connection)
