"""How quickly a hub answers, and how much of the nearest it finds, with generated memories.

    python -m tests.benchmarks.fleet_hub [--rows 1000000] [--questions 200]

Vectors of 256 dimensions lie around some thousand centres; words are drawn by Zipf's law.  Needs
root, and what packaging/make_postgres.py makes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import time
import uuid

import numpy as np
import psycopg
from numpy.typing import NDArray

from nimad.hub.session import COPY, Hub
from tests.fleet.boards import make_hub
from tests.fleet.postgres import Postgres

DIMS, CENTRES, WORDS, STEP = 256, 4000, 50_000, 10_000
STORE = uuid.UUID(int=1)


class Made:
    """Generated memories: vectors and words, the same for each run."""

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.centres = self.random.standard_normal((CENTRES, DIMS)).astype(np.float32)

    def vectors(self, count: int) -> NDArray[np.float32]:
        near = self.centres[self.random.integers(0, CENTRES, count)]
        found = near + 0.7 * self.random.standard_normal((count, DIMS)).astype(np.float32)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    def words(self, count: int) -> list[list[str]]:
        drawn = np.minimum(self.random.zipf(1.2, (count, 10)), WORDS)
        return [[f"w{n}" for n in dict.fromkeys(row)] for row in drawn.tolist()]


def fill(postgres: Postgres, rows: int, place: str) -> None:
    """Load the tables as their owner, and make the indexes afterwards."""
    made = Made()
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        execute = connection.execute
        execute("SET maintenance_work_mem = '3GB'")
        execute("SET max_parallel_maintenance_workers = 2")
        execute("DROP INDEX nimad.memories_words")
        (index,) = execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%hnsw%%'",
            (place,),
        ).fetchone() or ("",)
        execute(f"DROP INDEX nimad.{index}")  # type: ignore[arg-type]
        for start in range(0, rows, STEP):
            count = min(STEP, rows - start)
            data = bytearray(COPY)
            for number, vector in enumerate(made.vectors(count).astype(">f2"), start + 1):
                head = struct.pack(
                    ">hi6si16siqihh",
                    *(4, 6, b"family", 16, STORE.bytes, 8, number, 2 * DIMS + 4, DIMS, 0),
                )
                data += head + vector.tobytes()
            data += b"\xff\xff"
            with connection.cursor().copy(
                f"COPY nimad.{place} FROM STDIN (FORMAT BINARY)"  # type: ignore[arg-type]
            ) as copy:
                copy.write(bytes(data))
            words = [" ".join(row) for row in made.words(count)]
            bodies = [
                json.dumps({"key": [STORE.hex, n], "body": {"text": text, "origin": "owner"}})
                for n, text in enumerate(words, start + 1)
            ]
            execute(
                "INSERT INTO nimad.memories SELECT 'family', %s, %s + i, %s, %s + i, b,"
                " array_to_tsvector(string_to_array(w, ' ')) FROM unnest(%s::text[], %s::text[])"
                " WITH ORDINALITY AS u (b, w, i)",
                (STORE, start, STORE, start, bodies, words),
            )
        began = time.monotonic()
        execute(
            f"CREATE INDEX ON nimad.{place} USING hnsw (vector halfvec_ip_ops)"  # type: ignore[arg-type]
        )
        print(f"HNSW index of {rows} vectors: {time.monotonic() - began:.0f} s", flush=True)
        execute("CREATE INDEX memories_words ON nimad.memories USING gin (words)")
        execute("ANALYZE")


def exact(postgres: Postgres, place: str, vectors: list[list[float]]) -> list[set[int]]:
    """The ten nearest of each, without an index."""
    found = []
    with psycopg.connect(postgres.url()) as connection:
        connection.execute("SET enable_indexscan = off")
        for vector in vectors:
            rows = connection.execute(
                f"SELECT number FROM nimad.{place} WHERE namespace = 'family'"  # type: ignore[arg-type]
                " ORDER BY vector <#> %s::halfvec LIMIT 10",
                (str(vector),),
            ).fetchall()
            found.append({number for (number,) in rows})
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=200)
    options = parser.parse_args()
    postgres = Postgres(shared_buffers="3GB", max_wal_size="16GB", fsync="off").start()
    try:
        password = make_hub(postgres, {"home": {"family": "both"}})["home"]
        hub = Hub(postgres.url("home", password))
        hub.join([STORE.hex], "home")
        place = hub.vector_table("made 1", DIMS)
        assert place is not None
        fill(postgres, options.rows, place)
        asked = Made(2)
        asked.centres = Made().centres
        vectors = asked.vectors(options.questions).tolist()
        drawn = asked.words(options.questions)  # the rarest first, as the daemon asks
        words = [sorted(row, key=lambda w: -int(w[1:]))[:6] for row in drawn]
        took = []
        for _ in range(2):  # the first one warms the caches
            took.clear()
            for vector, terms in zip(vectors, words, strict=True):
                began = time.perf_counter()
                found = hub.search("family", terms, place, vector, 50)
                took.append((time.perf_counter() - began) * 1000)
                assert found
        for table in ("memories", place):
            size = (
                "SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits"
                f" WHERE inhparent = 'nimad.{table}'::regclass"
            )
            (found_size,) = postgres.execute(size)[0]
            assert isinstance(found_size, int)
            print(f"{table}: {found_size / options.rows:.0f} bytes a memory")
        p50, p95 = statistics.median(took), sorted(took)[int(0.95 * len(took))]
        print(f"hybrid question: p50 {p50:.1f} ms, p95 {p95:.1f} ms", flush=True)
        some = vectors[: min(50, len(vectors))]
        met = 0
        for vector, nearest in zip(some, exact(postgres, place, some), strict=True):
            rows = hub.search("family", [], place, vector, 10)
            met += len(nearest & {json.loads(body)["key"][1] for _, body in rows})
        print(f"recall@10 against exact: {met / (10 * len(some)):.3f}")
    finally:
        postgres.finish()


if __name__ == "__main__":
    main()
