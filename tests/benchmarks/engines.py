"""The index and what a board can use instead, each behind the same four functions.

Every engine gets unit rows, keeps what it makes in a folder, and is opened from there by another
process, so that what it holds in memory can be told from what it took to build.  `build` returns
the seconds of building and of adding one row to what was built; `settings` yields a name and a
function from a query to the ids of its ten nearest.
"""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Search = Callable[[Floats], Any]
K = 10


def timed(work: Callable[[], Any]) -> float:
    """How many seconds it took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def each(work: Callable[[int], Any], count: int) -> float:
    """The median of how many seconds work(0), work(1) .. took."""
    return float(np.median([timed(lambda: work(number)) for number in range(count)]))  # noqa: B023


class Nimad:
    """The shipped index with its own parameters, and with less and more effort."""

    def build(self, rows: Floats, extra: Floats, folder: Path) -> tuple[float, float]:
        from tests.benchmarks.blocks import built

        index, seconds = built(folder, rows)
        numbers = np.arange(len(rows), len(rows) + len(extra))
        return seconds, each(
            lambda i: index.append(numbers[i : i + 1], extra[i : i + 1]), len(extra)
        )

    def open(self, folder: Path, dims: int) -> Any:
        from nimad.index.blocks import BlockIndex

        index = BlockIndex(folder, dims)
        index.open(["all"])
        return index

    def settings(self, index: Any) -> Iterator[tuple[str, Search]]:
        own = index.params
        rows = index.stats()["rows"]
        efforts = {"as shipped": own}
        if rows >= own.learn_rows:
            for most, factor in ((6000, 0.5), (30_000, 1.5)):
                k = int(own.rescored(K, rows) * factor)
                efforts[f"T={most} K={k}"] = replace(
                    own,
                    scan_share=0.0,
                    scan_least=most,
                    scan_sure=most,
                    scan_most=1 << 30,
                    candidates=k,
                )
        for name, params in efforts.items():
            index.params = params
            yield name, lambda query: index.search(query, K)[0]


class Numpy:
    """Brute force in float32: what is exact."""

    def build(self, rows: Floats, extra: Floats, folder: Path) -> tuple[float, float]:
        return timed(lambda: np.save(folder / "rows.npy", rows)), 0.0

    def open(self, folder: Path, dims: int) -> Any:
        return np.load(folder / "rows.npy")

    def settings(self, rows: Any) -> Iterator[tuple[str, Search]]:
        def search(query: Floats) -> Any:
            near = rows @ query
            best = np.argpartition(-near, K)[:K]
            return best[np.argsort(-near[best])]

        yield "float32", search


class Faiss:
    """One of faiss's indexes by its factory string; `effort` are (parameter string, k_factor)."""

    def __init__(self, factory: str, efforts: tuple[str, ...]) -> None:
        self.factory, self.efforts = factory, efforts

    def build(self, rows: Floats, extra: Floats, folder: Path) -> tuple[float, float]:
        import faiss

        index = faiss.index_factory(rows.shape[1], self.factory, faiss.METRIC_INNER_PRODUCT)

        def work() -> None:
            some = np.random.default_rng(1).permutation(len(rows))[:100_000]
            index.train(rows[np.sort(some)])
            index.add(rows)

        seconds = timed(work)
        faiss.write_index(index, str(folder / "faiss"))
        return seconds, each(lambda i: index.add(extra[i : i + 1]), len(extra))

    def open(self, folder: Path, dims: int) -> Any:
        import faiss

        return faiss.read_index(str(folder / "faiss"))

    def settings(self, index: Any) -> Iterator[tuple[str, Search]]:
        import faiss

        space = faiss.ParameterSpace()
        for effort in self.efforts:
            space.set_index_parameters(index, effort)
            yield effort, lambda query: index.search(query[None, :], K)[1][0]


class Hnswlib:
    """hnswlib, M = 16, 200 candidates while building."""

    def build(self, rows: Floats, extra: Floats, folder: Path) -> tuple[float, float]:
        import hnswlib

        index = hnswlib.Index(space="ip", dim=rows.shape[1])
        index.init_index(len(rows) + len(extra), M=16, ef_construction=200, random_seed=1)
        seconds = timed(lambda: index.add_items(rows, np.arange(len(rows)), num_threads=1))
        index.save_index(str(folder / "hnsw"))
        return seconds, each(
            lambda i: index.add_items(extra[i : i + 1], [len(rows) + i], num_threads=1), len(extra)
        )

    def open(self, folder: Path, dims: int) -> Any:
        import hnswlib

        index = hnswlib.Index(space="ip", dim=dims)
        index.load_index(str(folder / "hnsw"))
        index.set_num_threads(1)
        return index

    def settings(self, index: Any) -> Iterator[tuple[str, Search]]:
        for ef in (16, 32, 64, 128):
            index.set_ef(ef)
            yield f"ef={ef}", lambda query: index.knn_query(query, K, num_threads=1)[0][0]


