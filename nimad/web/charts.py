"""Drawings as SVG: bars of shares, columns over time, a memory and what is around it.

Colours come from the style sheet by class: the pages allow no inline style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from nimad.dataclass import dataclass
from nimad.web.html import Html, tag

WIDTH, HEIGHT = 640, 120
"""Size of a chart of columns [units of the drawing]."""
SIDE = 440
"""Side of the graph [units of the drawing]."""
MAX_AROUND = 16
"""Number of memories drawn around one [memories]."""


def bar(fraction: float, label: str, kind: str = "") -> Html:
    """A bar that is filled to a share, from -1 to 1; below 0 it is drawn as a loss."""
    filled = f"{100 * min(abs(fraction), 1):.1f}"
    below = " loss" if fraction < 0 else ""
    drawn = tag("rect", width=filled, height=6, class_=f"fill{below} {kind}".strip())
    under = tag("rect", width=100, height=6, class_="track")
    box = {"viewBox": "0 0 100 6", "preserveAspectRatio": "none"}
    return tag("svg", under, drawn, class_="bar", role="img", aria_label=label, **box)


def stacked(parts: Sequence[tuple[str, float]], whole: float, label: str) -> Html:
    """Shares of a whole one after the other: (class, amount) of each."""
    drawn, start = [tag("rect", width=100, height=6, class_="track")], 0.0
    for kind, amount in parts:
        width = 100 * max(amount, 0) / (whole or 1)
        at = {"x": f"{start:.2f}", "width": f"{min(width, 100 - start):.2f}"}
        drawn.append(tag("rect", height=6, class_=f"fill {kind}", **at))
        start = min(start + width, 100.0)
    box = {"viewBox": "0 0 100 6", "preserveAspectRatio": "none"}
    return tag("svg", drawn, class_="bar", role="img", aria_label=label, **box)


def columns(values: Sequence[tuple[str, float, str | None]], label: str) -> Html:
    """Columns side by side: (name, number, address or None) of each."""
    most = max((number for _, number, _ in values), default=0) or 1
    step = WIDTH / max(len(values), 1)
    drawn = []
    for place, (name, number, address) in enumerate(values):
        tall = max(2.0, (HEIGHT - 8) * number / most) if number else 0.0
        about = tag("title", f"{name}: {number:,}")
        at = {"x": f"{place * step + step * 0.08:.2f}", "width": f"{step * 0.84:.2f}"}
        column = tag("rect", y=f"{HEIGHT - tall:.1f}", height=f"{tall:.1f}", class_="fill", **at)
        field = tag("rect", y=0, height=HEIGHT, class_="field", **at)
        if address is None or not number:
            drawn.append(tag("g", about, column))
        else:
            told = f"{name}: {number:,}"
            drawn.append(tag("a", about, field, column, href=address, aria_label=told))
    base = tag("line", x1=0, x2=WIDTH, y1=HEIGHT, y2=HEIGHT, class_="base")
    box = {"viewBox": f"0 0 {WIDTH} {HEIGHT + 1}", "preserveAspectRatio": "none"}
    return tag("svg", drawn, base, class_="columns", role="group", aria_label=label, **box)


MAX_LABEL = 16
"""Length of a name in the graph [characters]."""


@dataclass(frozen=True)
class Around:
    """A memory near another one: `kind` is relation, turn or near, `label` how it is connected,
    `incoming` whether the edge leads to the one in the middle, `who` whose words they are."""

    id: int
    kind: str
    label: str
    incoming: bool
    layer: str
    who: str


def graph(own: Around, around: Sequence[Around]) -> Html:
    """One memory in the middle, up to MAX_AROUND others on a circle, each a link."""
    shown = around[:MAX_AROUND]
    middle, radius = SIDE / 2, SIDE / 2 - 42
    lines, labels, nodes = [], [], []
    for place, one in enumerate(shown):
        angle = 2 * math.pi * place / len(shown) - math.pi / 2
        along, across = math.cos(angle), math.sin(angle)
        ends = (34.0, radius - 26) if not one.incoming else (radius - 26, 34.0)
        (x1, y1), (x2, y2) = ((middle + t * along, middle + t * across) for t in ends)
        line = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
        arrow = None if one.kind == "near" else "url(#arrow)"
        lines.append(tag("line", class_=f"edge {one.kind}", marker_end=arrow, **line))
        if one.kind == "relation":
            at = (middle + radius * 0.52 * along, middle + radius * 0.52 * across)
            labels.append(_text(*at, shortened(one.label), "label"))
        x, y = middle + radius * along, middle + radius * across
        content = _node(x, y, 22, one, f"{one.label}: memory {one.id}")
        nodes.append(tag("a", *content, href=f"memory/{one.id}"))
    tip = tag("path", d="M0 0L8 4L0 8z", class_="tip")
    size = {"viewBox": "0 0 8 8", "refX": "7", "refY": "4", "markerWidth": "7"}
    marker = tag("marker", tip, id="arrow", markerHeight="7", orient="auto", **size)
    about = f"memory {own.id} and {len(shown)} around it"
    unnamed = replace(own, who="")
    center = tag("g", _node(middle, middle, 30, unnamed, f"this memory, {own.id}"), class_="own")
    drawn = (tag("defs", marker), lines, labels, nodes, center)
    box = {"viewBox": f"0 0 {SIDE} {SIDE}"}
    return tag("svg", *drawn, class_="graph", role="group", aria_label=about, **box)


def _node(x: float, y: float, radius: int, one: Around, about: str) -> tuple[Html, ...]:
    circle = tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=radius, class_=f"node {one.layer}")
    beyond = -radius - 6 if y < SIDE / 2 - radius else radius + 15
    who = _text(x, y + beyond, shortened(one.who), "name")
    return tag("title", about), circle, _text(x, y + 5, str(one.id), "number"), who


def _text(x: float, y: float, text: str, kind: str) -> Html:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", class_=kind, text_anchor="middle")


def shortened(text: str) -> str:
    """A name that fits below a node."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_LABEL else f"{line[: MAX_LABEL - 1]}…"
