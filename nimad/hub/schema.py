"""The tables of the hub, by version; `nimad-hub init` brings a database from one to the next.

Every key begins with the namespace, by whose hash the large tables are partitioned: all of one
namespace lies together, so each transaction of a board and each query touches one partition, which
may be on a server of its own (docs/fleet.md).  Numbers of a stream (`seq`) are given by the one
board that writes it, under the lock of its row in `streams`, so they are committed in order.

=========== ==================================================================================
table       what a row is
=========== ==================================================================================
meta        single values: the version, and the epoch, which a restored hub changes
members     what a role may do with a namespace: take from it (pull), give to it (push)
boards      a store, and the role that it belongs to
streams     how much one board has written to a namespace (`head`), and how far that went on the
            board, by kind (`pushed`)
acks        how far one board has read the stream of another
memories    a memory under its global key; `body` is JSON; `words` are its words in the common form
relations   a relation between two memories
goals       the state of a goal, one row a board that changed it
tombstones  a memory that is gone, one row a board that says so
vectors_*   vectors of memories, a table for each embedder (its signature)
embedders   the tables of vectors
=========== ==================================================================================

Rights: `nimad_board` is the group of all boards' roles.  Row security lets a role see the
namespaces that it may take from; the function `store` lets it write to its own streams only, in
those that it may give to.
"""

from __future__ import annotations

PARTITIONS = 16
"""Number of partitions of each large table; it cannot change [partitions]."""
KINDS = ("memories", "relations", "goals", "tombstones")
"""Tables that are streams of rows."""
EF_SEARCH = 200
"""Number of vectors that a search of the index keeps in view [vectors]."""
EMBEDDERS = 8
"""Number of embedders whose vectors a hub keeps [tables]."""
BY_WRITER = ("goals", "tombstones")
"""Kinds that keep one row for each board that says something of a memory."""

_TAKES = "namespace IN (SELECT namespace FROM nimad.members WHERE role = current_user AND pull)"
_GIVES = "namespace IN (SELECT namespace FROM nimad.members WHERE role = current_user AND push)"
_EITHER = "namespace IN (SELECT namespace FROM nimad.members WHERE role = current_user)"


def _own(column: str) -> str:
    return f"{column} IN (SELECT store FROM nimad.boards WHERE role = current_user)"


def _policy(table: str, action: str, rule: str) -> str:
    clause = f"WITH CHECK ({rule})" if action == "INSERT" else f"USING ({rule})"
    return (
        f"CREATE POLICY may_{action.lower()} ON nimad.{table} FOR {action} TO nimad_board {clause};"
    )


def _kind(table: str) -> str:
    writer = ", writer" if table in BY_WRITER else ""
    more = ", words tsvector" if table == "memories" else ""
    return f"""
CREATE TABLE nimad.{table} (
  namespace text NOT NULL, store uuid NOT NULL, number bigint NOT NULL, writer uuid NOT NULL,
  seq bigint NOT NULL, body text NOT NULL{more}
) PARTITION BY HASH (namespace);
CREATE INDEX {table}_stream ON nimad.{table} (namespace, writer, seq);
GRANT SELECT ON nimad.{table} TO nimad_board;
{_policy(table, "SELECT", f"{_TAKES} OR {_GIVES} AND {_own('writer')}")}
{partitions(table, f"namespace, store, number{writer}")}
"""


def partitions(table: str, key: str) -> str:
    """SQL that makes the partitions of a table, and secures it.  The key is that of each partition:
    where the table itself had one, none of them could be on another server."""
    made = "\n".join(
        f"CREATE TABLE nimad.{table}_{n} PARTITION OF nimad.{table} (PRIMARY KEY ({key}))"
        f" FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {n});"
        for n in range(PARTITIONS)
    )
    return f"{made}\nALTER TABLE nimad.{table} ENABLE ROW LEVEL SECURITY;"


