"""Projection: what can be made anew from the records, as the rest of the store sees it.

The records are the truth (nimad/store).  The words index, the semantic index, the hypervectors, the
graph and the file of the columns repeat a part of it in a form that answers fast.  Each of them is
a subclass in nimad/core, in the one list of `MemoryStore`; maintenance, purge, doctor,
status, rebuild and the pruning of the change log are loops over that list.  So a new projection is
one new file and one line in the list.

A projection gets what it needs (records, health, directory, lock) when it is made, never the store.
What does the work may live in a lower layer (`nimad.graph`, `nimad.recall`), which knows nothing of
this module: then the class here is a thin one around it.

| the loop | calls | where |
|---|---|---|
| start, end | `open`, `close` | core/store |
| idle time, in the order of the list | `follow`, then `rest` | core/maintenance |
| `nimactl rebuild` | `rebuild` | core/maintenance |
| `forget --purge` | `scrub` | core/purge |
| `nimactl doctor` | `check` | nimad/check |
| once a week | `verify_steps` | core/integrity |
| `nimactl status` | `size` | core/status |
| pruning of the change log | `position` | core/maintenance |
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from nimad.dataclass import dataclass
from nimad.store.forgotten import PurgeNote

ENDINGS = 3
"""How often work that begins anew ends for those who wait."""
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it must be: "error" costs answers, "warning" may, "note" is news."""

    part: str
    what: str
    fix: str
    severity: str = "error"


class Ended(Exception):
    """Somebody waits for `store.maintenance`: work that takes seconds ends, changes nothing, and is
    done later, or begun anew."""


class Waiters:
    """Those who wait for `store.maintenance` and must not wait for seconds."""

    def __init__(self) -> None:
        self._count, self._mutex = 0, threading.Lock()
        self._none = threading.Event()
        self._none.set()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Around the wait."""
        self._add(1)
        try:
            yield
        finally:
            self._add(-1)

    def _add(self, change: int) -> None:
        with self._mutex:
            self._count += change
            (self._none.clear if self._count else self._none.set)()

    def end_for_them(self) -> None:
        """Called now and then by who holds the lock: raises Ended while somebody waits."""
        if self._count:
            raise Ended

    def let_go_first(self) -> None:
        """Return when nobody waits any more: who has waited has the lock.  For who has it not."""
        self._none.wait()

    def do_behind(self, work: Callable[[Callable[[], None]], Done]) -> Done:
        """Do `work`, which is given what may end it (`end_for_them`) and takes the lock itself:
        anew, behind those who ended it.  After ENDINGS times nothing ends it any more."""
        for _ in range(ENDINGS):
            self.let_go_first()
            with suppress(Ended):
                return work(self.end_for_them)
        return work(lambda: None)


class Projection(ABC):
    """One form of what the records hold; every method may be called from any thread.

    `follow`, `scrub`, `rest` and `close` are called with `store.maintenance` held, so one at a time
    over all projections; `rebuild` takes it itself, as it needs it.  Queries and `remember` go on
    meanwhile.

    Attributes:
        name: in `status`, `doctor`, `degraded` and `nimactl rebuild`.
        sparing: whether `follow` is called while memories come in bulk: what is large, and can
            wait, is left for later.
    """

    name: str
    sparing = False

    @property
    def position(self) -> int | None:
        """The number of the last change of the records that is wholly in it.

        The change log is kept from there on (up to a bound, see core/maintenance).  None when it
        does not need the log: it is written in the records' own transactions, or it is to be made
        anew, or it is not wanted.
        """
        return None

    def open(self) -> None:  # noqa: B027 - SQLite opens the words, queries read the columns
        """Take up what is on the disk.  Damage is set aside and told to Health, never raised."""

    @abstractmethod
    def follow(self) -> bool:
        """One bounded step of what is to be done in idle time; True while more is left.

        To catch up, to mend what is out of service, to tidy up.  What it raises sets it aside for a
        while (others go on), and it is tried more and more seldom.
        """

    @abstractmethod
    def rebuild(self) -> int | None:
        """Make it anew from the records while the old one serves; how many rows it has.

        None when there is none, or when the records alone cannot make it.  Raises Degraded when it
        cannot be made now, DiskFull; the old one stays then.
        """

    @abstractmethod
    def scrub(self, note: PurgeNote) -> None:
        """Leave no trace of what is purged; may be repeated.

        An error does not stop the rest of the purge: this step alone is repeated later.
        """

    def strays(self) -> list[Path]:
        """Files of its own that nothing names: an error left them, as a crash may.  Called with
        `store.maintenance` held, when none is being written."""
        return []

    @abstractmethod
    def check(self) -> list[Problem]:
        """What is not as it must be.  Writes nothing; damage that it finds it tells to Health, and
        `follow` mends it."""

    def verify_steps(self) -> Iterator[None]:
        """Once a week: read its files whole and compare checksums, a few MB a step.

        Writes nothing; damage that it finds it tells to Health, and `follow` mends it.
        """
        return iter(())

    @abstractmethod
    def size(self) -> int:
        """What it takes on the disk [bytes]."""

    def rest(self) -> None:  # noqa: B027 - most have nothing to give back
        """Nothing is left to do: give back memory that the next request can get again."""

    def close(self) -> None:  # noqa: B027 - most hold nothing but mapped files
        """The end of the process: make durable what only memory holds, close files.  Never
        raises."""
