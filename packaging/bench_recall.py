"""`make bench-recall DATA=folder`: how well and how fast nimad finds, through its socket.

    python packaging/bench_recall.py DATA [--json FILE] [--bars FILE]
        [--embedder static|minilm] [--no-minilm]

DATA is a labelled set or a folder of them (recall_sets.py).  For each set a daemon of its own gets
every memory, the stores in a namespace each.  Its questions are asked in each mode, of their own
store and of all together; some are also asked of a wrong store, and questions of other sets are
asked, where the right answer is nothing at all.  Beside that, in this process: the usual ways
(baselines.py), MiniLM among them where it is installed and the set is small.  With `--embedder
minilm` nimad has those vectors, too, and stands beside the ways that are built from them.  Nothing
of the files is kept.

`--bars` compares with what an earlier run wrote with `--json`: exit code 1, and a line for each,
where a set lost more than LOST.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import recall_report
from dialogues import DEPTH, mean, percentile, score
from recall_beside import beside, embedders_here
from recall_sets import LabelledSet, Question, read_sets
from run_demo import daemon

from nimad.ctl.client import Client

MODES = ("hybrid", "words", "meaning")
PAGE, PAGE_BYTES = 500, 700_000
RESULTS = 10
"""What is timed: a query as programs ask it."""
SHOWN = 5
"""Results asked for where there should be none."""
DRAWS = 1000
"""Samples with replacement behind an interval of 95 %."""
MINILM_MOST = 500_000
"""Size of the largest set that MiniLM reads: it takes 10 ms a memory [characters]."""
LOST = 0.01
"""nDCG@10 and recall@10 that a change may lose on a set."""


class Bench:
    """One daemon with a set in it."""

    def __init__(self, client: Client, given: LabelledSet) -> None:
        self._client = client
        self._given = given
        self._keys: dict[int, str] = {}
        for store in given.stores:
            page: list[tuple[str, dict[str, Any]]] = []
            size = 0
            for key, fields in zip(store.keys, store.fields, strict=True):
                page.append((key, fields))
                size += 4 * len(fields["text"]) + 300
                if len(page) == PAGE or size > PAGE_BYTES:
                    self._load(page, store.name)
                    page, size = [], 0
            self._load(page, store.name)
        while (parts := client.call("status")["embedder"])["done"] < parts["total"]:
            time.sleep(0.1)

    def _load(self, page: Sequence[tuple[str, dict[str, Any]]], namespace: str) -> None:
        if page:
            memories = [fields for _, fields in page]
            reply = self._client.call("import", memories=memories, namespace=namespace)
            self._keys |= zip(reply["ids"], (key for key, _ in page), strict=True)

    def measure(self, mode: str, *, merged: bool) -> tuple[dict[str, Any], list[dict[str, float]]]:
        """The figures of a mode beside its scores, and what each question scored."""
        scores, took = [], []
        silent = 0
        for place, question in self._given.asked():
            where = None if merged else self._given.stores[place].name
            found = self.ask(question, mode, where, DEPTH)
            began = time.perf_counter()
            self.ask(question, mode, where, RESULTS)
            took.append((time.perf_counter() - began) * 1000)
            silent += not found
            scores.append(score(found, question.evidence))
        figures = {
            "silent": silent / len(scores),
            "p50_ms": percentile(took, 0.5),
            "p95_ms": percentile(took, 0.95),
        }
        return figures, scores

    def surfaced(self, mode: str, foreign: Sequence[tuple[int, str]]) -> dict[str, float | None]:
        """The share of questions without an answer that bring anything to light."""
        groups = {
            "wrong": self._given.wrong(),
            "foreign": [(place, Question(text, frozenset(), "")) for place, text in foreign],
        }
        return {
            group: sum(
                bool(self.ask(question, mode, self._given.stores[place].name, SHOWN))
                for place, question in asked
            )
            / len(asked)
            if asked
            else None
            for group, asked in groups.items()
        }

    def ask(self, question: Question, mode: str, namespace: str | None, k: int) -> list[str]:
        """The keys of what is found."""
        reply = self._client.call(
            "query",
            text=question.text,
            k=k,
            mode=mode,
            namespace=namespace,
            as_of=question.as_of,
        )
        return [self._keys[hit["id"]] for hit in reply["results"]]


@contextmanager
def bench(given: LabelledSet, embedder: str) -> Iterator[Bench]:
    """A daemon that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nimad-bench-") as directory:
        place = Path(directory)
        socket, config = place / "nimad.sock", place / "nimad.yaml"
        config.write_text(f"embedder: {embedder}\ngraph:\n  engine: none\n")
        running = daemon(place / "state", socket, "--config", str(config))
        with running, Client(str(socket)) as client:
            yield Bench(client, given)


