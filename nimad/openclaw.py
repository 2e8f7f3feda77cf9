"""What an OpenClaw configuration wishes of the memory plugin: whether to migrate, and how.

Read are `plugins.entries.nima-memory.database` (or `database` at the top), with the keys `backend`
("ladybugdb" or "sqlite"), `auto_migrate`, `migration_batch_size` and, ours, `path`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nimad.errors import ConfigError

PLUGIN = "nima-memory"
BACKENDS = ("ladybugdb", "ladybug", "sqlite")
MAX_BYTES = 4 << 20
MAX_BATCH = 100_000


@dataclass(frozen=True)
class Wish:
    """What the file wishes; without one, nothing.  `batch_size` is 0 and `database` None where the
    file does not say; `reason` tells why `migrate` is false."""

    migrate: bool = False
    batch_size: int = 0
    database: str | None = None
    reason: str = "nothing was asked for"


def read_wish(path: Path) -> Wish:
    """Read the file.  Raises ConfigError when it is missing, no JSON, or has a wrong value."""
    try:
        with path.expanduser().open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(path=path, detail=f"cannot be read ({error.strerror})") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(path=path, detail=f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        tree = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError(path=path, detail="is not JSON") from error
    section: dict[str, Any] = {}  # the plugin's `database`, or the one at the top
    places = (("plugins", "entries", PLUGIN, "database"), (PLUGIN, "database"), ("database",))
    for names in reversed(places):
        found = tree
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        section = found if isinstance(found, dict) else section
    backend = section.get("backend", "sqlite")
    if backend not in BACKENDS:
        raise ConfigError(
            path=path, detail=f"database.backend must be ladybugdb or sqlite, not {backend!r}"
        )
    auto = section.get("auto_migrate", False)
    if not isinstance(auto, bool):
        raise ConfigError(path=path, detail=f"database.auto_migrate must be true or false: {auto}")
    batch = section.get("migration_batch_size", 0)
    if isinstance(batch, bool) or not isinstance(batch, int) or not 0 <= batch <= MAX_BATCH:
        raise ConfigError(
            path=path, detail=f"database.migration_batch_size must be 0 to {MAX_BATCH}: {batch!r}"
        )
    database = section.get("path")
    if database is not None and not isinstance(database, str):
        raise ConfigError(path=path, detail="database.path must be text")
    if backend == "sqlite":
        return Wish(False, batch, database, "database.backend is sqlite")
    if not auto:
        return Wish(False, batch, database, "database.auto_migrate is not true")
    return Wish(True, batch, database, "")
