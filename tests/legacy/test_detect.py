"""What a path is, and one clear line for what it is not."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nimad.errors import (
    NimadError,
    SourceCorrupt,
    SourceMissing,
    SourceNotRecognised,
    SourceUnreadable,
    SourceUnsupported,
)
from nimad.legacy.detect import BEFORE_ZIP, detect
from tests.legacy import stores


@pytest.mark.parametrize("schema", [1, 3])
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_both_schemas_are_recognised(tmp_path: Path, schema: int, mode: str) -> None:
    path = stores.small_store(tmp_path / "graph.sqlite", schema=schema, mode=mode)
    found = detect(path)
    assert (found.kind, found.schema, found.path) == ("nima-sqlite", schema, path)
    assert found.size_bytes == path.stat().st_size


def test_tables_that_live_only_in_the_log_are_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    script = f"connection.executescript({stores.NODES.format(more='') + stores.REST!r})"
    with stores.writer(path, "connection.execute('PRAGMA journal_mode=wal')\n" + script):
        assert detect(path).schema == 0


def refused(path: Path) -> NimadError:
    with pytest.raises(NimadError) as caught:
        detect(path)
    message = caught.value.message
    assert "\n" not in message and "{" not in message and str(path) in message
    assert caught.value.next_step
    return caught.value


def test_a_missing_path(tmp_path: Path) -> None:
    assert type(refused(tmp_path / "no.sqlite")) is SourceMissing
    file = tmp_path / "file"
    file.touch()
    assert type(refused(file / "below")) is SourceMissing
    (tmp_path / "dangling").symlink_to("nowhere")
    assert type(refused(tmp_path / "dangling")) is SourceMissing


def test_links_that_go_round(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert type(refused(tmp_path / "a")) is SourceUnreadable


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """File permissions bind; root is nobody for a while."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_no_permission(tmp_path: Path, ordinary_user: None) -> None:
    # Made by whoever runs the tests, for nobody to read; pytest's own directories are private.
    path = Path("/etc/shadow")
    if not path.exists() or os.access(path, os.R_OK, effective_ids=True):
        pytest.skip("everything is readable here")
    error = refused(path)
    assert type(error) is SourceUnreadable and error.exit == 77
    assert "permission denied" in error.message


@pytest.mark.parametrize("content", [b"PK\x03\x04...", b"\x80\x04\x95....", b' {"config": {}}'])
def test_what_may_be_a_checkpoint_is_packed_with_its_checksum(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "ein Ding.pt"
    path.write_bytes(content)
    Path(f"{path}.sha256").write_text("{}")
    found = detect(path)
    assert (found.kind, found.schema, found.path) == ("nima-files", 0, path)
    assert [member.name for member in found.members] == ["ein_Ding.pt", "ein_Ding.pt.sha256"]
    assert found.size_bytes == len(content) + 2


def test_a_directory_is_no_store_by_itself(tmp_path: Path) -> None:
    assert "it is a directory" in refused(tmp_path).message


def test_what_is_no_ordinary_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        assert type(refused(path)) is SourceNotRecognised


@pytest.mark.parametrize(
    ("name", "content", "kind", "says"),
    [
        ("empty", b"", SourceNotRecognised, "it is empty"),
        ("a.txt", b"Dear diary", SourceNotRecognised, "no database, checkpoint, pickle or JSON"),
        ("a.pt", BEFORE_ZIP + b"....", SourceUnsupported, "PyTorch before 1.6"),
        ("g.sqlite-wal", b"\x37\x7f\x06\x82", SourceNotRecognised, "log of g.sqlite: name that"),
        ("g.pt.sha256", b'{"hash": ""}', SourceNotRecognised, "checksum of g.pt: name that"),
        ("short", b"SQLite format 3\0", SourceCorrupt, "ends after 16 bytes"),
        ("odd", b"SQLite format 3\0" + b"\0" * 200, SourceCorrupt, "page size of 0"),
    ],
)
def test_other_files(
    tmp_path: Path, name: str, content: bytes, kind: type[NimadError], says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    error = refused(path)
    assert type(error) is kind and says in error.message
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_database_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "cats.sqlite"
    stores.execute(path, "CREATE TABLE cats(name)")
    error = refused(path)
    assert type(error) is SourceNotRecognised
    assert "no table memory_nodes, memory_edges, memory_turns" in error.message


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("CREATE TABLE n(id); CREATE VIEW memory_nodes AS SELECT * FROM n", "is a view"),
        ("CREATE VIRTUAL TABLE memory_nodes USING fts5(text)", "is a virtual table"),
        ("CREATE TABLE memory_nodes(id INTEGER PRIMARY KEY, text)", "no column timestamp, layer"),
        ("CREATE TABLE memory_nodes(id, timestamp, layer, text)", "not the table's integer"),
        (
            "CREATE TABLE memory_nodes(id INTEGER PRIMARY KEY DESC, timestamp, layer, text)",
            "not the table's integer",
        ),
        (
            "CREATE TABLE memory_nodes(id INTEGER PRIMARY KEY, timestamp, layer, text)"
            " WITHOUT ROWID",
            "have no id of their own",
        ),
        (
            "CREATE TABLE memory_nodes(id INTEGER PRIMARY KEY, timestamp, layer,"
            " text AS (zeroblob(1000000000)))",
            "no column text",
        ),
        (
            "CREATE TABLE memory_nodes(id INTEGER PRIMARY KEY, timestamp, layer, text);"
            "CREATE VIEW memory_edges AS SELECT 1",
            "memory_edges is a view",
        ),
    ],
)
def test_tables_that_only_look_right(tmp_path: Path, script: str, says: str) -> None:
    path = tmp_path / "graph.sqlite"
    stores.execute(path, script)
    error = refused(path)
    assert type(error) is SourceNotRecognised and says in error.message


def test_a_truncated_database(tmp_path: Path) -> None:
    path = stores.small_store(tmp_path / "graph.sqlite", count=300)
    os.truncate(path, path.stat().st_size - 5000)
    assert type(refused(path)) is SourceCorrupt


def test_looking_leaves_no_trace(tmp_path: Path) -> None:
    for mode in ("wal", "delete"):
        path = stores.small_store(tmp_path / f"{mode}.sqlite", mode=mode)
        before = (sorted(tmp_path.iterdir()), path.read_bytes(), path.stat().st_mtime_ns)
        detect(path)
        assert (sorted(tmp_path.iterdir()), path.read_bytes(), path.stat().st_mtime_ns) == before


def test_the_real_files(legacy_dir: Path) -> None:
    assert detect(legacy_dir / "graph.sqlite").schema == 1
    assert detect(legacy_dir / "graph_v3.sqlite").schema == 3
    assert type(refused(legacy_dir / "bad" / "corrupt.sqlite")) is SourceCorrupt
    assert type(refused(legacy_dir / "bad" / "not_nima.sqlite")) is SourceNotRecognised
    assert type(refused(legacy_dir / "bad" / "empty.pt")) is SourceNotRecognised
    files = [path for path in legacy_dir.rglob("*") if path.suffix in (".pt", ".pkl", ".json")]
    for path in files:
        if path.stat().st_size:
            assert detect(path).kind == "nima-files", "whether it is whole, its reader says"
    assert json.loads((legacy_dir / "expected.json").read_text())
    assert not Path("/tmp/nimad-pickle-bomb").exists()


def test_an_encrypted_looking_header_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t(a)")
        connection.commit()
    path.write_bytes(os.urandom(16) + path.read_bytes()[16:])
    assert type(refused(path)) is SourceNotRecognised
