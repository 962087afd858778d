"""A plot with two logarithmic axes, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 300, 50, 60
COLORS = (
    "#444444",
    "#1f77b4",
    "#d62728",
    "#ff7f0e",
    "#2ca02c",
    "#9467bd",
    "#8c564b",
    "#7f7f7f",
)
LINE = 16  # between two labels
Points = Sequence[tuple[float, float]]


def plot(title: str, x: str, y: str, series: Mapping[str, Points]) -> str:
    """Lines through points, each with its name at its right end; all values above 0."""
    xs = [point[0] for points in series.values() for point in points]
    ys = [point[1] for points in series.values() for point in points]
    left, right = min(xs), max(xs)
    low, high = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(
        math.log10(max(ys))
    )

    def across(value: float) -> float:
        part = math.log(value / left) / math.log(right / left)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        part = math.log(value / low) / math.log(high / low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    drawn = [_text(LEFT, 28, title, "start", 'font-weight="bold"')]
    for value in sorted(set(xs)):
        drawn.append(_line(across(value), TOP, across(value), HEIGHT - BOTTOM))
        drawn.append(_text(across(value), HEIGHT - BOTTOM + 20, f"{value:g}", "middle"))
    for value in _ticks(low, high):
        drawn.append(_line(LEFT, up(value), WIDTH - RIGHT, up(value)))
        drawn.append(_text(LEFT - 8, up(value) + 4, f"{value:g}", "end"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(_text(middle, HEIGHT - 14, x, "middle"))
    height = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 18 {height})"'
    drawn.append(_text(18, height, y, "middle", turned))
    last = float(HEIGHT - BOTTOM + LINE)
    ordered = sorted(zip(series.items(), COLORS), key=lambda item: item[0][1][-1][1])
    for (name, points), color in ordered:
        places = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in points)
        drawn.append(
            f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="2"/>'
        )
        drawn += [
            f'<circle cx="{across(a):.1f}" cy="{up(b):.1f}" r="3" fill="{color}"/>'
            for a, b in points
        ]
        end = up(points[-1][1])
        last = min(end, last - LINE)  # from the lowest up, none on another
        drawn.append(_line(WIDTH - RIGHT + 5, end, WIDTH - RIGHT + 20, last, color))
        drawn.append(
            _text(WIDTH - RIGHT + 24, last + 4, name, "start", f'fill="{color}"')
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' font-family="sans-serif" font-size="13">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten."""
    powers = range(round(math.log10(low)), round(math.log10(high)) + 1)
    values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [value for value in values if low <= value <= high]


def _line(x1: float, y1: float, x2: float, y2: float, color: str = "#dddddd") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
