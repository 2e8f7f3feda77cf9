"""Prints a digest of what LadybugDB answers: tables, copies, paths, functions of each kind, errors.

python -IS graph_queries.py FOLDER  takes ladybug and numpy from a folder.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import ladybug

STATEMENTS = """
CREATE NODE TABLE person(id INT64 PRIMARY KEY, name STRING, born DATE, score DOUBLE, tags STRING[])
CREATE REL TABLE knows(FROM person TO person, since INT64)
COPY person FROM '{folder}/person.csv'
COPY knows FROM '{folder}/knows.csv'
MATCH (a:person) RETURN count(*), min(a.name), max(a.born), avg(a.score), count(DISTINCT a.tags)
MATCH (a:person)-[k:knows]->(b:person) WHERE k.since > 2005 RETURN b.name ORDER BY a.id LIMIT 40
MATCH (a:person)-[:knows*1..3]->(b:person) WHERE a.id = 3 RETURN DISTINCT b.id ORDER BY b.id
MATCH p = (a:person {{id: 3}})-[:knows* SHORTEST 1..9]->(b:person {{id: 71}}) RETURN length(p)
MATCH (a:person) WHERE a.name =~ 'Person.*7' RETURN collect(a.id)
MATCH (a:person) RETURN a.id % 5 AS g, sum(a.score) AS s, collect(a.name)[1] ORDER BY g
MATCH (a:person) WITH a ORDER BY a.score DESC SKIP 3 LIMIT 5 RETURN a.id, round(a.score, 2)
MATCH (a:person) UNWIND a.tags AS tag RETURN tag, count(*) ORDER BY tag
MATCH (a:person {{id: 5}}) SET a.score = a.score * 2 RETURN a.score
MATCH (a:person {{id: 6}}) DETACH DELETE a
MERGE (a:person {{id: 200}}) ON CREATE SET a.name = 'Zoë' RETURN a.name
OPTIONAL MATCH (a:person {{id: 777}}) RETURN a.name IS NULL
RETURN upper('äbc'), substring('hello', 2, 3), lpad('x', 5, '-'), reverse('abc'), 'a' + 'b'
RETURN list_sort([3, 1, 2]), list_contains([1, 2], 2), size([1, 2]), range(1, 5), list_sum([1, 2])
RETURN sin(1.0), sqrt(2.0), pow(2, 10), abs(-3), floor(2.7), log2(8.0)
RETURN date('2024-02-29') + interval('1 year'), timestamp('2024-01-01 10:00:00')
RETURN CAST('12' AS INT64), typeof([1.5]), CASE WHEN 1 < 2 THEN 'y' ELSE 'n' END
RETURN map(['a'], [1]), {{a: 1, b: 'x'}}, md5('x'), sha256('x'), hash('x')
RETURN CAST('2147483648' AS INT32)
RETURN 1 / 0
MATCH (a:nobody) RETURN a
RETURN no_function(1)
NOT CYPHER
COPY (MATCH (a:person) RETURN a.id, a.name) TO '{folder}/out.csv'
COPY (MATCH (a:person) RETURN a.id, a.name) TO '{folder}/out.parquet'
LOAD FROM '{folder}/out.parquet' RETURN count(*)
EXPLAIN MATCH (a:person)-[:knows]->(b) RETURN count(*)
CALL show_tables() RETURN name, type ORDER BY name
CALL table_info('person') RETURN *
CHECKPOINT
ALTER TABLE person ADD extra STRING DEFAULT 'e'
MATCH (a:person) RETURN a.extra, count(*)
DROP TABLE knows
"""


def main(folder: Path) -> None:
    """One line: the version and the digest."""
    people = [f'{n},Person {n},20{n % 20:02}-03-04,{n * 0.37},"[a{n % 3},b]"' for n in range(100)]
    (folder / "person.csv").write_text("\n".join(people) + "\n")
    pairs = [f"{n},{(n * 7 + 3) % 100},{2000 + n % 20}" for n in range(100)]
    (folder / "knows.csv").write_text("\n".join(pairs) + "\n")
    connection = ladybug.Connection(
        ladybug.Database(str(folder / "graph"), buffer_pool_size=1 << 26)
    )
    digest = hashlib.blake2b(digest_size=16)
    for statement in STATEMENTS.strip().splitlines():
        try:
            answer = connection.execute(statement.format(folder=folder))
            assert not isinstance(answer, list)
            told = repr(answer.get_all())
        except RuntimeError as error:
            told = str(error)
        digest.update(told.replace(str(folder), "").encode())
    print(ladybug.__version__, digest.hexdigest())


with tempfile.TemporaryDirectory() as place:
    main(Path(place))
