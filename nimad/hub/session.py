"""What a board asks of its hub, over one connection: SQL, and nothing that waits for the daemon."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nimad.errors import HubUnusable
from nimad.hub.driver import psycopg

CHANNEL = "nimad"
"""What LISTEN and NOTIFY name."""
LATEST_VERSION = 1
"""Newest version of the hub's tables that this nimad knows."""
DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "300",
    "tcp_user_timeout": "60000",
    "sslmode": "verify-full",
    "sslrootcert": "system",
    "application_name": "nimad-sync",
}
"""Settings of a connection that the URL need not name.  Source: libpq, Parameter Key Words."""
COPY = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""How a COPY in binary begins.  Source: PostgreSQL, COPY, Binary Format."""

Row = dict[str, Any]


@contextmanager
def _told() -> Iterator[None]:
    """What psycopg raises, as HubUnusable; never with what a statement held."""
    try:
        yield
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error).splitlines()[0] if str(error) else ""
        raise HubUnusable(detail=said or type(error).__name__) from error


class Hub:
    """One board's connection; not for two threads at a time.  Every method raises HubUnusable."""

    def __init__(self, url: str, passfile: str = "") -> None:
        """Connect.  What the URL does not say is as in DEFAULTS; over a Unix socket there is no
        TLS to verify."""
        with _told():
            given = conninfo_to_dict(url)
            settings: dict[str, Any] = {
                **DEFAULTS,
                **({"passfile": passfile} if passfile else {}),
                **given,
            }
            if str(settings.get("host", "/")).startswith("/"):
                settings["sslmode"] = "disable"
            if settings.get("sslrootcert") == "system" and psycopg.pq.version() < 160000:
                settings["sslrootcert"] = "/etc/ssl/certs/ca-certificates.crt"
            self._url = make_conninfo(**settings)
            self._connection = psycopg.connect(self._url, autocommit=True)
            self._connection.execute("SET search_path TO nimad, public")
            self.epoch = self._meta("epoch")
            found = int(self._meta("version"))
        if found > LATEST_VERSION:
            detail = f"its tables are of version {found}, this nimad knows {LATEST_VERSION}"
            raise HubUnusable(detail=detail)
        self.bytes = 0
        """What was sent and received, about [bytes]."""

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    @property
    def closed(self) -> bool:
        """Whether the connection is no more."""
        return self._connection.closed

    def _meta(self, key: str) -> str:
        row = self._connection.execute("SELECT value FROM meta WHERE key = %s", (key,)).fetchone()
        return str(row[0]) if row else "0"

    def _rows(self, sql: str, *given: Any) -> list[tuple[Any, ...]]:
        with _told():
            return self._connection.execute(sql, given).fetchall()

    # --- who there is -----------------------------------------------------------------------------

    def now(self) -> int:
        """The hub's time [epoch milliseconds]."""
        return int(self._rows("SELECT extract(epoch FROM clock_timestamp()) * 1000")[0][0])

    def join(self, stores: Sequence[str], name: str) -> None:
        """Register a board under its UUIDs; those of another role's are left to that."""
        for store in stores:
            self._execute(
                "INSERT INTO boards (store, name) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                store,
                name,
            )
        self._execute(
            "UPDATE boards SET name = %s, seen = now() WHERE store = ANY(%s::uuid[])"
            " AND role = current_user",
            name,
            list(stores),
        )

    def rights(self) -> dict[str, tuple[bool, bool]]:
        """Namespaces → whether this role may take from it and give to it."""
        return {
            n: (pull, push)
            for n, pull, push in self._rows(
                "SELECT namespace, pull, push FROM members WHERE role = current_user"
            )
        }

    def names(self) -> dict[str, str]:
        """UUIDs of boards → their names."""
        return {store.hex: name for store, name in self._rows("SELECT store, name FROM boards")}

    def heads(self, namespaces: Sequence[str]) -> dict[tuple[str, str], int]:
        """(namespace, writer) → the number of the last row of its stream."""
        sql = "SELECT namespace, writer, head FROM streams WHERE namespace = ANY(%s)"
        return {
            (space, writer.hex): head for space, writer, head in self._rows(sql, list(namespaces))
        }

    def acks(self, namespaces: Sequence[str]) -> list[tuple[str, str, str, int, float]]:
        """(namespace, reader, writer, number, seconds ago) of what boards have read."""
        sql = "SELECT namespace, reader, writer, seq, extract(epoch FROM now() - at)::float8"
        sql += " FROM acks WHERE namespace = ANY(%s)"
        return [
            (n, r.hex, w.hex, seq, ago) for n, r, w, seq, ago in self._rows(sql, list(namespaces))
        ]

    def purges(self, namespace: str, writer: str, after: int) -> list[tuple[int, str, int]]:
        """(number, UUID, id there) of what a board has purged, of rows above a number."""
        sql = "SELECT seq, store, number FROM tombstones WHERE namespace = %s AND writer = %s"
        sql += """ AND seq > %s AND body LIKE '%%"purge": true%%' ORDER BY seq LIMIT 100"""
        found = self._rows(sql, namespace, writer, after)
        return [(seq, store.hex, number) for seq, store, number in found]

    def acknowledge(self, reader: str, read: Mapping[tuple[str, str], int]) -> None:
        """Tell how far this board has read the streams of others, purges included."""
        if read:
            rows = [(space, writer, seq) for (space, writer), seq in read.items()]
            spaces, writers, numbers = (list(column) for column in zip(*rows, strict=True))
            self._execute(
                "INSERT INTO acks (namespace, reader, writer, seq) SELECT n, %s, w, s"
                " FROM unnest(%s::text[], %s::uuid[], %s::bigint[]) AS u (n, w, s)"
                " ON CONFLICT (namespace, reader, writer)"
                " DO UPDATE SET seq = excluded.seq, at = now()",
                reader,
                spaces,
                writers,
                numbers,
            )

    def _execute(self, sql: str, *given: Any) -> None:
        with _told():
            self._connection.execute(sql, given)

    # --- streams ----------------------------------------------------------------------------------

    def pushed(self, namespace: str, writer: str) -> dict[str, int]:
        """How far a board's own stream came, by kind; the stream is made where it is new."""
        self._execute(
            "INSERT INTO streams (namespace, writer) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            namespace,
            writer,
        )
        sql = "SELECT pushed FROM streams WHERE namespace = %s AND writer = %s"
        found: dict[str, int] = self._rows(sql, namespace, writer)[0][0]
        return found

    def push(
        self, namespace: str, writer: str, kind: str, after: int, upto: int, entries: Sequence[Row]
    ) -> bool:
        """Store rows of a kind, and that the board's own rows `after`..`upto` are in; False when
        they are in already, by another connection: then ask `pushed` again."""
        with _told(), self._connection.transaction():
            sql = "SELECT head, pushed FROM streams WHERE namespace = %s AND writer = %s FOR UPDATE"
            ((head, pushed),) = self._connection.execute(sql, (namespace, writer)).fetchall()
            if pushed.get(kind, 0) != after:
                return False
            if entries:
                self._insert(namespace, writer, kind, head, entries)
            self._connection.execute(
                "UPDATE streams SET head = head + %s, pushed = pushed || %s::jsonb"
                " WHERE namespace = %s AND writer = %s",
                (len(entries), json.dumps({kind: upto}), namespace, writer),
            )
            if entries:
                self._connection.execute(f"NOTIFY {CHANNEL}")
        return True

    def _insert(
        self, namespace: str, writer: str, kind: str, head: int, entries: Sequence[Row]
    ) -> None:
        bodies = [
            json.dumps({k: v for k, v in entry.items() if k != "terms"}, ensure_ascii=False)
            for entry in entries
        ]
        self.bytes += sum(map(len, bodies))
        stores, numbers = (list(part) for part in zip(*(e["key"] for e in entries), strict=True))
        words = [" ".join(entry.get("terms", ())) for entry in entries]
        self._connection.execute(
            "SELECT store(%s, %s, %s, %s, %s::uuid[], %s::bigint[], %s, %s)",
            (kind, namespace, writer, head, stores, numbers, bodies, words),
        )

    def pull(
        self, namespace: str, writer: str, kind: str, after: int, upto: int, limit: int
    ) -> list[tuple[int, str]]:
        """Rows of a kind from a stream, in order: (number, JSON)."""
        sql = f"SELECT seq, body FROM {kind} WHERE namespace = %s AND writer = %s AND seq > %s"
        sql += " AND seq <= %s ORDER BY seq LIMIT %s"
        found = self._rows(sql, namespace, writer, after, upto, limit)
        self.bytes += sum(len(body) for _, body in found)
        return [(int(seq), str(body)) for seq, body in found]

    def listen(self, seconds: float) -> bool:
        """Wait until a board has written something, or for some time; whether one has."""
        with _told():
            self._connection.execute(f"LISTEN {CHANNEL}")
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                return True
        return False

    def search(
        self,
        namespace: str,
        terms: Sequence[str],
        place: str | None,
        vector: Sequence[float],
        most: int,
    ) -> list[tuple[str, str]]:
        """(UUID of the board, JSON) of memories that have some of the words, or are near a vector:
        candidates, in no order."""
        words = ["'" + word.replace("\\", "\\\\").replace("'", "''") + "'" for word in terms]
        asked = [" & ".join(words), " & ".join(words[:2]), *words[:3]]
        near = "[" + ",".join(f"{value:.4g}" for value in vector) + "]" if vector else None
        found = self._rows(
            "SELECT DISTINCT store, body FROM nimad.candidates(%s, %s::text[], %s, %s, %s)",
            namespace,
            list(dict.fromkeys(filter(None, asked))),
            place if near else None,
            near,
            most,
        )
        return [(store.hex, body) for store, body in found]

    # --- vectors ----------------------------------------------------------------------------------

    def vector_table(self, signature: str, dims: int) -> str | None:
        """The table of an embedder's vectors, made when it is new; None: the hub keeps no more."""
        found = self._rows("SELECT nimad.vector_table(%s, %s)", signature, dims)
        return found[0][0] and str(found[0][0])

    def push_vectors(self, place: str, namespace: str, entries: Sequence[Row]) -> None:
        """Store vectors of memories that are on the hub; they may come twice."""
        with _told(), self._connection.transaction():
            execute = self._connection.execute
            execute(f"CREATE TEMP TABLE IF NOT EXISTS coming (LIKE {place}) ON COMMIT DELETE ROWS")
            data = bytearray(COPY)
            space = namespace.encode()
            for entry in entries:
                store, number = entry["key"]
                vector = base64.b64decode(entry["vector"])
                data += (
                    struct.pack(
                        f">hi{len(space)}si16siqihh",
                        4,
                        len(space),
                        space,
                        16,
                        bytes.fromhex(store),
                        8,
                        number,
                        len(vector) + 4,
                        len(vector) // 2,
                        0,
                    )
                    + vector
                )
            data += b"\xff\xff"
            self.bytes += len(data)
            with self._connection.cursor().copy("COPY coming FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(bytes(data))
            execute(
                f"INSERT INTO {place} SELECT c.* FROM coming c JOIN memories m USING"
                " (namespace, store, number) WHERE c.namespace = %s AND c.store IN"
                " (SELECT store FROM boards WHERE role = current_user) ON CONFLICT DO NOTHING",
                (namespace,),
            )
