"""What a board could use for the whole job instead of nimad, each as its makers advise.

    python -m tests.benchmarks.whole_job_peers ENGINE FOLDER

runs one of PEERS until its input ends: a line `[verb, argument]` comes in, a line of JSON goes out,
as a client and a daemon would talk.  All embed by nimad's embedder `static`, so that only keeping
and finding differ, and get the speaker as part of the text.  `ask` joins the DEEP best by words and
the DEEP best by vectors by reciprocal ranks, and gives the ten best memories.  `settle` does what
an operator would do at night: build or fold indexes, and give back what old versions take.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from nimad.embed.static import StaticEmbedder
from nimad.store.words import STOP_WORDS

K, DEEP, RRF_K = 10, 50, 60
BATCH = 5000
"""Memories that are given at once; Chroma takes no more than 5,461 [memories]."""
INDEX_FROM = 50_000
"""Rows from which LanceDB gets an index of vectors: below, its manual advises to scan [rows]."""
_WORD = re.compile(r"\w+")
Memory = dict[str, Any]


def spoken(memory: Memory) -> str:
    """The text with its speaker."""
    return f"{memory['who']}: {memory['text']}"


def telling(question: str) -> list[str]:
    """The words of a question that are no stop words."""
    words = _WORD.findall(question.lower())
    return [word for word in words if word not in STOP_WORDS] or words


def fused(*ranked: Iterable[int]) -> list[int]:
    """Reciprocal-rank fusion: the K best of all."""
    scores: dict[int, float] = {}
    for ids in ranked:
        for rank, number in enumerate(ids, 1):
            scores[number] = scores.get(number, 0.0) + 1 / (RRF_K + rank)
    return sorted(scores, key=scores.__getitem__, reverse=True)[:K]


class Peer:
    """One engine with its files in `folder`; `first` below is the number of the first memory."""

    PACKAGES: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.embedder = StaticEmbedder()
        self.open(folder)

    def open(self, folder: Path) -> None:
        """Open what is there, or begin."""
        raise NotImplementedError

    def put(self, first: int, memories: Sequence[Memory], vectors: Any) -> None:
        """Keep these; returns once the engine calls them kept."""
        raise NotImplementedError

    def find(self, question: str, vector: Any) -> list[tuple[int, str]]:
        """Number and text of the ten best."""
        raise NotImplementedError

    def settle(self, _: None) -> None:
        """Work that can wait."""

    def add(self, given: tuple[int, list[Memory]]) -> None:
        """Embed and keep, in batches."""
        first, memories = given
        for at in range(0, len(memories), BATCH):
            some = memories[at : at + BATCH]
            self.put(first + at, some, self.embedder.embed([m["text"] for m in some]))

    def ask(self, question: str) -> list[tuple[int, str]]:
        """Embed and find."""
        return self.find(question, self.embedder.embed([question])[0])

    def versions(self, _: None) -> str:
        """The packages and their versions."""
        return ", ".join(f"{name} {metadata.version(name)}" for name in self.PACKAGES)


class Sqlite(Peer):
    """One file: a table, FTS5 over it, and sqlite-vec; WAL and synchronous FULL."""

    PACKAGES = ("sqlite-vec",)

    def open(self, folder: Path) -> None:
        import sqlite_vec

        self.base = base = sqlite3.connect(folder / "memories.sqlite")
        base.enable_load_extension(True)
        sqlite_vec.load(base)
        base.executescript(
            f"""PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
            CREATE TABLE IF NOT EXISTS memories (id INTEGER PRIMARY KEY, who TEXT, text TEXT,
              timestamp INTEGER, conversation TEXT, session TEXT, layer TEXT);
            CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (who, text, content='memories',
              content_rowid='id', tokenize='porter unicode61');
            CREATE VIRTUAL TABLE IF NOT EXISTS vectors USING vec0 (
              f float[{self.embedder.dims}] distance_metric=cosine);"""
        )

    def put(self, first: int, memories: Sequence[Memory], vectors: Any) -> None:
        rows = [{**memory, "id": first + n} for n, memory in enumerate(memories)]
        fields = "id, who, text, timestamp, conversation, session, layer"
        marks = ":" + fields.replace(" ", "").replace(",", ", :")
        with self.base:
            self.base.executemany(f"INSERT INTO memories ({fields}) VALUES ({marks})", rows)
            words = "INSERT INTO words (rowid, who, text) VALUES (:id, :who, :text)"
            self.base.executemany(words, rows)
            pairs = [(first + n, vector.tobytes()) for n, vector in enumerate(vectors)]
            self.base.executemany("INSERT INTO vectors (rowid, f) VALUES (?, ?)", pairs)

    def find(self, question: str, vector: Any) -> list[tuple[int, str]]:
        match = " OR ".join(f'"{word}"' for word in telling(question))
        words = f"SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT {DEEP}"
        near = f"SELECT rowid FROM vectors WHERE f MATCH ? AND k = {DEEP} ORDER BY distance"
        best = fused(
            (row[0] for row in self.base.execute(words, (match,))),
            (row[0] for row in self.base.execute(near, (vector.tobytes(),))),
        )
        texts = "SELECT id, text FROM memories WHERE id = ?"
        return [self.base.execute(texts, (number,)).fetchone() for number in best]

    def settle(self, _: None) -> None:
        self.base.execute("INSERT INTO words (words) VALUES ('optimize')")
        self.base.commit()
        self.base.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def versions(self, _: None) -> str:
        return f"SQLite {sqlite3.sqlite_version}, {super().versions(None)}"


class Lance(Peer):
    """LanceDB: a table with its own full text; its own hybrid query with its reranker by ranks."""

    PACKAGES = ("lancedb",)

    def open(self, folder: Path) -> None:
        import lancedb
        from lancedb.rerankers import RRFReranker

        self.base = lancedb.connect(folder)
        self.reranker = RRFReranker(K=RRF_K)
        made = (folder / "memories.lance").is_dir()
        self.table = self.base.open_table("memories") if made else None

    def put(self, first: int, memories: Sequence[Memory], vectors: Any) -> None:
        import pyarrow

        rows: dict[str, Any] = {name: [m[name] for m in memories] for name in memories[0]}
        rows |= {"id": range(first, first + len(memories)), "text": [spoken(m) for m in memories]}
        flat = pyarrow.array(np.ascontiguousarray(vectors).ravel())
        rows["vector"] = pyarrow.FixedSizeListArray.from_arrays(flat, self.embedder.dims)
        batch = pyarrow.table(rows)
        if self.table is None:
            self.table = self.base.create_table("memories", batch)
        else:
            self.table.add(batch)

    def find(self, question: str, vector: Any) -> list[tuple[int, str]]:
        asked = self.table.search(query_type="hybrid").vector(vector).text(question)
        asked = asked.rerank(self.reranker).select(["id", "text"]).limit(DEEP)
        if self.table.count_rows() >= INDEX_FROM:
            asked = asked.refine_factor(4)
        return [(row["id"], row["text"]) for row in asked.to_list()[:K]]

    def settle(self, _: None) -> None:
        from datetime import timedelta

        made = {name for index in self.table.list_indices() for name in index.columns}
        if "text" not in made:
            self.table.create_fts_index("text")
        if "vector" not in made and self.table.count_rows() >= INDEX_FROM:
            self.table.create_index(metric="cosine", index_type="IVF_PQ")
        self.table.optimize(cleanup_older_than=timedelta(0))


class Chroma(Peer):
    """Chroma: an HNSW graph; its full text filters but does not rank: the nearest memories that
    hold any word of the question are the second list."""

    PACKAGES = ("chromadb",)

    def open(self, folder: Path) -> None:
        import chromadb

        quiet = chromadb.config.Settings(anonymized_telemetry=False)
        self.client = chromadb.PersistentClient(str(folder), quiet)
        space = {"hnsw": {"space": "cosine"}}
        self.all = self.client.get_or_create_collection(
            "memories", embedding_function=None, configuration=space
        )

    def put(self, first: int, memories: Sequence[Memory], vectors: Any) -> None:
        fields = ("who", "timestamp", "conversation", "session", "layer")
        self.all.add(
            ids=[str(first + n) for n in range(len(memories))],
            embeddings=vectors,
            documents=[spoken(memory) for memory in memories],
            metadatas=[{name: memory[name] for name in fields} for memory in memories],
        )

    def find(self, question: str, vector: Any) -> list[tuple[int, str]]:
        held: list[dict[str, Any]] = [{"$contains": word} for word in telling(question)]
        where = {"$or": held} if len(held) > 1 else held[0]
        texts: dict[int, str] = {}
        ranked = []
        for more in ({}, {"where_document": where}):
            found = self.all.query(
                query_embeddings=[vector], n_results=DEEP, include=["documents"], **more
            )
            ranked.append([int(number) for number in found["ids"][0]])
            texts |= zip(ranked[-1], found["documents"][0], strict=True)
        return [(number, texts[number]) for number in fused(*ranked)]


PEERS = {"FTS5 + sqlite-vec": Sqlite, "LanceDB": Lance, "Chroma": Chroma}


def main() -> None:
    """Serve one engine.  What libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = PEERS[sys.argv[1]](Path(sys.argv[2]))
    for line in sys.stdin:
        verb, given = json.loads(line)
        print(json.dumps(getattr(peer, verb)(given)), file=out, flush=True)


if __name__ == "__main__":
    main()