_VECTOR_TABLE = f"""
CREATE FUNCTION nimad.vector_table(wanted text, size integer) RETURNS name LANGUAGE plpgsql
SECURITY DEFINER SET search_path = nimad, public, pg_temp AS $made$
DECLARE t name; n integer;
BEGIN
  SELECT place INTO t FROM embedders WHERE signature = wanted;
  IF t IS NOT NULL THEN RETURN t; END IF;
  LOCK TABLE embedders IN EXCLUSIVE MODE;
  SELECT place INTO t FROM embedders WHERE signature = wanted;
  SELECT count(*) INTO n FROM embedders;
  IF t IS NOT NULL THEN RETURN t; END IF;
  IF n >= {EMBEDDERS} OR size NOT BETWEEN 1 AND 4000 OR length(wanted) > 200 THEN
    RETURN NULL;
  END IF;
  t := 'vectors_' || n;
  EXECUTE format('CREATE TABLE %I (namespace text NOT NULL, store uuid NOT NULL,
    number bigint NOT NULL, vector halfvec(%s) NOT NULL) PARTITION BY HASH (namespace)', t, size);
  EXECUTE format('CREATE INDEX ON %I USING hnsw (vector halfvec_ip_ops)', t);
  FOR i IN 0..{PARTITIONS - 1} LOOP
    EXECUTE format('CREATE TABLE %I PARTITION OF %I (PRIMARY KEY (namespace, store, number))
      FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER %s)', t || '_' || i, t, i);
  END LOOP;
  EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
  EXECUTE format('GRANT SELECT, INSERT ON %I TO nimad_board', t);
  EXECUTE format('CREATE POLICY may_select ON %I FOR SELECT TO nimad_board USING (%s)', t,
    $${_TAKES} OR {_GIVES} AND {_own("store")}$$);
  EXECUTE format('CREATE POLICY may_insert ON %I FOR INSERT TO nimad_board WITH CHECK (%s)', t,
    $${_GIVES} AND {_own("store")}$$);
  INSERT INTO embedders VALUES (wanted, size, t);
  RETURN t;
END $made$;
REVOKE ALL ON FUNCTION nimad.vector_table FROM public;
GRANT EXECUTE ON FUNCTION nimad.vector_table TO nimad_board;
"""
"""A function that gives the table of an embedder's vectors, and makes it when it is new; it needs
pgvector 0.7 for `halfvec`."""

_STORE = f"""
CREATE FUNCTION nimad.store(kind text, space text, author uuid, last bigint, stores uuid[],
  numbers bigint[], bodies text[], texts text[]) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = nimad, public, pg_temp AS $made$
DECLARE place name; same constant text := 'namespace = $1 AND store = ANY ($2)
  AND number = ANY ($3) AND (store, number) IN (SELECT * FROM unnest($2, $3))';
BEGIN
  IF kind NOT IN {KINDS} OR NOT EXISTS (SELECT FROM members m JOIN boards b USING (role)
    WHERE m.role = session_user AND m.namespace = space AND m.push AND b.store = author) THEN
    RAISE insufficient_privilege USING MESSAGE = 'this role may not give that';
  END IF;
  IF kind = 'memories' THEN
    INSERT INTO memories (namespace, writer, seq, store, number, body, words)
    SELECT space, author, last + u.i, u.s, u.n, u.b, array_to_tsvector(string_to_array(u.w, ' '))
    FROM unnest(stores, numbers, bodies, texts) WITH ORDINALITY AS u (s, n, b, w, i)
    WHERE u.s IN (SELECT b.store FROM boards b WHERE b.role = session_user)
    AND NOT EXISTS (SELECT FROM tombstones t WHERE t.namespace = space AND t.store = ANY (stores)
      AND t.number = ANY (numbers) AND t.store = u.s AND t.number = u.n)
    ON CONFLICT DO NOTHING;
    RETURN;
  END IF;
  FOR place IN SELECT 'memories' UNION ALL SELECT e.place FROM embedders e LOOP
    EXIT WHEN kind != 'tombstones';
    EXECUTE format('DELETE FROM %I WHERE %s', place, same) USING space, stores, numbers;
  END LOOP;
  IF kind IN {BY_WRITER} THEN
    EXECUTE format('DELETE FROM %I WHERE writer = $4 AND %s', kind, same)
      USING space, stores, numbers, author;
  END IF;
  EXECUTE format('INSERT INTO %I (namespace, writer, seq, store, number, body)
    SELECT $1, $2, $3 + u.i, u.s, u.n, u.b FROM unnest($4, $5, $6) WITH ORDINALITY
    AS u (s, n, b, i) WHERE $7 OR u.s IN (SELECT store FROM boards WHERE role = session_user)
    ON CONFLICT DO NOTHING', kind)
    USING space, author, last, stores, numbers, bodies, kind IN {BY_WRITER};
END $made$;
REVOKE ALL ON FUNCTION nimad.store FROM public;
GRANT EXECUTE ON FUNCTION nimad.store TO nimad_board;
"""
"""A function that stores rows of a stream: of memories and relations those of the role's own stores
that are not gone, of other kinds one a writer; a tombstone deletes its memory.  It looks after the
rights itself: below row security postgres_fdw would send each row on its own."""

