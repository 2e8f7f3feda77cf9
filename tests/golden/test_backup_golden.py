"""A backup and a whole export of an older version are restored, and hold what they held.

python -m tests.golden.test_backup_golden  writes backup-v1.tar.gz and export-v2.jsonl anew
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from tempfile import TemporaryDirectory

from nimad.backup.restoring import finish, restore
from nimad.backup.writing import write_backup
from nimad.core.store import MemoryStore
from nimad.disk.backup_file import BackupReader
from tests.legacy.moving import migrate, opened
from tests.legacy.stores import small_store
from tests.unit.test_backup import QUICK, nothing
from tests.unit.test_exchange import empty, exported, fill, imported, told

HERE = Path(__file__).parent
BACKUP, EXPORT = HERE / "backup-v1.tar.gz", HERE / "export-v2.jsonl"
UNPACKED = "264ce378a944c686"
"""The beginning of the SHA-256 of names, sizes and bytes in the backup."""


def make() -> None:
    """Write both files."""
    with TemporaryDirectory() as place, opened(Path(place) / "state") as (store, manager):
        small_store(Path(place) / "graph.sqlite", 6)
        migrate(manager, Path(place) / "graph.sqlite")
        fill(store, long=False)
        with BACKUP.open("wb") as file:
            write_backup(store, file.fileno(), "/backup")
        EXPORT.write_bytes(exported(store))


def test_the_export_comes_in_and_out_as_it_was() -> None:
    with empty() as store:
        assert not any(imported(store, EXPORT.read_bytes())["known"].values())
        # a newer nimad may tell more of a memory, and of a kind
        now, then = told(exported(store)), told(EXPORT.read_bytes())
        assert len(now) == len(then)
        for line, old in zip(now[1:], then[1:], strict=True):
            assert {name: line[name] for name in old} == old


def test_the_backup_is_read_byte_for_byte() -> None:
    reader = BackupReader(io.BytesIO(BACKUP.read_bytes()), BACKUP.name)
    digest = hashlib.sha256()
    for name, size, chunks in reader.files():
        digest.update(f"{name} {size}\n".encode())
        for chunk in chunks:
            digest.update(chunk)
    assert digest.hexdigest().startswith(UNPACKED)


def test_the_backup_is_restored_with_what_was_exported(tmp_path: Path) -> None:
    with BACKUP.open("rb") as file:
        restore(file, BACKUP.name, tmp_path / "new", nothing)
    assert finish(tmp_path / "new", QUICK, nothing)["problems"] == []
    store = MemoryStore.open(tmp_path / "new", QUICK)
    try:
        now, then = told(exported(store)), told(EXPORT.read_bytes())
        for line, old in zip(now[1:], then[1:], strict=True):
            assert {name: line[name] for name in old} == old
    finally:
        store.close()


if __name__ == "__main__":
    make()
