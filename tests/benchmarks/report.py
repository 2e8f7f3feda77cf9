"""What a comparison becomes: performance.json, a plot, and the tables in performance.md.

Sizes and engines that a run did not measure keep their last figures, and the page says which.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from tests.benchmarks import acceptance

BEGIN, END = "<!-- figures: make bench -->", "<!-- end of figures -->"
_COLUMNS = {
    "engine": "engine",
    "setting": "setting",
    "recall": "recall@10",
    "recall_chat": "chat",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "resident_bytes": "resident B",
    "disk_bytes": "disk B",
    "build_us": "build us",
    "add_us": "add us",
}

Run = dict[str, Any]


def write(runs: list[Run], folder: Path) -> None:
    """Merge the runs into what is in `folder` and write all three anew."""
    file = folder / "performance.json"
    known = json.loads(file.read_text())["runs"] if file.is_file() else []
    merged = {run["size"]: run for run in known}
    merged |= {run["size"]: _with_earlier(run, merged.get(run["size"])) for run in runs}
    ordered = [merged[size] for size in sorted(merged)]
    file.write_text(json.dumps({"machine": machine(), "runs": ordered}, indent=1) + "\n")
    page = folder / "performance.md"
    text = page.read_text() if page.is_file() else f"# Performance\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    figures = f"{summary(ordered)}\n{table(ordered)}"
    page.write_text(f"{head}{BEGIN}\n\n{figures}\n{END}{tail}")
    plot(ordered, folder / "performance.svg")


def _with_earlier(run: Run, before: Run | None) -> Run:
    """The run, and the rows of engines that only an earlier one had, named as such."""
    measured = {row["engine"] for row in run["results"]}
    older = [row for row in (before or run)["results"] if row["engine"] not in measured]
    names = list(dict.fromkeys(row["engine"] for row in older))
    return {**run, "results": [*run["results"], *older], "earlier": names}


def machine() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def summary(runs: list[Run]) -> str:
    """Every bar, what was measured, and whether it is reached; a table a size."""
    parts = []
    for run in runs:
        if made := run.get("acceptance"):
            short = sum(not line["passed"] for line in made)
            verdict = f"{short} of {len(made)} bars missed" if short else "all bars reached"
            heading = f"### Bars at {run['size']:,} memories: {verdict}"
            parts.append(f"{heading}\n\n{acceptance.table(made)}\n")
    return "\n".join(parts)


def table(runs: list[Run]) -> str:
    """One table a size, the fastest first within an engine; bytes and build are per memory."""
    parts = []
    for run in runs:
        lines = [f"### {run['size']:,} memories ({run['corpus']})", ""]
        lines.append("| " + " | ".join(_COLUMNS.values()) + " |")
        lines.append("|" + "---|" * len(_COLUMNS))
        for row in run["results"]:
            cells = [str(row.get(name, "")) for name in _COLUMNS]
            bold = row["engine"] == "nimad"
            lines.append("| " + " | ".join(f"**{c}**" if bold else c for c in cells) + " |")
        for row in run["results"]:
            if row["engine"] == "nimad" and "cold_faults" in row:
                lines += ["", _cold(row)]
                break
        if run.get("earlier"):
            lines += [f"\nFrom an earlier run: {', '.join(run['earlier'])}."]
        lines += [f"\nNot run: {name} ({why})." for name, why in run["absent"].items()]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _cold(row: dict[str, Any]) -> str:
    return (
        f"nimad with warm codes and cold rows: {row['cold_faults']} page faults and"
        f" {row['cold_bytes'] / 1e6:.2f} MB read per query."
    )


def plot(runs: list[Run], file: Path) -> None:
    """Recall against latency, a panel a size; skipped without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nimad"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(runs), figsize=(5.5 * len(runs), 4.5), squeeze=False)
    for panel, run in zip(panels[0], runs, strict=True):
        for engine in dict.fromkeys(row["engine"] for row in run["results"]):
            points = sorted(
                (row["recall"], row["p50_ms"]) for row in run["results"] if row["engine"] == engine
            )
            own = engine == "nimad"
            panel.plot(
                *zip(*points, strict=True),
                marker="o",
                label=engine,
                linewidth=2.5 if own else 1,
                color="black" if own else None,
            )
        panel.set(title=f"{run['size']:,} memories", xlabel="recall@10", ylabel="p50, ms")
        panel.set_yscale("log")
        panel.set_xlim(0.85, 1.003)
        panel.grid(alpha=0.3)
    panels[0][-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
