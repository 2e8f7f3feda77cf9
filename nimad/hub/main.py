"""The command nimad-hub: makes and looks after the hub of a fleet, as the database's owner."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import uuid
from collections.abc import Sequence
from typing import Any, NoReturn

from psycopg import sql

from nimad import __version__
from nimad.errors import HubUnusable, NimadError, UsageError
from nimad.hub.driver import psycopg
from nimad.hub.schema import MIGRATIONS
from nimad.hub.session import LATEST_VERSION
from nimad.namespaces import DIRECTIONS

OWN = uuid.UUID(int=0)
"""The writer of what nimad-hub itself says."""
DESCRIPTION = """\
Makes and looks after the hub of a fleet: a database of PostgreSQL 15 or newer with pgvector 0.7 or
newer.  URL is a connection of the database's owner, such as postgresql:///nimad.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(64, f"nimad-hub: {message}\nSee `nimad-hub --help`.\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = _Parser(prog="nimad-hub", description=DESCRIPTION)
    made.add_argument("--version", action="version", version=f"nimad-hub {__version__}")
    commands = made.add_subparsers(dest="command", required=True, parser_class=_Parser)
    init = commands.add_parser("init", help="make the tables, or bring them up to date; add boards")
    init.add_argument(
        "--board",
        action="append",
        default=[],
        metavar="NAME:SPACE=DIRECTION,...",
        help="make a role for a board, or change what it may do: both, push or pull"
        " for each namespace.  A new one's password is printed once",
    )
    init.add_argument(
        "--restored",
        action="store_true",
        help="the database was restored from a backup: boards read it anew",
    )
    status = commands.add_parser("status", help="boards and how far each has read")
    stats = commands.add_parser("stats", help="rows and bytes of each table and namespace")
    forget = commands.add_parser("forget", help="purge a memory from the hub and from all boards")
    forget.add_argument("namespace")
    forget.add_argument("store", type=uuid.UUID, help="the UUID of the board that remembered it")
    forget.add_argument("number", type=int, help="its id there")
    for command in (init, status, stats, forget):
        command.add_argument("url", metavar="URL")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = parser().parse_args(arguments)
    try:
        with psycopg.connect(options.url) as connection:
            commands = {"init": init, "status": status, "stats": stats, "forget": forget}
            for line in commands[options.command](connection, options):
                print(line)
    except psycopg.Error as error:
        told = HubUnusable(detail=str(error).strip().splitlines()[0])
        print(f"nimad-hub: {told.sentences}", file=sys.stderr)
        return told.exit
    except NimadError as error:
        print(f"nimad-hub: {error.sentences}", file=sys.stderr)
        return error.exit
    return 0


def init(connection: psycopg.Connection[Any], options: argparse.Namespace) -> list[str]:
    """Bring the tables up to date and add boards: one transaction.  Making the extension needs a
    superuser, unless it is there; roles need CREATEROLE."""
    execute = connection.execute
    if not execute("SELECT 1 FROM pg_roles WHERE rolname = 'nimad_board'").fetchone():
        execute("CREATE ROLE nimad_board NOLOGIN")
    execute("CREATE EXTENSION IF NOT EXISTS vector")
    execute("CREATE SCHEMA IF NOT EXISTS nimad")
    execute("CREATE TABLE IF NOT EXISTS nimad.meta (key text PRIMARY KEY, value text NOT NULL)")
    found = execute("SELECT value FROM nimad.meta WHERE key = 'version'").fetchone()
    version = int(found[0]) if found else 0
    if version > LATEST_VERSION:
        raise HubUnusable(detail=f"its tables are of version {version}, newer than this nimad-hub")
    for number in range(version + 1, LATEST_VERSION + 1):
        execute(MIGRATIONS[number])
    values = [("version", str(LATEST_VERSION))]
    if not version or options.restored:
        values.append(("epoch", uuid.uuid4().hex))
    for key, value in values:
        execute(
            "INSERT INTO nimad.meta VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value ="
            " excluded.value",
            (key, value),
        )
    lines = [f"the hub is of version {LATEST_VERSION}"]
    for board in options.board:
        lines += _add_board(connection, board)
    return lines


