"""A pool of threads that users take turns in: no user waits for another one's work.

A user may occupy `threads` of them; there is one more, so that a second user always finds one.
While others ask, too, it may occupy one less: threads that compute in Python slow each other down.
Where jobs wait, those of one user are begun in their order, and the users take turns.  Everything
but the jobs themselves happens on the event loop.

What comes of a job is passed to a function and not to a future: whoever awaits one is woken a turn
of the loop later, and four such turns were two fifths of what the loop did for a ping.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from nimad.dataclass import dataclass
from nimad.errors import Busy, NimadError
from nimad.store.writer_lock import work_for

SPARE = 1
"""Number of threads that one user alone never occupies [threads]."""
ACTIVE_SECONDS = 5.0
"""Time after a job of its own for which a user counts as one of those who ask [seconds]."""


Done = Callable[[Any, NimadError | None], None]


@dataclass(eq=False)
class Job:
    """Work of one user; `began` is None until a thread has it [seconds, monotonic].  `done` is
    called once, on the loop, with the result or the error."""

    uid: int
    work: Callable[[], Any]
    done: Done | None
    came: float
    began: float | None = None

    def cancel(self) -> None:
        """Nobody waits for it any more: it never begins, unless a thread has it."""
        self.done = None

    def end(self, result: Any, error: NimadError | None) -> None:
        """Pass on what came of it, unless that has been done or nobody waits for it."""
        done, self.done = self.done, None
        if done is not None:
            done(result, error)


class Lane:
    """Runs jobs; make it and use it on one event loop."""

    def __init__(self, name: str, threads: int) -> None:
        self._most = threads
        self._name = name
        self._threads = 0
        self._begun: SimpleQueue[Job | None] = SimpleQueue()
        """What the threads take; None ends one.  A pool of futures would cost 10 us more a job."""
        self._waiting: dict[int, deque[Job]] = {}
        self._running: dict[Job, None] = {}
        self._busy: Counter[int] = Counter()
        self._asked: dict[int, float] = {}
        """When each user came with its last job; those of the last seconds, oldest first."""
        self._closed = False

    async def run(self, uid: int, work: Callable[[], Any]) -> Any:
        """What `work` returns, when its user's turn has come.  Raises as `submit`, or its error."""
        outcome = asyncio.get_running_loop().create_future()

        def done(result: Any, error: NimadError | None) -> None:
            if outcome.done():  # cancelled
                return
            if error is None:
                outcome.set_result(result)
            else:
                outcome.set_exception(error)

        job = self.submit(uid, work, done)
        try:
            return await outcome
        finally:
            job.cancel()

    def submit(self, uid: int, work: Callable[[], Any], done: Done) -> Job:
        """Let `work` run when its user's turn comes; `done` gets what it returns or why it failed.
        Raises Busy when the lane is closed."""
        if self._closed:
            raise Busy(detail="it is stopping")
        job = Job(uid, work, done, time.monotonic())
        self._waiting.setdefault(uid, deque()).append(job)
        self._asked.pop(uid, None)
        self._asked[uid] = job.came
        while self._asked[first := next(iter(self._asked))] < job.came - ACTIVE_SECONDS:
            del self._asked[first]
        self._begin()
        return job

    @property
    def working(self) -> bool:
        """True while a thread is at work."""
        return bool(self._running)

    @property
    def oldest(self) -> float:
        """How long the first of the jobs under way has been [seconds]; 0 when there is none."""
        job = next(iter(self._running), None)
        return 0.0 if job is None or job.began is None else time.monotonic() - job.began

    def close(self) -> None:
        """Begin nothing more, and wait no longer for what is under way: Busy is its outcome."""
        self._closed = True
        for job in [*self._running, *(job for queue in self._waiting.values() for job in queue)]:
            job.end(None, Busy(detail="it is stopping"))
        self._waiting.clear()
        for _ in range(self._threads):
            self._begun.put(None)

    def _begin(self) -> None:
        while self._waiting and len(self._running) < self._most + SPARE:
            share = self._most if len(self._asked) <= 1 else max(1, self._most - 1)
            uid = next((uid for uid in self._waiting if self._busy[uid] < share), None)
            if uid is None:
                return
            queue = self._waiting.pop(uid)
            job = queue.popleft()
            if queue:
                self._waiting[uid] = queue  # behind the other users
            if job.done is not None:
                job.began = time.monotonic()
                self._running[job] = None
                self._busy[uid] += 1
                if len(self._running) > self._threads:
                    self._threads += 1
                    name = f"{self._name}_{self._threads}"
                    loop = asyncio.get_running_loop()
                    threading.Thread(target=self._run, args=(loop,), name=name, daemon=True).start()
                self._begun.put(job)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: do the work and pass on what came of it."""
        while (job := self._begun.get()) is not None:
            result, error = None, None
            work_for(job.uid)
            try:
                result = job.work()
            except NimadError as caught:
                error = caught
            except BaseException as caught:  # memory ran out while an error was described
                error = NimadError(detail=type(caught).__name__)
            try:
                loop.call_soon_threadsafe(self._end, job, result, error)
            except RuntimeError:  # the loop is closed: nothing else comes
                return
            del job, result, error  # what it holds must not wait for the next one

    def _end(self, job: Job, result: Any, error: NimadError | None) -> None:
        del self._running[job]
        self._busy[job.uid] -= 1
        if not self._busy[job.uid]:
            del self._busy[job.uid]
        try:
            job.end(result, error)
        finally:
            self._begin()