def run(
    given: LabelledSet, others: Sequence[LabelledSet], *, embedder: str, minilm: bool
) -> dict[str, Any]:
    """All figures of one set, of a nimad with this embedder."""
    foreign = given.foreign(others)
    ways: list[dict[str, Any]] = []
    silence = []
    scored: dict[str, list[dict[str, float]]] = {}
    stores = (False, True) if len(given.stores) > 1 else (False,)
    with bench(given, embedder) as made:
        for mode in MODES:
            row: dict[str, Any] = {"mode": mode, **made.surfaced(mode, foreign)}
            for merged in stores:
                figures, scores = made.measure(mode, merged=merged)
                row["merged" if merged else "silent"] = figures.pop("silent")
                ways.append({**_row(f"nimad {mode}", scores, merged=merged), **figures})
                if not merged:
                    scored[f"nimad {mode}"] = scores
            silence.append(row)
    size = sum(len(fields["text"]) for store in given.stores for fields in store.fields)
    embedders = embedders_here(embedder == "minilm" or (minilm and size <= MINILM_MOST))
    for merged in stores:
        usual = beside(given, embedders, merged=merged)
        ways += [_row(way, scores, merged=merged) for way, scores in usual.items()]
        if not merged:
            scored |= usual
    kinds = [question.kind for _, question in given.asked()]
    return {
        "name": given.name,
        "licence": given.licence,
        "memories": sum(len(store.keys) for store in given.stores),
        "stores": len(given.stores),
        "asked": len(kinds),
        "ways": ways,
        "silence": silence,
        "above_best": _above_best(scored, other="static" if embedder == "minilm" else "minilm"),
        "kinds": _by_kind(kinds, scored["nimad hybrid"]),
    }


def _row(way: str, scores: Sequence[Mapping[str, float]], *, merged: bool) -> dict[str, Any]:
    low, high = interval(np.array([one["ndcg@10"] for one in scores]))
    return {"way": way, "merged": merged, **mean(scores), "low": low, "high": high}


def interval(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Between which the mean lies in 95 of 100 samples drawn with replacement (bootstrap)."""
    chance = np.random.default_rng(1)
    drawn = values[chance.integers(0, len(values), (DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _above_best(
    scored: Mapping[str, Sequence[Mapping[str, float]]], *, other: str
) -> dict[str, Any]:
    """How far hybrid lies above the best of the usual ways, by nDCG@10, those left out that take
    vectors of the other embedder."""
    usual = {
        way: np.array([one["ndcg@10"] for one in scores])
        for way, scores in scored.items()
        if not way.startswith("nimad") and other not in way
    }
    best = max(usual, key=lambda way: float(usual[way].mean()))
    gain = np.array([one["ndcg@10"] for one in scored["nimad hybrid"]]) - usual[best]
    low, high = interval(gain)
    return {"way": best, "gain": float(gain.mean()), "low": low, "high": high}


def _by_kind(
    kinds: Sequence[str], scores: Sequence[Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """The means of hybrid for each kind of question."""
    return {
        kind: {"asked": kinds.count(kind), **mean(part)}
        for kind in sorted(set(kinds))
        if (part := [one for own, one in zip(kinds, scores, strict=True) if own == kind])
    }


def losses(sets: Sequence[Mapping[str, Any]], bars: Sequence[Mapping[str, Any]]) -> list[str]:
    """What sets lost since an earlier run: a line for each figure of hybrid."""
    before = {(one["name"], way["way"], way["merged"]): way for one in bars for way in one["ways"]}
    found = []
    for one in sets:
        for way in one["ways"]:
            bar = before.get((one["name"], way["way"], way["merged"]))
            for figure in ("recall@10", "ndcg@10"):
                if bar and way["way"] == "nimad hybrid" and bar[figure] - way[figure] > LOST:
                    store = "merged" if way["merged"] else "own store"
                    change = f"{bar[figure]:.3f} -> {way[figure]:.3f}"
                    found.append(f"{one['name']}, {store}: {figure} {change}")
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--embedder", choices=("static", "minilm"), default="static")
    parser.add_argument("--no-minilm", action="store_true")
    parser.add_argument("--bars", type=Path, metavar="FILE")
    given = parser.parse_args()
    sets, found = read_sets(given.data), []
    for one in sets:
        found.append(run(one, sets, embedder=given.embedder, minilm=not given.no_minilm))
        print("\n".join(recall_report.set_table(found[-1])), flush=True)
        if given.json:  # after each: a run takes long
            given.json.write_text(json.dumps({"sets": found}, indent=1) + "\n")
    print("\n".join(["", *recall_report.summary(found), "", *recall_report.silence(found)]))
    lost = losses(found, json.loads(given.bars.read_text())["sets"]) if given.bars else []
    print("\n".join(lost))
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main())
