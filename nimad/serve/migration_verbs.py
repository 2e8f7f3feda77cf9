"""The verbs about legacy sources: migrate.attach, .append, .status, .pause, .verify, ..."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from nimad import checks
from nimad.limits import MAX_BATCH
from nimad.migrate.manager import MigrationManager
from nimad.model import AttachRequest
from nimad.serve import params
from nimad.serve.params import Param
from nimad.serve.verbs import Call, Verb


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError("must be 64 hexadecimal digits")
    return value


ATTACH = {
    "path": Param(params.path),
    "kind": Param(checks.text(100)),
    "sha256": Param(_digest),
    "size": Param(checks.integer(0, 2**53)),
    "strategy": Param(checks.choice("incremental", "full", "lazy"), None),
    "batch_size": Param(checks.integer(0, MAX_BATCH), None),
    "start_offset": Param(checks.integer(0, 2**53), 0),
    "name": Param(params.source_name, None),
    "dry_run": Param(checks.flag, False),
    "time_zone": Param(params.zone_name, None),
}
APPEND = {
    "name": Param(params.source_name),
    "sha256": Param(_digest),
    "size": Param(checks.integer(0, 2**53)),
}
ANY_NAME = {"name": Param(params.source_name, None)}
ONE_NAME = {"name": Param(params.source_name)}
QUARANTINE = {
    "name": Param(params.source_name),
    "offset": Param(checks.integer(0, 2**53), 0),
    "limit": Param(checks.integer(1, 1000), 100),
}


def migration_verbs(migrations: MigrationManager) -> list[Verb]:
    """The verbs of this file: each passes what was asked, checked, to the migrations."""

    def one(work: Callable[[str], dict[str, Any]]) -> Callable[[Call], dict[str, Any]]:
        return lambda call: work(call.params["name"])

    def some(work: Callable[[list[str] | None], list[str]]) -> Callable[[Call], dict[str, Any]]:
        def run(call: Call) -> dict[str, Any]:
            name = call.params["name"]
            return {"sources": work(None if name is None else [name])}

        return run

    def attach(call: Call) -> dict[str, Any]:
        return migrations.attach(call.fds[0], AttachRequest(**call.params))

    def append(call: Call) -> dict[str, Any]:
        return migrations.append(call.fds[0], **call.params)

    def restore(call: Call) -> dict[str, Any]:
        return migrations.restore(call.params["name"], call.fds[0])

    return [
        Verb("migrate.attach", "control", attach, ATTACH, descriptor="a snapshot", watching=True),
        Verb("migrate.append", "control", append, APPEND, descriptor="a delivery", watching=True),
        Verb(
            "migrate.status",
            "read",
            lambda call: migrations.status(call.params["name"]),
            ANY_NAME,
            watching=True,
        ),
        Verb("migrate.pause", "control", some(migrations.pause), ANY_NAME),
        Verb("migrate.resume", "control", some(migrations.resume), ANY_NAME),
        Verb("migrate.now", "control", some(migrations.now), ANY_NAME),
        Verb("migrate.verify", "control", one(migrations.verify), ONE_NAME),
        Verb("migrate.rollback", "control", one(migrations.rollback), ONE_NAME),
        Verb("migrate.forget_backup", "control", one(migrations.forget_backup), ONE_NAME),
        Verb(
            "migrate.quarantine",
            "read",
            lambda call: migrations.quarantine(**call.params),
            QUARANTINE,
        ),
        Verb("migrate.retry_quarantined", "control", one(migrations.retry_quarantined), ONE_NAME),
        Verb("migrate.restore", "control", restore, ONE_NAME, descriptor="an empty file"),
    ]
