"""The migrate verbs, and what they ask of whoever moves the sources."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from nimad.errors import UsageError
from nimad.model import AttachRequest
from nimad.serve import params
from nimad.serve.params import Param
from nimad.serve.verbs import Call, Verb


class Migrations(Protocol):
    """What moves legacy sources in; nimad.migrate.manager.MigrationManager is the one.

    Methods answer with the `result` of docs/protocol.md, raise NimadErrors (NotFound for a name
    that no source has), and may be called from several threads.  `attach` borrows the descriptor
    for the length of the call.  `start` begins or goes on with whatever is due, in threads of its
    own; `stop` returns when the running step has committed.
    """

    def attach(self, fd: int, asked: AttachRequest) -> dict[str, Any]:
        """Take over a snapshot (or, on a dry run, report on it)."""

    def append(self, fd: int, *, name: str, sha256: str, size: int) -> dict[str, Any]:
        """Take over what a followed source got since; the descriptor stays the caller's."""

    def status(self, name: str | None = None) -> dict[str, Any]:
        """Every source, or one."""

    def pause(self, names: Sequence[str] | None = None) -> list[str]:
        """Stop working on these (None: all); the names that are paused now."""

    def resume(self, names: Sequence[str] | None = None) -> list[str]:
        """Go on with these (None: all); the names that go on now."""

    def now(self, names: Sequence[str] | None = None) -> list[str]:
        """These (None: all under way) wait for no idle moment until they are done; their names."""

    def verify(self, name: str) -> dict[str, Any]:
        """Compare every row with the snapshot."""

    def rollback(self, name: str) -> dict[str, Any]:
        """Remove exactly what came from that source."""

    def forget_backup(self, name: str) -> dict[str, Any]:
        """Delete the snapshot that was kept."""

    def quarantine(self, name: str, offset: int, limit: int) -> dict[str, Any]:
        """A page of the rows that were not taken over."""

    def retry_quarantined(self, name: str) -> dict[str, Any]:
        """Look at those rows again."""

    def restore(self, name: str, fd: int) -> dict[str, Any]:
        """Write the snapshot that was kept into the file behind a descriptor."""


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError("must be 64 hexadecimal digits")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.@+-]{1,100}", value):
        raise ValueError("must be a name of letters, digits, and . _ - @ +")
    if value.startswith((".", "-")):
        raise ValueError("must not begin with a dot or a dash")
    return value


ATTACH = {
    "path": Param(params.path),
    "kind": Param(params.text(100)),
    "sha256": Param(_digest),
    "size": Param(params.integer(0, 2**53)),
    "strategy": Param(params.choice("incremental", "full", "lazy"), None),
    "batch_size": Param(params.integer(0, 100_000), None),
    "start_offset": Param(params.integer(0, 2**53), 0),
    "name": Param(_name, None),
    "dry_run": Param(params.flag, False),
}
APPEND = {
    "name": Param(_name),
    "sha256": Param(_digest),
    "size": Param(params.integer(0, 2**53)),
}
ANY_NAME = {"name": Param(_name, None)}
ONE_NAME = {"name": Param(_name)}
QUARANTINE = {
    "name": Param(_name),
    "offset": Param(params.integer(0, 2**53), 0),
    "limit": Param(params.integer(1, 1000), 100),
}


class MigrationVerbs:
    """Passes what was asked, checked, to the migrations."""

    def __init__(self, migrations: Migrations) -> None:
        self._migrations = migrations

    def all(self) -> list[Verb]:
        """The verbs of this file."""
        return [
            Verb("migrate.attach", "control", self.attach, watching=True),
            Verb("migrate.append", "control", self.append, watching=True),
            Verb("migrate.status", "read", self.status, watching=True),
            Verb("migrate.pause", "control", self.pause),
            Verb("migrate.resume", "control", self.resume),
            Verb("migrate.now", "control", self.now),
            Verb("migrate.verify", "control", self.verify),
            Verb("migrate.rollback", "control", self.rollback),
            Verb("migrate.forget_backup", "control", self.forget_backup),
            Verb("migrate.quarantine", "read", self.quarantine),
            Verb("migrate.retry_quarantined", "control", self.retry_quarantined),
            Verb("migrate.restore", "control", self.restore),
        ]

    def attach(self, call: Call) -> dict[str, Any]:
        """Take over the snapshot whose descriptor came with the request."""
        given = params.read("migrate.attach", ATTACH, call.params)
        if not call.fds:
            raise UsageError(detail="migrate.attach needs the descriptor of a snapshot")
        return self._migrations.attach(call.fds[0], AttachRequest(**given))

    def append(self, call: Call) -> dict[str, Any]:
        """Take over what a followed source got since its snapshot."""
        given = params.read("migrate.append", APPEND, call.params)
        if not call.fds:
            raise UsageError(detail="migrate.append needs the descriptor of a delivery")
        return self._migrations.append(call.fds[0], **given)

    def status(self, call: Call) -> dict[str, Any]:
        """How far each source is."""
        given = params.read("migrate.status", ANY_NAME, call.params)
        return self._migrations.status(given["name"])

    def pause(self, call: Call) -> dict[str, Any]:
        """Stop working on a source, or on all."""
        given = params.read("migrate.pause", ANY_NAME, call.params)
        return {"sources": self._migrations.pause(_names(given["name"]))}

    def resume(self, call: Call) -> dict[str, Any]:
        """Go on with a source, or with all."""
        given = params.read("migrate.resume", ANY_NAME, call.params)
        return {"sources": self._migrations.resume(_names(given["name"]))}

    def now(self, call: Call) -> dict[str, Any]:
        """Let a source, or all under way, wait for no idle moment."""
        given = params.read("migrate.now", ANY_NAME, call.params)
        return {"sources": self._migrations.now(_names(given["name"]))}

    def verify(self, call: Call) -> dict[str, Any]:
        """Compare a source row by row with its snapshot."""
        return self._migrations.verify(params.read("migrate.verify", ONE_NAME, call.params)["name"])

    def rollback(self, call: Call) -> dict[str, Any]:
        """Undo the migration of a source."""
        given = params.read("migrate.rollback", ONE_NAME, call.params)
        return self._migrations.rollback(given["name"])

    def forget_backup(self, call: Call) -> dict[str, Any]:
        """Delete a source's snapshot."""
        given = params.read("migrate.forget_backup", ONE_NAME, call.params)
        return self._migrations.forget_backup(given["name"])

    def quarantine(self, call: Call) -> dict[str, Any]:
        """A page of the rows of a source that were not taken over."""
        given = params.read("migrate.quarantine", QUARANTINE, call.params)
        return self._migrations.quarantine(given["name"], given["offset"], given["limit"])

    def retry_quarantined(self, call: Call) -> dict[str, Any]:
        """Look at the quarantined rows of a source again."""
        given = params.read("migrate.retry_quarantined", ONE_NAME, call.params)
        return self._migrations.retry_quarantined(given["name"])

    def restore(self, call: Call) -> dict[str, Any]:
        """Write a source's backup into the file whose descriptor came with the request."""
        given = params.read("migrate.restore", ONE_NAME, call.params)
        if not call.fds:
            raise UsageError(detail="migrate.restore needs the descriptor of an empty file")
        return self._migrations.restore(given["name"], call.fds[0])


def _names(name: str | None) -> list[str] | None:
    return None if name is None else [name]
