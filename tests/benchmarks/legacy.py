"""A legacy store as large as a benchmark asks for: sentences of ours, filled with words of ours.

The templates are those the static embedder is distilled with, the words those of the household
sample.  The same size gives the same rows.  Texts have 120 characters on average;
words and phrases come again, as in the talk of a household.
"""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.legacy import stores

PACKAGING = Path(__file__).parents[2] / "packaging"
SPEAKERS = ("Maya", "Tomas", "Ines", "Kofi", "Pilar", "Aurel")
PER_SESSION = 60
START_MS, BETWEEN_MS = 1_700_000_000_000, 45_000

Row = tuple[object, ...]


def create(path: Path, memories: int, schema: int = 1) -> None:
    """Write a store of `memories` memories, two edges and one turn for three of them."""
    stores.create(path, schema)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        marks = ", ".join("?" * 12)
        names = "id, timestamp, layer, text, summary, who, affect_json, session_key,"
        names += " conversation_id, turn_id, fe_score, created_at"
        sql = f"INSERT INTO memory_nodes ({names}) VALUES ({marks})"
        connection.executemany(sql, _nodes(memories))
        sql = "INSERT INTO memory_edges (source_id, target_id, relation) VALUES (?, ?, 'triggered')"
        connection.executemany(sql, ((n, n + 1) for n in range(1, memories) if n % 3))
        sql = (
            "INSERT INTO memory_turns (turn_id, input_node_id, contemplation_node_id,"
            " output_node_id, timestamp) VALUES (?, ?, ?, ?, ?)"
        )
        members = ((f"turn_{n}", 3 * n + 1, 3 * n + 2, 3 * n + 3) for n in range(memories // 3))
        connection.executemany(sql, ((*row, START_MS + n) for n, row in enumerate(members)))
        connection.execute("COMMIT")


def questions(count: int) -> list[str]:
    """Questions about the same things, each another."""
    chance = random.Random(11)
    texts = Texts(chance)
    return [f"What did {chance.choice(SPEAKERS)} say about {texts.words(2)}?" for _ in range(count)]


class Texts:
    """Makes sentences."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        lines = (PACKAGING / "distill_sentences.txt").read_text(encoding="utf-8").splitlines()
        self._templates = [line for line in lines if line and not line.startswith("#")]
        story = (PACKAGING / "sample" / "household.txt").read_text(encoding="utf-8")
        self._words = sorted({word.lower() for word in re.findall("[A-Za-z]{4,}", story)})
        # as in language: the n-th word of a (shuffled) list is 1/n as frequent as the first
        chance.shuffle(self._words)
        self._weights = [1 / (n + 3) for n in range(len(self._words))]

    def words(self, count: int) -> str:
        return " and ".join(self._chance.choices(self._words, self._weights, k=count))

    def text(self) -> str:
        """One to three sentences."""
        parts = self._chance.choices(self._templates, k=self._chance.choice((1, 2, 2, 3, 3, 3)))
        return ". ".join(re.sub(r"\*", lambda _: self.words(1), part) for part in parts) + "."


def _nodes(memories: int) -> Iterator[Row]:
    chance = random.Random(7)
    texts = Texts(chance)
    for key in range(1, memories + 1):
        text = texts.text()
        layer = ("input", "contemplation", "output")[(key - 1) % 3]
        who = ("self", "agent", chance.choice(SPEAKERS))[key % 3]
        session = f"agent:main:s{key // PER_SESSION}"
        yield (
            *(key, START_MS + key * BETWEEN_MS, layer, text, text[:80], who, "{}", session),
            *(session[11:], f"turn_{(key - 1) // 3}", (key % 10) / 10, "2026-03-01 10:00:00"),
        )
