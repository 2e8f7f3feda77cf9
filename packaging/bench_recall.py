"""`make bench-recall DATA=file`: how well and how fast nimad finds, through its socket.

    python packaging/bench_recall.py DATA [--embedder NAME] [--json FILE] [--svg FILE]

DATA holds labelled dialogues in the format of LoCoMo (packaging/dialogues.py).  A daemon of its own
gets every turn as a memory: once each conversation in a namespace of its own, once all of them in
one.  Every question is asked in each mode; a sample is also asked of the wrong conversations, where
the right answer is nothing at all.  Beside that, in this process: the usual ways (baselines.py),
and the recipe with exact float32 vectors and with candidates of the block index.  Nothing of the
file is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import recall_report
from dialogues import (
    CATEGORIES,
    DEPTH,
    Dialogue,
    mean,
    percentile,
    read_dialogues,
    score,
)
from recall_beside import beside
from run_demo import daemon

from nimad.ctl.client import Client

MERGED = "everything"
MODES = ("hybrid", "words", "meaning")
PAGE = 200
RESULTS = 10
"""What is timed: a query as programs ask it."""
WRONG_EVERY = 4
"""Every fourth question is asked of each wrong conversation."""


class Bench:
    """One daemon with all dialogues in it."""

    def __init__(self, client: Client, dialogues: Sequence[Dialogue]) -> None:
        self._client = client
        self._dialogues = dialogues
        self._turns: dict[int, str] = {}

    def load(self, dialogue: Dialogue, namespace: str) -> None:
        """Remember every turn of a conversation in a namespace."""
        for start in range(0, len(dialogue.turns), PAGE):
            part = dialogue.turns[start : start + PAGE]
            memories = [
                {
                    "text": turn.text,
                    "who": turn.who,
                    "timestamp": turn.moment,
                    "namespace": namespace,
                    "conversation": dialogue.name,
                    "session": str(turn.session),
                }
                for turn in part
            ]
            reply = self._client.call("import", memories=memories)
            for number, turn in zip(reply["ids"], part, strict=True):
                self._turns[number] = f"{dialogue.name}/{turn.id}"

    def measure(self, mode: str, merged: bool) -> dict[str, Any]:
        """Every question, of its own conversation or of all together."""
        scores: dict[int, list[dict[str, float]]] = {category: [] for category in CATEGORIES}
        took: list[float] = []
        for dialogue in self._dialogues:
            namespace = MERGED if merged else dialogue.name
            for asked in dialogue.questions:
                found = self._ask(asked.text, mode, namespace, DEPTH)
                began = time.perf_counter()
                self._ask(asked.text, mode, namespace, RESULTS)
                took.append((time.perf_counter() - began) * 1000)
                right = frozenset(f"{dialogue.name}/{turn}" for turn in asked.evidence)
                scores[asked.category].append(score(found, right))
        return {
            "store": "merged" if merged else "separate",
            "mode": mode,
            "questions": len(took),
            **mean([one for part in scores.values() for one in part]),
            "p50_ms": percentile(took, 0.5),
            "p95_ms": percentile(took, 0.95),
            "categories": {CATEGORIES[c]: mean(part) for c, part in scores.items() if part},
        }

    def surfaced(self) -> float:
        """The share of wrong questions that bring anything to light."""
        hits = [
            bool(self._ask(asked.text, "hybrid", other.name, 5))
            for dialogue in self._dialogues
            for other in self._dialogues
            if other is not dialogue
            for asked in dialogue.questions[::WRONG_EVERY]
        ]
        return sum(hits) / max(len(hits), 1)

    def _ask(self, text: str, mode: str, namespace: str, k: int) -> list[str]:
        reply = self._client.call("query", text=text, k=k, mode=mode, namespace=namespace)
        return [self._turns[hit["id"]] for hit in reply["results"]]


@contextmanager
def bench(dialogues: Sequence[Dialogue], embedder: str) -> Iterator[Bench]:
    """A daemon that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nimad-bench-") as directory:
        place = Path(directory)
        socket = place / "nimad.sock"
        config = place / "nimad.yaml"
        config.write_text(f"embedder: {embedder}\n")
        running = daemon(place / "state", socket, "--config", str(config))
        with running, Client(str(socket)) as client:
            made = Bench(client, dialogues)
            for dialogue in dialogues:
                made.load(dialogue, dialogue.name)
            for dialogue in dialogues:
                made.load(dialogue, MERGED)
            yield made


def run(dialogues: Sequence[Dialogue], embedder: str) -> dict[str, Any]:
    """All figures of one embedder."""
    with bench(dialogues, embedder) as made:
        made.measure("hybrid", merged=True)  # once for nothing: what a running daemon has read
        rows = [made.measure(mode, merged) for merged in (False, True) for mode in MODES]
        surfaced = made.surfaced() if len(dialogues) > 1 else None
    return {
        "embedder": embedder,
        "memories": 2 * sum(len(dialogue.turns) for dialogue in dialogues),
        "runs": rows,
        "wrong_questions_answered": surfaced,
        "beside": beside(dialogues, embedder),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", default="static")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE")
    given = parser.parse_args()
    report = run(read_dialogues(given.data), given.embedder)
    print(recall_report.table(report))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    if given.svg:
        recall_report.draw(report, given.svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
