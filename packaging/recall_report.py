"""What `make bench-recall` found, as tables and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Found = Mapping[str, Any]
DRAWN = (
    ("nimad hybrid", "#d62728", "o"),
    ("BM25", "#7f7f7f", "s"),
    ("BM25 of pairs", "#bcbd22", "s"),
    ("static cosine", "#1f77b4", "^"),
    ("RRF of BM25 and static", "#9467bd", "D"),
    ("half BM25, half static", "#2ca02c", "D"),
    ("minilm cosine", "#17becf", "v"),
    ("half BM25, half minilm", "#e377c2", "v"),
)
"""The ways in the picture and in the summary, with their marks."""


def set_table(found: Found) -> list[str]:
    """Every way on one set."""
    lines = [
        f"\n### {found['name']}\n",
        f"{found['memories']:,} memories in {found['stores']} stores, {found['asked']} questions;"
        f" {found['licence']}.\n",
        "| way | recall@10 | nDCG@10 | 95 % | merged recall@10 | merged nDCG@10 | p50 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    merged = {way["way"]: way for way in found["ways"] if way["merged"]}
    for way in found["ways"]:
        if way["merged"]:
            continue
        cells = [way["way"], f"{way['recall@10']:.3f}", f"{way['ndcg@10']:.3f}"]
        cells.append(f"{way['low']:.3f} to {way['high']:.3f}")
        other = merged.get(way["way"])
        cells += [f"{other[name]:.3f}" if other else "" for name in ("recall@10", "ndcg@10")]
        cells.append(f"{way['p50_ms']:.2f}" if "p50_ms" in way else "")
        lines.append(f"| {' | '.join(cells)} |")
    if len(found["kinds"]) > 1:
        lines += [
            "",
            "| kind of question (hybrid) | asked | recall@10 | nDCG@10 |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {kind} | {one['asked']} | {one['recall@10']:.3f} | {one['ndcg@10']:.3f} |"
            for kind, one in found["kinds"].items()
        ]
    return lines


def summary(sets: Sequence[Found]) -> list[str]:
    """nDCG@10 of every way on every set, each question asked of its own store."""
    ways = [way for way, _, _ in DRAWN if any(_of(one, way) for one in sets)]
    head = [*ways, "hybrid above the best with its own vectors"]
    lines = [f"| nDCG@10 | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for one in sets:
        values = [_of(one, way) for way in ways]
        cells = [f"{value['ndcg@10']:.3f}" if value else "" for value in values]
        gain = one["above_best"]
        cells.append(f"{gain['gain']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})")
        lines.append(f"| {one['name']} | {' | '.join(cells)} |")
    means = []
    for way in ways:
        there = [value["ndcg@10"] for one in sets if (value := _of(one, way))]
        means.append(f"{sum(there) / len(there):.3f}" if len(there) == len(sets) else "")
    gains = [one["above_best"]["gain"] for one in sets]
    lines.append(f"| mean | {' | '.join(means)} | {sum(gains) / len(gains):+.3f} |")
    return lines


def silence(sets: Sequence[Found]) -> list[str]:
    """Answerable questions without an answer, and others with one, by set and mode."""
    lines = [
        "| set | mode | silent, own store | silent, all as one | another store answers |"
        " another subject is answered |",
        "|---|---|---|---|---|---|",
    ]
    for one in sets:
        for row in one["silence"]:
            shares = [row.get(name) for name in ("silent", "merged", "wrong", "foreign")]
            cells = ["" if share is None else f"{share:.1%}" for share in shares]
            lines.append(f"| {one['name']} | {row['mode']} | {' | '.join(cells)} |")
    return lines


def _of(found: Found, way: str) -> Mapping[str, float] | None:
    for one in found["ways"]:
        if one["way"] == way and not one["merged"]:
            return one  # type: ignore[no-any-return]
    return None


def draw(sets: Sequence[Found], path: Path) -> None:
    """nDCG@10: a line for each set, a mark for each way, the interval of nimad's."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(8, 0.55 * len(sets) + 1.6))
    for way, colour, mark in DRAWN:
        there = [(row, value) for row, one in enumerate(sets) if (value := _of(one, way))]
        if not there:
            continue
        values = [value["ndcg@10"] for _, value in there]
        own = way.startswith("nimad")
        axes.scatter(
            values,
            [row for row, _ in there],
            s=70 if own else 32,
            c=colour,
            marker=mark,
            label=way,
            zorder=3 if own else 2,
        )
        if own:
            for row, value in there:
                axes.plot([value["low"], value["high"]], [row, row], color=colour, zorder=1)
    axes.set_yticks(range(len(sets)), [one["name"] for one in sets])
    axes.invert_yaxis()
    axes.set_xlabel("nDCG@10, each question asked of its own store; the line is the 95 % interval")
    axes.grid(axis="both", alpha=0.3)
    figure.legend(loc="upper center", ncols=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.55 / figure.get_figheight()))
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def draw_curves(
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    marks: Mapping[str, Mapping[str, tuple[float, float]]],
    path: Path,
) -> None:
    """Silence (x) against false answers (y), a panel for each set, a line for each group of
    questions without an answer; the default of each marked.  All in percent."""
    pyplot = _pyplot()
    rows = (len(curves) + 2) // 3
    figure, panels = pyplot.subplots(rows, 3, figsize=(9, 2.4 * rows + 0.5), squeeze=False)
    colours = {"wrong": "#1f77b4", "foreign": "#ff7f0e"}
    names = {"wrong": "another store of the set", "foreign": "another subject"}
    for panel in panels.ravel()[len(curves) :]:
        panel.set_visible(False)
    for panel, (name, groups) in zip(panels.ravel(), curves.items(), strict=False):
        for group, points in groups.items():
            panel.plot(*zip(*points, strict=True), color=colours[group], label=names[group])
            panel.plot(*marks[name][group], "o", color=colours[group])
        panel.set_xlim(-0.2, 8)
        panel.set_ylim(0, 100)
        panel.set_title(name, fontsize=9)
        panel.grid(alpha=0.3)
        panel.tick_params(labelsize=7)
    handles = {
        label: handle
        for panel in panels.ravel()
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="upper center", ncols=2, frameon=False)
    figure.supxlabel("answerable questions that stay without an answer [%]", fontsize=9)
    figure.supylabel("questions without an answer that get one [%]", fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / figure.get_figheight()))
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nimad"
    from matplotlib import pyplot

    return pyplot
