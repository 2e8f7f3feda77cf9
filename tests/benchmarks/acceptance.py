"""The bars that the index must reach, each with what one run measured, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Line = dict[str, Any]
Run = dict[str, Any]

PEERS = ("faiss", "hnswlib", "usearch")


def lines(run: Run) -> list[Line]:
    """One line a bar: {"what", "found", "bar", "passed"}; bars of what was not run are left out."""
    own = [row for row in run["results"] if row["engine"] == "nimad"]
    if not own:
        return []
    shipped = own[0]
    made = [*_answers(shipped), *_speed(run, shipped), *_room(run["size"], shipped)]
    if "life" in run:
        made += _life(run["size"], run["life"])
    return made


def _line(what: str, found: float, bar: float, unit: str = "", *, least: bool = False) -> Line:
    passed = found >= bar if least else found <= bar
    sign = "at least" if least else "at most"
    shown = f"{found:,.4g}" if found < 1000 else f"{found:,.0f}"
    return {
        "what": what,
        "found": f"{shown}{unit}",
        "bar": f"{sign} {bar:,.4g}{unit}",
        "passed": bool(passed),
    }


def _answers(shipped: Line) -> Iterator[Line]:
    yield _line("recall@10, all questions", shipped["recall"], 0.96, least=True)
    if shipped.get("recall_chat") is not None:
        yield _line("recall@10, chat", shipped["recall_chat"], 0.985, least=True)


def _speed(run: Run, shipped: Line) -> Iterator[Line]:
    size, p50 = run["size"], shipped["p50_ms"]
    yield _line("p95 / p50", shipped["p95_ms"] / p50, 1.5)
    peers = PEERS if size < 1_000_000 else PEERS[:1]
    equal = [
        row
        for row in run["results"]
        if row["engine"].startswith(peers) and row["recall"] >= shipped["recall"]
    ]
    if equal:
        best = min(equal, key=lambda row: row["p50_ms"])
        what = f"p50 / that of {best['engine']}, {best['setting']} (recall {best['recall']})"
        yield _line(what, p50 / best["p50_ms"], 2 if size < 100_000 else 1)
    slower = {"numpy": ("float32", {100_000: 20, 1_000_000: 150})}
    slower["sqlite-vec"] = ("bit, best 100 rescored", {100_000: 50})
    for engine, (setting, bars) in slower.items():
        for row in run["results"]:
            if (row["engine"], row["setting"]) == (engine, setting) and size in bars:
                what = f"times faster than {engine}, {setting}"
                yield _line(what, row["p50_ms"] / p50, bars[size], least=True)


def _room(size: int, shipped: Line) -> Iterator[Line]:
    yield _line("on disk, a memory", shipped["disk_bytes"], 460, " B")
    yield _line("add, a memory", shipped["add_us"], 15, " us")
    if size >= 100_000 and "cold_faults" in shipped:
        yield _line("page faults, codes warm and rows cold", shipped["cold_faults"], 80)
        yield _line("read then", shipped["cold_bytes"] / 1e6, 0.4, " MB")


def _life(size: int, life: Line) -> Iterator[Line]:
    yield _line("codes (must be in RAM), a memory", life["code_bytes"], 70, " B")
    if size >= 100_000:
        yield _line("touched by a question", life["touched_bytes"] / 1e6, 2, " MB")
    plain = life["plain_ms"]
    yield _line("recall@10 among 1 % that a filter allows", life["filter_recall"], 0.96, least=True)
    if size <= 100_000:
        yield _line("p50 with that filter / without", life["filter_ms"] / plain, 2)
        yield _line("the same, first question of a filter", life["first_filter_ms"] / plain, 2)
    yield _line("merge, a memory, processor time", life["merge_us"], 50, " us")
    if life["kept_merge_us"]:
        yield _line("the same, when codebooks are kept", life["kept_merge_us"], 50, " us")
    yield _line("memory that a merge takes", life["merge_bytes"] / 1e6, 200, " MB")
    ratio = life["p95_meanwhile_ms"] / life["p95_before_ms"]
    yield _line("p95 while a merge runs / before", ratio, 2)
    what = "numpy, this object and two threads: the same bits"
    yield {
        "what": what,
        "found": str(life["same_bits"]),
        "bar": "True",
        "passed": life["same_bits"],
    }


def table(made: list[Line]) -> str:
    """Markdown."""
    out = ["| bar | found | wanted | |", "|---|---|---|---|"]
    for line in made:
        verdict = "pass" if line["passed"] else "**FAIL**"
        out.append(f"| {line['what']} | {line['found']} | {line['bar']} | {verdict} |")
    return "\n".join(out)
