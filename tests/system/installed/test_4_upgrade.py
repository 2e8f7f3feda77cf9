"""Upgrades keep everything and turn nobody away."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nimad.store import schema
from tests.system.installed.conftest import Ask
from tests.system.installed.machine import Machine
from tests.system.installed.test_2_use import main_pid

NEWER = "9.9"


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package under a higher version."""
    tree = tmp_path_factory.mktemp("newer") / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text(encoding="utf-8").splitlines()
    lines = [f"Version: {NEWER}" if line.startswith("Version:") else line for line in lines]
    control.write_text("\n".join(lines) + "\n", encoding="utf-8")
    place = tree.with_suffix(".deb")
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, place]
    subprocess.run(build, check=True, capture_output=True)
    shutil.rmtree(tree)
    return place


@pytest.mark.parametrize("which", ["the same", "a newer"])
def test_an_upgrade_keeps_everything(
    machine: Machine, ask: Ask, package: Path, newer: Path, which: str
) -> None:
    made = ask("remember 'The well was cleaned before the upgrade.'")["id"]
    count = ask("status")["memories"]
    before = main_pid(machine)
    socket = machine.run("stat --format=%i /run/nimad/nimad.sock").stdout
    machine.put(newer if which == "a newer" else package, "/var/tmp/next.deb")
    machine.run("apt-get install --yes --reinstall /var/tmp/next.deb", timeout=300)
    assert main_pid(machine) != before
    assert machine.run("stat --format=%i /run/nimad/nimad.sock").stdout == socket
    assert ask("status")["memories"] == count
    assert ask(f"get {made}")["memory"]["text"] == "The well was cleaned before the upgrade."
    assert ask("doctor")["problems"] == []


def columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """The names of the columns of each table."""
    found = connection.execute(
        "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c"
        " WHERE t.type = 'table' ORDER BY c.cid"
    )
    tables: dict[str, list[str]] = {}
    for table, column in found:
        tables.setdefault(table, []).append(column)
    return tables


TRIGGERS = "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
INDEXES = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"


def make_it_version_one(connection: sqlite3.Connection) -> None:
    """Take away what later versions of records.sqlite brought."""
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(schema.TABLES)
        first = columns(empty)
        indexes = dict(empty.execute(INDEXES).fetchall())
    connection.execute(
        "DELETE FROM meta WHERE key IN ('text_form', 'words', 'integrity', 'checksummed',"
        " 'rows_checksummed')"
    )
    for name in dict(connection.execute(INDEXES).fetchall()).keys() - indexes.keys():
        connection.execute(f"DROP INDEX {name}")
    for (name,) in connection.execute(TRIGGERS).fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM sqlite_sequence WHERE name LIKE '-%'")
    for table, names in columns(connection).items():
        if table.startswith("sqlite_"):
            continue
        if table not in first:
            connection.execute(f"DROP TABLE {table}")
            continue
        for name in set(names) - set(first[table]):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
    # A turn was its source and its name: turns of one name were one.
    one = "SELECT min(id) FROM turns WHERE source IS was.source AND name = was.name"
    turn = f"SELECT ({one}) FROM turns was WHERE was.id = memories.turn"
    connection.execute(f"UPDATE memories SET turn = ({turn}) WHERE turn IS NOT NULL")
    connection.execute(
        "DELETE FROM turns WHERE id NOT IN (SELECT min(id) FROM turns GROUP BY source, name)"
    )
    for name in indexes.keys() - dict(connection.execute(INDEXES).fetchall()).keys():
        connection.execute(indexes[name])
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    kept = {t: c for t, c in columns(connection).items() if not t.startswith("sqlite_")}
    assert kept == {t: c for t, c in first.items() if not t.startswith("sqlite_")}
    connection.execute(
        "CREATE VIRTUAL TABLE words USING fts5 (text, who, content = 'memories',"
        " content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2')"
    )
    connection.execute("INSERT INTO words (rowid, text, who) SELECT id, text, who FROM memories")
    connection.commit()


def exported(machine: Machine) -> list[dict[str, Any]]:
    """Every memory, with the fields that the first version had."""
    lines = machine.run("nimactl export", user="maya").stdout.splitlines()
    later = ("key", "origin", "agent")
    return [
        {name: value for name, value in json.loads(line).items() if name not in later}
        for line in lines
    ]


def test_an_upgrade_takes_a_store_of_the_first_schema_along(
    machine: Machine, ask: Ask, newer: Path
) -> None:
    before = exported(machine)
    machine.run("systemctl stop nimad.socket nimad.service")
    with closing(sqlite3.connect(machine.root / "var/lib/nimad/records.sqlite")) as connection:
        make_it_version_one(connection)
    machine.put(newer, "/var/tmp/next.deb")
    machine.run("apt-get install --yes --reinstall /var/tmp/next.deb", timeout=300)
    machine.run("systemctl start nimad.socket nimad.service")
    after = exported(machine)
    assert len(after) == len(before)
    differing = [pair for pair in zip(after, before, strict=True) if pair[0] != pair[1]]
    assert not differing[:1]  # pytest compares long lists for minutes
    assert ask("query 'apple tree' --mode words")["results"]
    assert ask("doctor")["problems"] == []
    with closing(sqlite3.connect(machine.root / "var/lib/nimad/records.sqlite")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA,)


def test_the_owner_s_configuration_is_kept(machine: Machine) -> None:
    assert "results: 2" in machine.run("cat /etc/nimad/nimad.yaml").stdout


def test_the_version_is_the_newer_one(machine: Machine) -> None:
    assert machine.run("dpkg-query --show --showformat '${Version}' nimad").stdout == NEWER