def _add_board(connection: psycopg.Connection[Any], given: str) -> list[str]:
    name, _, shared = given.partition(":")
    spaces = dict(part.partition("=")[::2] for part in shared.split(",") if part)
    if not name or not spaces or not set(spaces.values()) <= set(DIRECTIONS):
        raise UsageError(detail=f"--board {given[:80]} is not NAME:SPACE=both|push|pull,...")
    execute, role = connection.execute, sql.Identifier(name)
    lines = []
    if not execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
        password = secrets.token_urlsafe(24)
        made = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}")
        execute(made.format(role, sql.Literal(password)))
        lines = [f"{name}: password {password}"]
    execute(sql.SQL("GRANT nimad_board TO {}").format(role))
    execute("DELETE FROM nimad.members WHERE role = %s", (name,))
    for space, direction in spaces.items():
        rights = (direction in ("both", "pull"), direction in ("both", "push"))
        execute("INSERT INTO nimad.members VALUES (%s, %s, %s, %s)", (space, name, *rights))
    return [*lines, f"{name}: {', '.join(f'{space} {way}' for space, way in spaces.items())}"]


def status(connection: psycopg.Connection[Any], options: argparse.Namespace) -> list[str]:
    """A line a board and namespace."""
    found = connection.execute(
        "SELECT b.name, b.role, s.namespace, sum(greatest(s.head - coalesce(a.seq, 0), 0)),"
        " extract(epoch FROM now() - b.seen) FROM nimad.boards b JOIN nimad.members m"
        " ON m.role = b.role JOIN nimad.streams s ON s.namespace = m.namespace"
        " AND s.writer != b.store LEFT JOIN nimad.acks a ON a.namespace = s.namespace"
        " AND a.writer = s.writer AND a.reader = b.store"
        " WHERE m.pull GROUP BY b.store, b.name, b.role, s.namespace, b.seen ORDER BY 1, 3"
    )
    return [
        f"{name} ({role}): {space}, {behind} rows behind, joined its hub {ago:.0f} s ago"
        for name, role, space, behind, ago in found
    ]


def stats(connection: psycopg.Connection[Any], options: argparse.Namespace) -> list[str]:
    """Rows by namespace, bytes by table."""
    execute = connection.execute
    spaces = execute("SELECT namespace, count(*) FROM nimad.memories GROUP BY 1 ORDER BY 1")
    tables = execute(
        "SELECT p.relname, sum(pg_total_relation_size(c.oid))::bigint FROM pg_class p"
        " JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE p.relnamespace = 'nimad'::regnamespace AND p.relkind = 'p' GROUP BY 1 ORDER BY 1"
    )
    return [
        *(f"{space}: {rows} memories" for space, rows in spaces),
        *(f"{table}: {size} bytes" for table, size in tables),
    ]


def forget(connection: psycopg.Connection[Any], options: argparse.Namespace) -> list[str]:
    """Purge one memory here; boards do as they read it."""
    execute, key = connection.execute, (options.namespace, options.store, options.number)
    tables = [place for (place,) in execute("SELECT place FROM nimad.embedders").fetchall()]
    where = "WHERE namespace = %s AND store = %s AND number = %s"
    for table in ("memories", *tables):
        execute(sql.SQL(f"DELETE FROM nimad.{{}} {where}").format(sql.Identifier(table)), key)
    execute(
        "INSERT INTO nimad.streams (namespace, writer) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (options.namespace, OWN),
    )
    row = execute(
        "UPDATE nimad.streams SET head = head + 1 WHERE namespace = %s AND writer = %s"
        " RETURNING head",
        (options.namespace, OWN),
    ).fetchone()
    body = json.dumps({"key": [options.store.hex, options.number], "purge": True})
    execute(
        "DELETE FROM nimad.tombstones WHERE namespace = %s AND store = %s AND number = %s"
        " AND writer = %s",
        (*key, OWN),
    )
    execute(
        "INSERT INTO nimad.tombstones (namespace, store, number, writer, seq, body)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (*key, OWN, row and row[0], body),
    )
    execute("NOTIFY nimad")
    return ["purged here; each board follows when it reads this"]


if __name__ == "__main__":
    sys.exit(main())
