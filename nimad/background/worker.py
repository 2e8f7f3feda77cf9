"""The background thread: does the work of its jobs, one step at a time.

It sleeps on an event and never ticks: `wake` ends its sleep, and while every job waits it sleeps
for exactly as long as the first of them says.  A job whose step fails is left alone for a while,
longer each time (`nimad.core.setbacks`), and never keeps the others from going on.

A yielding step runs at SCHED_IDLE (probe/priority.py).  Then a machine that is suddenly busy may
starve it while it holds the interpreter or a lock that a request needs: measured, with two busy
processes on each of two processors, others waited up to 5.5 s for the interpreter.  So each request
lifts it to the usual priority until its step is done (`touch`), and the machine does not count as
idle while a task waits for a processor.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from nimad.background.idle_conditions import AllOf, Limits, MachineIdle, NoRecentRequests
from nimad.config import Config
from nimad.core.setbacks import Setbacks
from nimad.dataclass import dataclass
from nimad.errors import NimadError
from nimad.probe.pressure import waited

if TYPE_CHECKING:
    from nimad.probe.priority import Priority

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """The next piece of a job's work.

    Attributes:
        run: does it, in the background thread; may raise anything, and is then tried again later.
        wait: time until it may begin; 0: now [seconds].
        yielding: whether it runs at the lowest priority.
    """

    run: Callable[[], object]
    wait: float = 0.0
    yielding: bool = False


class Job(Protocol):
    """Work that the background thread does, a step at a time."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    def next_step(self) -> Step | None:
        """What is to be done next; None: nothing until the worker is woken.

        Cheap: it is asked before each step of every job that was added later.
        """

    def close(self) -> None:
        """The thread has ended: let go of what is open."""


class Worker:
    """Owns the thread and knows when it may work; jobs are added before `start`, most urgent first.

    Attributes:
        idle: the condition of all work that can wait: no request lately, and an idle machine.
        stopping: set when the thread has to end.
    """

    def __init__(
        self, config: Callable[[], Config], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self._requests = NoRecentRequests(lambda: config()["migration.idle_seconds"], clock)
        self._machine = MachineIdle(lambda: Limits.of(config()), clock)
        self.idle = AllOf(self._requests, self._machine)
        self.stopping = threading.Event()
        self._jobs: list[Job] = []
        self._setbacks = Setbacks(clock)
        self._event = threading.Event()
        self._holders = 0
        self._released = threading.Condition()
        self._priority: Priority | None = None
        self._thread: threading.Thread | None = None

    def add(self, job: Job) -> None:
        """Register a job; its steps come after those of the jobs that are registered already."""
        self._jobs.append(job)

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="background", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when the step under way is done (it has committed, or will be done again)."""
        self.stopping.set()
        self._event.set()
        with self._released:
            self._released.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for job in self._jobs:
            job.close()

    def wake(self) -> None:
        """There may be something to do: ask the jobs."""
        self._event.set()

    def retry(self) -> None:
        """The configuration changed: try at once what failed before."""
        self._setbacks.clear()
        self._event.set()

    def touch(self, watching: bool = False) -> None:
        """A request came: the step under way goes on at the usual priority, and the next yielding
        one waits, unless the request only looks at how far the work is.  From any thread."""
        if not watching:
            self._requests.touch()
        if self._priority is not None:
            self._priority.lift()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """While held, the worker starts no new step."""
        with self._released:
            self._holders += 1
        try:
            yield
        finally:
            with self._released:
                self._holders -= 1
                self._released.notify_all()

    # --- the thread ---------------------------------------------------------------------------

    def _loop(self) -> None:
        from nimad.probe.priority import Priority

        self._priority = Priority()
        while not self.stopping.is_set():
            self._event.clear()
            pause = self._work()
            if pause != 0 and not self.stopping.is_set():
                self._event.wait(pause)
            with self._released:
                self._released.wait_for(lambda: not self._holders or self.stopping.is_set())

    def _work(self) -> float | None:
        """Do the first step that may begin.

        Returns how long to sleep [seconds]: 0 after a step, None until woken.
        """
        pauses = []
        for job in self._jobs:
            if (pause := self._advance(job)) == 0:
                return 0
            if pause is not None:
                pauses.append(pause)
        return min(pauses, default=None)

    def _advance(self, job: Job) -> float | None:
        """Do a job's next step if it may begin; what it waits for otherwise (see `_work`)."""
        if (pause := self._setbacks.remaining(job.name)) > 0:
            return pause
        try:
            step = job.next_step()
            if step is None:
                return None
            if step.wait > 0:
                return step.wait
            thread, priority = threading.get_native_id(), self._priority
            if priority is not None:
                (priority.lower if step.yielding else priority.lift)()
            began, before = self.clock(), waited(thread)
            try:
                step.run()
            finally:  # what it waited for a processor tells how busy others are
                after = waited(thread)
                lost = 0.0 if before is None or after is None else after - before
                self._machine.worked(self.clock() - began, lost)
        except Exception as error:  # the thread must outlive whatever happens
            told = f"{job.name} waits: {self._setbacks.note(job.name, error).why}"
            expected = isinstance(error, (NimadError, OSError))
            level = logging.WARNING if expected else logging.ERROR
            log.log(level, "%s", told, exc_info=not expected)
            return self._setbacks.remaining(job.name)
        self._setbacks.clear(job.name)
        return 0
