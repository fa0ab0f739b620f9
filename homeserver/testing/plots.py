"""Small plots as SVG that needs nothing else: points and lines over two axes."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 560, 260, 70, 40, 30
_NAMESPACE = "http://www.w3.org/2000/svg"
_COLOURS = ("#2277aa", "#cc5533", "#33aa77", "#884499", "#aa8822", "#555555")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour, joined or not."""

    name: str
    points: Sequence[Point]
    is_joined: bool = False


@dataclass(frozen=True, slots=True)
class Axes:
    """What a plot shows."""

    title: str
    x: str
    y: str


def plot(axes: Axes, series: Sequence[Series], top: int = 0) -> str:
    """One plot, as a group that begins so far from the top of its drawing."""
    points = [point for one in series for point in one.points]
    most_x = max((x for x, _ in points), default=1.0) or 1.0
    most_y = max((y for _, y in points), default=1.0) or 1.0
    parts = [_frame(axes, most_x, most_y)]
    for number, one in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        placed = [_place(point, most_x, most_y) for point in one.points]
        parts.append(_drawn(one, placed, colour))
        parts.append(_legend(one.name, number, colour))
    return f'<g transform="translate(0 {top})">{"".join(parts)}</g>'


def stacked(plots: Sequence[tuple[Axes, Sequence[Series]]], *, is_file: bool = False) -> str:
    """Several plots below each other, as one SVG: a part of a page, or a file of its own."""
    groups = [plot(axes, series, _HEIGHT * at) for at, (axes, series) in enumerate(plots)]
    size = f'width="{_WIDTH + 180}" height="{_HEIGHT * len(groups)}"'
    space = f' xmlns="{_NAMESPACE}"' if is_file else ""
    style = "<style>text{font:12px system-ui,sans-serif;fill:#222}</style>"
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return f"<svg{space} {size}>{style}{ground}{''.join(groups)}</svg>"


def _place(point: Point, most_x: float, most_y: float) -> Point:
    x, y = point
    wide, high = _WIDTH - _LEFT - 10, _HEIGHT - _BOTTOM - _TOP
    return _LEFT + x / most_x * wide, _HEIGHT - _BOTTOM - y / most_y * high


def _drawn(one: Series, placed: Sequence[Point], colour: str) -> str:
    if one.is_joined:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed)


def _frame(axes: Axes, most_x: float, most_y: float) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - 10
    lines = f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#888"/>'
    marks = "".join(_marks(part, most_x, most_y) for part in (0.0, 0.5, 1.0))
    words = (
        _text(_LEFT, 18, axes.title, "start")
        + _text(right, bottom + 32, axes.x, "end")
        + f'<g transform="translate(14 {_TOP}) rotate(-90)">{_text(0, 0, axes.y, "end")}</g>'
    )
    return lines + marks + words


def _marks(part: float, most_x: float, most_y: float) -> str:
    x, y = _place((part * most_x, part * most_y), most_x, most_y)
    return _text(x, _HEIGHT - _BOTTOM + 16, f"{part * most_x:.4g}", "middle") + _text(
        _LEFT - 6, y + 4, f"{part * most_y:.4g}", "end"
    )


def _legend(name: str, number: int, colour: str) -> str:
    y = _TOP + 16 * number
    return f'<circle cx="{_WIDTH + 10}" cy="{y - 4}" r="4" fill="{colour}"/>' + _text(
        _WIDTH + 20, y, name, "start"
    )


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'
