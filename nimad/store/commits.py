"""Transactions: begun, committed or undone; those of several threads together, in one COMMIT.

A flush is what a small write waits for, and what wears a card.  So a thread that is done while
others wait to write does not commit at once: it lets them add their parts to the same transaction,
each behind a savepoint, and queues again.  The last one, or the first whose turn comes again,
commits for all; nothing is acknowledged before.  Nobody joins what has taken JOINT_SECONDS: what
many wait for is worth a flush of its own then.

Crash prose: until the one COMMIT nothing of any part is there, after it all of them are.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import field
from pathlib import Path

from nimad.dataclass import dataclass
from nimad.disk.failures import translated
from nimad.errors import DiskFailed, DiskFull
from nimad.store import rows
from nimad.store.transaction import Transaction
from nimad.store.writer_lock import Turn, WriterLock

JOINT_SECONDS = 0.02
"""Time of a transaction after which it is committed although others might join it [seconds]."""


@dataclass(eq=False)
class _Group:
    """The parts of the pending transaction, and the turns of those who wait for its COMMIT."""

    began: float
    parts: list[Transaction] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)


class Commits:
    """The transactions of one database: one writer at a time.

    Attributes:
        writer: the connection that writes; for who holds the lock (`exclusive`).
        trouble: what the disk refused last, until it takes a transaction again.
        ended: how many transactions were, committed or not: while it stays, nothing has changed.
    """

    def __init__(
        self,
        path: Path,
        secure: Callable[[bool], None],
        begun: Callable[[], None],
        on_trouble: Callable[[DiskFailed | DiskFull | None], None],
    ) -> None:
        """`secure` makes sure before BEGIN and after COMMIT that what is committed is durable, and
        is told whether a change was; `begun` is called after each BEGIN."""
        self._path, self._secure, self._on_trouble = path, secure, on_trouble
        self._begun = begun
        self.trouble: DiskFailed | DiskFull | None = None
        self.ended = 0
        self._lock = WriterLock()
        self._group: _Group | None = None

    def use(self, writer: sqlite3.Connection) -> None:
        """From now on this connection writes."""
        self.ended += 1
        self.writer, self._names = writer, rows.Names(writer)

    @property
    def waiting(self) -> int:
        """How many threads wait for the lock."""
        return self._lock.waiting

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other writers out; what they have pending is committed first."""
        with self._lock:
            if self._lock.depth == 1 and self._group is not None:
                self._commit()
            yield

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """See `Records.write`."""
        with self.exclusive():
            with self._part() as tx:
                yield tx
            self._commit()
        if tx.error is not None:
            raise tx.error

    @contextlib.contextmanager
    def write_jointly(self) -> Iterator[Transaction]:
        """See `Records.write_jointly`."""
        if self._lock.depth:  # the caller keeps others out
            with self.write() as tx:
                yield tx
            return
        turn: Turn | None = None
        with self._lock:
            with self._part() as tx:
                yield tx
            group = self._group
            others = group is not None and self._lock.waiting > len(group.turns)
            if group is not None and others and time.monotonic() < group.began + JOINT_SECONDS:
                turn = self._lock.queue()
                group.turns.append(turn)
            else:
                self._commit()
        if turn is not None and self._lock.wait(turn):
            try:
                if self._group is group:
                    self._commit()
            finally:
                self._lock.release()
        if tx.error is not None:
            raise tx.error

    @contextlib.contextmanager
    def _part(self) -> Iterator[Transaction]:
        """What is done in the block begins a transaction, or joins the pending one."""
        joins, began = self._group is not None, time.monotonic()
        try:
            if not joins:
                self._secure(False)
            tx = Transaction(self.writer, self._names, joins, lambda: self._lock.waiting)
            with translated(self._path):
                self.writer.execute("SAVEPOINT part" if joins else "BEGIN IMMEDIATE")
                if not joins:
                    self._begun()
                yield tx
                if joins:
                    self.writer.execute("RELEASE part")
        except BaseException as error:
            if not joins:
                self._undo(error)
                raise
            self._names.forget()
            try:  # the part is rolled back; all of it where SQLite has, or cannot do less
                self.writer.execute("ROLLBACK TO part")
                self.writer.execute("RELEASE part")
            except sqlite3.Error:
                self._end(error)
            raise
        self._group = self._group or _Group(began)
        self._group.parts.append(tx)

    def _undo(self, error: BaseException) -> None:
        self._names.forget()
        if self.writer.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # what failed is told, not this
                self.writer.execute("ROLLBACK")
        if isinstance(error, (DiskFailed, DiskFull)):
            self.trouble = error
            self._on_trouble(error)

    def _commit(self) -> None:
        """Commit the pending transaction; what its parts must know of it is in their `error`."""
        try:
            with translated(self._path):
                self.writer.execute("COMMIT")
            parts = self._group.parts if self._group else ()
            self._secure(any(part.changed for part in parts))
        except BaseException as error:
            self._end(error)
            return
        self._end(None)
        if self.trouble is not None:
            self.trouble = None
            self._on_trouble(None)

    def _end(self, error: BaseException | None) -> None:
        """The pending transaction is committed, or (an error) is not: tell all who have a part."""
        self.ended += 1
        if error is not None:
            self._undo(error)
        group, self._group = self._group, None
        if group is not None:
            for part in group.parts:
                part.end(error)
            for turn in group.turns:
                self._lock.dismiss(turn)
