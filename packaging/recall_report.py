"""What `make bench-recall` found, as a table and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLUMNS = ("recall@5", "recall@10", "recall@20", "ndcg@10")


def table(report: dict[str, Any]) -> str:
    """The figures for people: each way, apart and merged, then nimad's own in detail."""
    lines = [f"{'':52}{'recall@10':>11}{'nDCG@10':>9}{'merged':>9}{'nDCG@10':>9}{'p50 ms':>8}"]
    lines += [_line(*row) for row in rows(report)]
    lines += ["", f"{'store':10}{'mode':10}" + "".join(f"{n:>11}" for n in (*COLUMNS, "p95_ms"))]
    for run in report["runs"]:
        figures = "".join(f"{run[name]:>11.3f}" for name in (*COLUMNS, "p95_ms"))
        lines.append(f"{run['store']:10}{run['mode']:10}{figures}")
        if run["mode"] == "hybrid":
            for name, part in run["categories"].items():
                figures = "".join(f"{part[column]:>11.3f}" for column in COLUMNS)
                lines.append(f"{'':10}  {name:12}{figures[4:]}")
    lines.append(f"{report['memories']:,} memories, embedder {report['embedder']}")
    if (share := report["wrong_questions_answered"]) is not None:
        lines.append(f"questions of another conversation that surfaced anything: {share:.1%}")
    return "\n".join(lines)


def page(report: dict[str, Any]) -> str:
    """The same for docs/recall.md."""
    lines = [
        "| way | recall@10 | nDCG@10 | merged recall@10 | merged nDCG@10 | p50 ms |",
        "|---|---|---|---|---|---|",
    ]
    for name, separate, merged in rows(report):
        cells = [f"{part[figure]:.3f}" for part in (separate, merged) for figure in COLUMNS[1::2]]
        took = f"{separate['p50_ms']:.2f}" if "p50_ms" in separate else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {took} |")
    share = report["wrong_questions_answered"]
    if share is not None:
        lines.append(f"\nQuestions of another conversation that surfaced anything: {share:.1%}.")
    return "\n".join(lines)


def rows(report: dict[str, Any]) -> list[tuple[str, dict[str, float], dict[str, float]]]:
    """(name, figures of separate stores, of the merged one); nimad's own last."""
    found = [(row["name"], row["separate"], row["merged"]) for row in report["beside"]]
    own = {(run["store"], run["mode"]): run for run in report["runs"]}
    for mode in ("words", "meaning", "hybrid"):
        name = f"nimad through its socket, {mode}"
        found.append((name, own["separate", mode], own["merged", mode]))
    return found


def _line(name: str, separate: dict[str, float], merged: dict[str, float]) -> str:
    took = f"{separate['p50_ms']:>8.2f}" if "p50_ms" in separate else ""
    figures = f"{separate['recall@10']:>11.3f}{separate['ndcg@10']:>9.3f}"
    return f"{name:52}{figures}{merged['recall@10']:>9.3f}{merged['ndcg@10']:>9.3f}{took}"


def draw(report: dict[str, Any], path: Path) -> None:
    """recall@10 of each way: a bar for separate stores, one for the merged one."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nimad"
    from matplotlib import pyplot

    found = rows(report)
    names = [name for name, _, _ in found]
    figure, axes = pyplot.subplots(figsize=(8, 0.42 * len(found) + 1.2))
    stores = (
        (-0.2, "each conversation a store", [separate for _, separate, _ in found]),
        (0.2, "all in one", [merged for _, _, merged in found]),
    )
    for shift, label, figures in stores:
        values = [one["recall@10"] for one in figures]
        bars = axes.barh([n + shift for n in range(len(found))], values, 0.4, label=label)
        axes.bar_label(bars, fmt="%.3f", padding=2, fontsize=7)
    axes.set_yticks(range(len(found)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 0.9)
    axes.set_xlabel("recall@10")
    axes.legend(loc="lower left", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
