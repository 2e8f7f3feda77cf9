"""What importers of SQLite databases share: where the file is, and values that may be anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from nimad.errors import SourceUnreadable
from nimad.importers.files import Unfit, read_json, shown
from nimad.importers.items import Rejected
from nimad.legacy.detect import SQLITE_MAGIC
from nimad.legacy.tables import Tables, open_tables, table_names

MAX_EXTRAS, MAX_VALUE = 30, 1000
"""Number of values of a row's JSON that are kept, and length of one [characters]."""


def database(path: Path, name: str) -> Path:
    """The database that a path names, by itself or as its directory."""
    return path / name if path.is_dir() else path


def has_tables(path: Path, name: str, *tables: str) -> bool:
    """Whether a database has some tables; where all are in its log, its name tells."""
    file = database(path, name)
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        if opened.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC:
            return False
    found = table_names(file)
    in_log = file.name == name and file.with_name(f"{name}-wal").is_file()
    return found.issuperset(tables) or (not found and in_log)


@contextmanager
def open_database(path: Path, name: str) -> Iterator[Tables]:
    """The tables of a database.  Raises NimadError, as for a link that was found in a directory."""
    file = database(path, name)
    if path.is_dir() and file.is_symlink():
        raise SourceUnreadable(path=shown(file), detail="it is a link, which is not followed")
    with open_tables(file) as tables:
        yield tables


def rows(
    tables: Tables, table: str, wanted: Sequence[str], refused: list[Rejected]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table that can be read; the others, or a table that is not there, go to
    `refused`."""
    if not tables.columns(table):
        refused.append(Rejected(table, "there is no such table", True))
        return
    for key, row in tables.rows(table, wanted):
        if isinstance(row, str):
            refused.append(Rejected(f"{table}, row {key}", row, True))
        else:
            yield key, row


def text(value: Any) -> str:
    """A value that should be text; "" for any other."""
    return value if isinstance(value, str) else ""


def unpacked(value: Any) -> Any:
    """JSON in a column; None where it is none."""
    try:
        return read_json(value.encode()) if isinstance(value, str) and value else None
    except (Unfit, UnicodeEncodeError):
        return None


def listed(value: Any) -> list[str]:
    """The texts of a list."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def plain_values(value: Any) -> dict[str, Any]:
    """The texts and numbers of an object, as many as are kept beside a memory."""
    found = {
        str(name)[:100]: one[:MAX_VALUE] if isinstance(one, str) else one
        for name, one in (value.items() if isinstance(value, dict) else ())
        if one != "" and (isinstance(one, (str, int)) or (isinstance(one, float) and isfinite(one)))
    }
    return dict(list(found.items())[:MAX_EXTRAS])