class Usearch:
    """usearch with rows of one type."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def build(self, rows: Floats, extra: Floats, folder: Path) -> tuple[float, float]:
        from usearch.index import Index

        index = Index(ndim=rows.shape[1], metric="cos", dtype=self.dtype)
        seconds = timed(lambda: index.add(np.arange(len(rows)), rows, threads=1))
        index.save(str(folder / "usearch"))
        adding = each(lambda i: index.add(len(rows) + i, extra[i], threads=1), len(extra))
        return seconds, adding

    def open(self, folder: Path, dims: int) -> Any:
        from usearch.index import Index

        index = Index(ndim=dims, metric="cos", dtype=self.dtype)
        index.load(str(folder / "usearch"))
        return index

    def settings(self, index: Any) -> Iterator[tuple[str, Search]]:
        for ef in (32, 64, 128):
            index.expansion_search = ef
            yield f"ef={ef}", lambda query: index.search(query, K, threads=1).keys


class SqliteVec:
    """sqlite-vec: float32 rows, and sign bits with the best 100 rescored from an ordinary table.

    The file holds all three tables; building and adding are those of the bits and the rows.
    """

    def build(self, rows: Floats, extra: Floats, folder: Path) -> tuple[float, float]:
        base = self.open(folder, rows.shape[1])
        dims = rows.shape[1]
        base.execute(f"CREATE VIRTUAL TABLE v USING vec0(f float[{dims}])")
        base.execute(f"CREATE VIRTUAL TABLE b USING vec0(b bit[{dims}])")
        put = "INSERT INTO v(rowid, f) VALUES (?, ?)"
        put_bits = "INSERT INTO b(rowid, b) VALUES (?, vec_quantize_binary(?))"
        base.execute("CREATE TABLE plain (id INTEGER PRIMARY KEY, f BLOB)")
        put_plain = "INSERT INTO plain VALUES (?, ?)"

        def work() -> None:
            for sql in (put_bits, put_plain):
                base.executemany(sql, ((i, r.tobytes()) for i, r in enumerate(rows)))
            base.commit()

        def add(number: int) -> None:
            raw = extra[number].tobytes()
            base.execute(put_bits, (len(rows) + number, raw))
            base.execute(put_plain, (len(rows) + number, raw))
            base.commit()

        seconds = timed(work)
        adding = each(add, len(extra))
        base.execute("DELETE FROM b WHERE rowid >= ?", (len(rows),))
        base.executemany(put, ((i, r.tobytes()) for i, r in enumerate(rows)))
        base.commit()
        base.close()
        return seconds, adding

    def open(self, folder: Path, dims: int) -> Any:
        import sqlite_vec

        base = sqlite3.connect(folder / "vectors.sqlite")
        base.enable_load_extension(True)
        sqlite_vec.load(base)
        return base

    def settings(self, base: Any) -> Iterator[tuple[str, Search]]:
        whole = "SELECT rowid FROM v WHERE f MATCH ? AND k = 10 ORDER BY distance"
        bits = (
            "WITH near AS (SELECT rowid FROM b WHERE b MATCH vec_quantize_binary(?) AND k = 100)"
            " SELECT id FROM plain WHERE id IN (SELECT rowid FROM near)"
            " ORDER BY vec_distance_cosine(f, ?) LIMIT 10"
        )

        def ask(sql: str, count: int) -> Search:
            return lambda query: [
                row[0] for row in base.execute(sql, (_raw(query),) * count).fetchall()
            ]

        yield "bit, best 100 rescored", ask(bits, 2)
        yield "float32", ask(whole, 1)


def _raw(query: Floats) -> bytes:
    return struct.pack(f"<{len(query)}f", *query)


def engines(size: int) -> dict[str, Any]:
    """Everything to be compared at a size; graphs of a million float32 rows take too long."""
    lists = 1024 if size >= 100_000 else 128
    lists = 4096 if size >= 1_000_000 else lists
    probes = (16, 32, 64, 128)
    refined = tuple(f"nprobe={p},k_factor_rf={f}" for p in probes for f in (5, 10))
    made: dict[str, Any] = {
        "nimad": Nimad(),
        "numpy": Numpy(),
        "faiss IVF-PQ fast scan + SQ8": Faiss(f"IVF{lists},PQ192x4fs,Refine(SQ8)", refined),
        "faiss IVF-RaBitQ + SQ8": Faiss(f"IVF{lists},RaBitQ,Refine(SQ8)", refined),
        "sqlite-vec": SqliteVec(),
        "usearch i8": Usearch("i8"),
    }
    if size < 1_000_000:
        ef = tuple(f"efSearch={ef}" for ef in (16, 32, 64, 128))
        made["faiss HNSW16"] = Faiss("HNSW16", ef)
        made["hnswlib M16"] = Hnswlib()
        made["usearch f32"] = Usearch("f32")
    return made
