"""Draws curves as SVG: size across, recall up; no library, and the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 400, 60, 20, 20, 50
COLOURS = ("#1b6ca8", "#b8442c", "#5a7d2b", "#7a5195", "#8a6d00")
Point = tuple[float, float]


def draw(
    curves: Mapping[str, Sequence[Point]],
    marks: Mapping[str, Point],
    across: Sequence[float],
    up: Sequence[float],
    names: tuple[str, str],
    powers: bool = False,
) -> str:
    """SVG of `curves` (lines with points) and `marks` (single points); ticks as given.  With
    `powers` all values are powers of ten, ticks tell the numbers, and names stand at the ends."""
    low, high = across[0], across[-1]
    least, most = up[0], up[-1]

    def place(point: Point) -> Point:
        x = LEFT + (point[0] - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        y = TOP + (most - point[1]) / (most - least) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tick in across:
        x, y = place((tick, least))
        parts.append(f'<path d="M{x} {TOP}V{y}" stroke="#ddd"/>')
        number = f"{10.0**tick:,g}" if powers else f"{tick:g}"
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{number}</text>')
    for tick in up:
        x, y = place((low, tick))
        parts.append(f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        number = f"{10.0**tick:,g}" if powers else f"{tick:.2f}"
        parts.append(f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{number}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">{names[0]}</text>')
    parts.append(
        f'<text x="14" y="{HEIGHT / 2}" transform="rotate(-90 14 {HEIGHT / 2})"'
        f' text-anchor="middle">{names[1]}</text>'
    )
    for number, (name, points) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x},{y}" for x, y in map(place, points))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in map(place, points)
        ]
        x, y = LEFT + 12, HEIGHT - BOTTOM - 20 - 20 * number
        if powers:
            x, y = place(points[-1])
            x, y = x + 8, y + 4
        parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{name}</text>')
    for name, point in marks.items():
        x, y = place(point)
        parts.append(f'<path d="M{x - 4} {y - 4}l8 8m0 -8l-8 8" stroke="#444" stroke-width="2"/>')
        parts.append(f'<text x="{x + 8}" y="{y + 4}" fill="#444">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])
