"""The right to write to the records: it goes to those who wait for it in the order they came.

Python's own locks go to any thread that asks at the right moment.  Here the holder knows whether
others wait, may queue behind them for a second turn, and may send home those who need none any
more: what `Records.write_jointly` needs to commit the work of several threads at once.
"""

from __future__ import annotations

import threading


class Turn:
    """A place in the queue; `has_lock` tells, once it was called, whether with the lock."""

    def __init__(self) -> None:
        self.called = threading.Lock()
        self.called.acquire()
        self.has_lock = False


class WriterLock:
    """A reentrant lock for threads, given in the order of the queue."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._queue: dict[Turn, None] = {}
        self._taken = False
        self._owner = 0
        self._depth = 0

    @property
    def depth(self) -> int:
        """How often the calling thread holds it."""
        return self._depth if self._owner == threading.get_ident() else 0

    @property
    def waiting(self) -> int:
        """The number of turns in the queue."""
        return len(self._queue)

    def queue(self) -> Turn:
        """A turn behind all others; the lock comes at once when nobody has it."""
        turn = Turn()
        with self._mutex:
            self._queue[turn] = None
            if not self._taken:
                self._pass_on()
        return turn

    def wait(self, turn: Turn) -> bool:
        """Wait until the turn is called: True with the lock, False when it was dismissed."""
        try:
            turn.called.acquire()
        except BaseException:  # a signal, in the main thread
            self.dismiss(turn)
            if turn.has_lock:
                self._let_go()
            raise
        if turn.has_lock:
            self._owner, self._depth = threading.get_ident(), 1
        return turn.has_lock

    def dismiss(self, turn: Turn) -> None:
        """Take a turn out of the queue and let its thread go on, without the lock."""
        with self._mutex:
            if turn in self._queue:
                del self._queue[turn]
                turn.called.release()

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner == me:
            self._depth += 1
            return
        with self._mutex:
            free = not self._taken
            self._taken = True
        if free:  # nearly always
            self._owner, self._depth = me, 1
        else:
            self.wait(self.queue())

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Undo one `with` or `wait`; the last one gives the lock to the first of the queue."""
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            self._let_go()

    def _let_go(self) -> None:
        with self._mutex:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the lock to the first of the queue; the mutex is held."""
        self._taken = bool(self._queue)
        if self._taken:
            turn = next(iter(self._queue))
            del self._queue[turn]
            turn.has_lock = True
            turn.called.release()
