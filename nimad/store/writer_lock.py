"""The right to write to the records: users take turns, and what works for one comes in order.

Python's own locks go to any thread that asks at the right moment.  Here the holder knows whether
others wait, may queue behind them for a second turn, and may send home those who need none any
more: what `Records.write_jointly` needs to commit the work of several threads at once.
"""

from __future__ import annotations

import threading

_here = threading.local()


def work_for(user: int) -> None:
    """From now on this thread works for a user; one that never says so, for nimad itself."""
    _here.user = user


class Turn:
    """A place in the queue; `has_lock` tells, once it was called, whether with the lock."""

    def __init__(self) -> None:
        self.user: int | None = getattr(_here, "user", None)
        self.called = threading.Lock()
        self.called.acquire()
        self.has_lock = False


class WriterLock:
    """A reentrant lock for threads.  Its queue is one of users, each with a queue of turns: who has
    many threads waiting is called no more often than who has one."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._queues: dict[int | None, dict[Turn, None]] = {}
        self.waiting = 0
        """The number of turns in the queues."""
        self._taken = False
        self._owner = 0
        self._depth = 0

    @property
    def depth(self) -> int:
        """How often the calling thread holds it."""
        return self._depth if self._owner == threading.get_ident() else 0

    def queue(self) -> Turn:
        """A turn behind all others of its user; the lock comes at once when nobody has it."""
        turn = Turn()
        with self._mutex:
            self._queues.setdefault(turn.user, {})[turn] = None
            self.waiting += 1
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
            if turn in self._queues.get(turn.user, ()):
                self._take_out(turn)
                turn.called.release()

    def _take_out(self, turn: Turn) -> None:
        self.waiting -= 1
        turns = self._queues[turn.user]
        del turns[turn]
        if not turns:
            del self._queues[turn.user]

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
        """Undo one `with` or `wait`; the last one gives the lock to who is next."""
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            self._let_go()

    def _let_go(self) -> None:
        with self._mutex:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the lock to the first turn of the first user, whose others come behind those of all
        other users; the mutex is held."""
        self._taken = bool(self._queues)
        if self._taken:
            turns = next(iter(self._queues.values()))
            turn = next(iter(turns))
            self._take_out(turn)
            if turns:
                self._queues[turn.user] = self._queues.pop(turn.user)
            turn.has_lock = True
            turn.called.release()