_CANDIDATES = f"""
CREATE FUNCTION nimad.candidates(space text, queries text[], place name, near text, most integer)
RETURNS TABLE (store uuid, body text) LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = nimad, public, pg_temp SET hnsw.ef_search = {EF_SEARCH} AS $made$
DECLARE query text; got integer; found integer := 0;
BEGIN
  IF NOT EXISTS (SELECT FROM members m WHERE m.role = session_user AND m.namespace = space
    AND m.pull) THEN RETURN; END IF;
  most := least(most, 100);
  FOREACH query IN ARRAY queries[1:8] LOOP
    RETURN QUERY SELECT m.store, m.body FROM memories m
      WHERE m.namespace = space AND m.words @@ query::tsquery LIMIT most;
    GET DIAGNOSTICS got = ROW_COUNT;
    found := found + got;
    EXIT WHEN found >= most;
  END LOOP;
  IF place IN (SELECT e.place FROM embedders e) THEN
    RETURN QUERY EXECUTE format('SELECT m.store, m.body FROM (SELECT v.store, v.number FROM %I v
      WHERE v.namespace = $1 ORDER BY v.vector <#> $2::halfvec LIMIT $3) AS c JOIN memories m
      ON m.namespace = $1 AND m.store = c.store AND m.number = c.number', place)
      USING space, near, most;
  END IF;
END $made$;
REVOKE ALL ON FUNCTION nimad.candidates FROM public;
GRANT EXECUTE ON FUNCTION nimad.candidates TO nimad_board;
"""
"""A function that gives memories with words of queries, of one after the other until there are
enough, and those near a vector.  It looks after the rights itself: below row security no index of
words is used, for `@@` might leak."""

MIGRATIONS = {
    1: f"""
CREATE TABLE nimad.members (
  namespace text NOT NULL, role name NOT NULL, pull boolean NOT NULL, push boolean NOT NULL,
  PRIMARY KEY (namespace, role)
);
CREATE TABLE nimad.boards (
  store uuid PRIMARY KEY, role name NOT NULL DEFAULT current_user, name text NOT NULL,
  joined timestamptz NOT NULL DEFAULT now(), seen timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE nimad.streams (
  namespace text NOT NULL, writer uuid NOT NULL, head bigint NOT NULL DEFAULT 0,
  pushed jsonb NOT NULL DEFAULT '{{}}', PRIMARY KEY (namespace, writer)
);
CREATE TABLE nimad.acks (
  namespace text NOT NULL, reader uuid NOT NULL, writer uuid NOT NULL, seq bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (namespace, reader, writer)
);
CREATE TABLE nimad.embedders (
  signature text PRIMARY KEY, dims integer NOT NULL, place name NOT NULL
);
GRANT USAGE ON SCHEMA nimad TO nimad_board;
GRANT SELECT ON nimad.meta, nimad.members, nimad.boards, nimad.embedders TO nimad_board;
GRANT INSERT (store, name), UPDATE (name, seen) ON nimad.boards TO nimad_board;
GRANT SELECT, INSERT, UPDATE ON nimad.streams, nimad.acks TO nimad_board;
ALTER TABLE nimad.members ENABLE ROW LEVEL SECURITY;
ALTER TABLE nimad.boards ENABLE ROW LEVEL SECURITY;
ALTER TABLE nimad.streams ENABLE ROW LEVEL SECURITY;
ALTER TABLE nimad.acks ENABLE ROW LEVEL SECURITY;
{_policy("members", "SELECT", "role = current_user")}
{_policy("boards", "SELECT", "true")}
{_policy("boards", "INSERT", "role = current_user")}
{_policy("boards", "UPDATE", "role = current_user")}
{_policy("streams", "SELECT", _EITHER)}
{_policy("streams", "INSERT", f"{_GIVES} AND {_own('writer')}")}
{_policy("streams", "UPDATE", f"{_GIVES} AND {_own('writer')}")}
{_policy("acks", "SELECT", _EITHER)}
{_policy("acks", "INSERT", f"{_TAKES} AND {_own('reader')}")}
{_policy("acks", "UPDATE", f"{_TAKES} AND {_own('reader')}")}
{"".join(_kind(table) for table in KINDS)}
CREATE INDEX memories_words ON nimad.memories USING gin (words);
CREATE VIEW nimad.turns WITH (security_invoker) AS
  SELECT namespace, body::json->>'session' AS session, body::json->>'turn' AS turn,
    json_object_agg(body::json->>'layer', json_build_array(store, number)) AS members
  FROM nimad.memories WHERE body::json->>'turn' IS NOT NULL GROUP BY 1, 2, 3;
GRANT SELECT ON nimad.turns TO nimad_board;
{_VECTOR_TABLE}
{_STORE}
{_CANDIDATES}
""",
}
"""By the version it leads to: the statements that bring a hub there.  Those of one version run in
one transaction; a version that was released never changes."""
