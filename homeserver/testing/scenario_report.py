"""The report of a simulation: one page that needs nothing else, and shows no content.

Who sent what when as a sequence diagram, latency and bytes over time, how each server ended.
"""

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.testing import plots
from homeserver.testing.network import Passage
from homeserver.testing.plots import Axes, Series
from homeserver.testing.world import World

_MOST_ARROWS = 400
_MOST_LINES, _MOST_POINTS = 12, 500
_COLUMN, _ROW, _TOP = 170, 16, 40
_COLOURS = {"arrived": "#2a7", "refused": "#999", "lost": "#c33", "damaged": "#c33"}
_STYLE = (
    "body{font:15px system-ui;margin:2em auto;max-width:70em;color:#222}"
    "td,th{padding:.2em 1em .2em 0;text-align:left}svg text{font:11px system-ui}"
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How one server ended: what its owner sees, and what it sent."""

    name: str
    is_running: bool
    peers: str
    rooms: int
    boxes: int
    sent_bytes: int


async def endings(world: World) -> list[Ending]:
    """How every server ended."""
    return [await _ending(world, name) for name in world.people]


def page(title: str, outcome: str, world: World, ended: Sequence[Ending]) -> str:
    """The page."""
    passages = world.network.passages
    shown = passages[-_MOST_ARROWS:]
    size = sum(one.size for one in passages)
    parts = [
        f"<h1>{html.escape(title)}</h1><p>{html.escape(outcome)}</p>",
        f"<p>Seed {world.seed}; {world.now:.0f} s; {len(passages)} boxes, {size} bytes.</p>",
        "<h2>How each server ended</h2>",
        _table(ended),
        "<h2>Latency, and bytes over time</h2>",
        _plots(list(world.people), passages),
        f"<h2>Who sent what (the last {len(shown)})</h2>",
        _sequence(list(world.people), shown),
    ]
    head = f"<meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html>{head}{''.join(parts)}"


def rows(ended: Sequence[Ending]) -> list[tuple[str, ...]]:
    """The table of endings, its head first."""
    head = ("server", "runs", "peers", "rooms", "boxes sent", "bytes sent")
    return [
        head,
        *(
            (
                one.name,
                "yes" if one.is_running else "no",
                one.peers,
                str(one.rooms),
                str(one.boxes),
                str(one.sent_bytes),
            )
            for one in ended
        ),
    ]


async def _ending(world: World, name: str) -> Ending:
    person = world.people[name]
    sent = [one for one in world.network.passages if one.source == name]
    peers, rooms = "", 0
    if person.server.is_running:
        standings = Counter((await person.status())["peers"])
        peers = ", ".join(f"{count} {standing}" for standing, count in sorted(standings.items()))
        rooms = len(await person.joined_rooms())
    size = sum(one.size for one in sent)
    return Ending(name, person.server.is_running, peers, rooms, len(sent), size)


def _table(ended: Sequence[Ending]) -> str:
    lines = []
    for place, row in enumerate(rows(ended)):
        cell = "td" if place else "th"
        lines.append("".join(f"<{cell}>{html.escape(text)}</{cell}>" for text in row))
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _plots(names: Sequence[str], passages: Sequence[Passage]) -> str:
    if not passages:
        return "<p>Nothing was sent.</p>"
    arrived = [one for one in passages if one.fate == "arrived"]
    ways = [
        Series(kind, [(one.at, one.took_s) for one in arrived if one.kind == kind])
        for kind in ("request", "answer")
    ]
    sent = [
        Series(name, _growing([one for one in passages if one.source == name]), is_joined=True)
        for name in names[:_MOST_LINES]
    ]
    return plots.stacked(
        [
            (Axes("How long boxes were on their way", "virtual seconds", "seconds"), ways),
            (Axes("Bytes sent so far", "virtual seconds", "bytes"), sent),
        ]
    )


def _growing(passages: Sequence[Passage]) -> list[plots.Point]:
    """The sum after each passage; of very many only some."""
    total, points = 0.0, [(0.0, 0.0)]
    for one in sorted(passages, key=lambda one: one.at):
        total += one.size
        points.append((one.at, total))
    return points[:: max(1, len(points) // _MOST_POINTS)] + points[-1:]


def _sequence(names: Sequence[str], passages: Sequence[Passage]) -> str:
    place = {name: _COLUMN // 2 + number * _COLUMN for number, name in enumerate(names)}
    width, height = _COLUMN * max(1, len(names)), _TOP + _ROW * (len(passages) + 1)
    lines = "".join(
        f'<text x="{x}" y="20" text-anchor="middle">{html.escape(name)}</text>'
        f'<line x1="{x}" y1="28" x2="{x}" y2="{height}" stroke="#ccc"/>'
        for name, x in place.items()
    )
    arrows = "".join(
        _arrow(place[one.source], place[one.target], _TOP + number * _ROW, one)
        for number, one in enumerate(passages)
        if one.target in place
    )
    return f'<svg width="{width}" height="{height}">{lines}{arrows}</svg>'


def _arrow(start: int, end: int, y: int, passage: Passage) -> str:
    colour = _COLOURS.get(passage.fate, "#a60")
    tip = 5 if end < start else -5
    dashes = ' stroke-dasharray="4"' if passage.kind == "answer" else ""
    words = f"{passage.at:.2f} s: {passage.kind}, {passage.size} bytes, {passage.fate}"
    return (
        f'<g stroke="{colour}" fill="{colour}"><title>{words}</title>'
        f'<line x1="{start}" y1="{y}" x2="{end}" y2="{y}"{dashes}/>'
        f'<path d="M{end} {y}l{tip} -3v6z"/>'
        f'<text x="{min(start, end) + 8}" y="{y - 2}" stroke="none">'
        f"{passage.at:.1f} s · {passage.size}</text></g>"
    )
