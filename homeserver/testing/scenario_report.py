"""The report of a simulation: one page that needs nothing else, and shows no content.

Who sent what when as a sequence diagram with the story's steps between the boxes, latency and bytes
over time, and how each server ended.
"""

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from homeserver.testing import plots
from homeserver.testing.network import Passage
from homeserver.testing.person import Person
from homeserver.testing.plots import Axes, Series
from homeserver.testing.world import World

_MOST_ARROWS = 400
_MOST_LINES, _MOST_POINTS = 12, 500
_ROOMS = "/_matrix/client/v3/rooms"
_COLUMN, _ROW, _TOP = 220, 16, 40
_COLOURS = {"arrived": "#2a7", "refused": "#999", "lost": "#c33", "damaged": "#c33"}
_STYLE = (
    "body{font:15px system-ui;margin:2em auto;max-width:70em;color:#222}"
    "td,th{padding:.2em 1em .2em 0;text-align:left}svg text{font:11px system-ui}"
)


@dataclass(frozen=True, slots=True)
class Told:
    """A step of the story, and when it began."""

    at: float
    number: int
    word: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How one server ended: what its owner sees, and what it sent, where somebody saw that.

    Peers have their standing, rooms the number of their members.
    """

    name: str
    is_running: bool
    peers: Mapping[str, str]
    rooms: Mapping[str, int]
    waiting: Mapping[str, int]
    boxes: int | None
    sent_bytes: int | None


async def endings(world: World, rooms: Mapping[str, str]) -> list[Ending]:
    """How every server ended. Rooms that are not among these, by name, are known by their ID."""
    names = {room_id: name for name, room_id in rooms.items()}
    return [await _ending(world, name, names) for name in world.people]


def page(
    title: str, outcome: str, world: World, ended: Sequence[Ending], told: Sequence[Told]
) -> str:
    """The page."""
    begun = world.loop.time() - world.now
    passages = [replace(one, at=one.at - begun) for one in world.network.passages]
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
        _sequence(list(world.people), shown, told),
        "<h2>Each server at the end</h2>",
        *map(_section, ended),
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
                _counted(one.peers.values()),
                str(len(one.rooms)),
                "not seen" if one.boxes is None else str(one.boxes),
                "not seen" if one.sent_bytes is None else str(one.sent_bytes),
            )
            for one in ended
        ),
    ]


async def _ending(world: World, name: str, names: Mapping[str, str]) -> Ending:
    person = world.people[name]
    sent = [one.size for one in world.network.passages if one.source == name]
    boxes, size = (len(sent), sum(sent)) if world.network.sees_boxes else (None, None)
    if not person.server.is_running:
        return Ending(name, False, {}, {}, {}, boxes, size)  # noqa: FBT003 - see the field
    whose = {other.server.server_name: other.name for other in world.people.values()}
    peers = {
        whose.get(peer["server_name"], peer["server_name"]): peer["standing"]
        for peer in await person.peers()
    }
    rooms = {
        names.get(room_id, room_id): await _members(person, room_id)
        for room_id in await person.joined_rooms()
    }
    status = await person.status()
    waiting = {"outbox": status["outbox_pending"], "inbox": status["inbox_pending"]}
    return Ending(name, True, peers, rooms, waiting, boxes, size)  # noqa: FBT003


async def _members(person: Person, room_id: str) -> int:
    state = await person.client.request("GET", f"{_ROOMS}/{quote(room_id)}/joined_members")
    return len(state["joined"])


def _counted(standings: Iterable[str]) -> str:
    return ", ".join(
        f"{count} {standing}" for standing, count in sorted(Counter(standings).items())
    )


def _section(one: Ending) -> str:
    """What one server is left with."""
    lines = {
        "peers": [f"{peer}: {standing}" for peer, standing in sorted(one.peers.items())],
        "rooms": [f"{room}, {count} members" for room, count in sorted(one.rooms.items())],
        "waiting": [f"{count} in the {place}" for place, count in one.waiting.items()],
    }
    listed = "".join(
        f"<tr><th>{kind}</th><td>{html.escape('; '.join(found) or 'none')}</td></tr>"
        for kind, found in lines.items()
    )
    runs = "" if one.is_running else "<p>It does not run.</p>"
    return f"<h3>{html.escape(one.name)}</h3>" + (runs or f"<table>{listed}</table>")


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


def _sequence(names: Sequence[str], passages: Sequence[Passage], told: Sequence[Told]) -> str:
    place = {name: _COLUMN // 2 + number * _COLUMN for number, name in enumerate(names)}
    events = _in_order([one for one in passages if one.target in place], told)
    width, height = _COLUMN * max(1, len(names)), _TOP + _ROW * (len(events) + 1)
    lines = "".join(
        f'<text x="{x}" y="20" text-anchor="middle">{html.escape(name)}</text>'
        f'<line x1="{x}" y1="28" x2="{x}" y2="{height}" stroke="#ccc"/>'
        for name, x in place.items()
    )
    rows_ = "".join(
        _step(width, _TOP + number * _ROW, one)
        if isinstance(one, Told)
        else _arrow(place[one.source], place[one.target], _TOP + number * _ROW, one)
        for number, one in enumerate(events)
    )
    return f'<svg width="{width}" height="{height}">{lines}{rows_}</svg>'


def _in_order(passages: Sequence[Passage], told: Sequence[Told]) -> list[Passage | Told]:
    """By time, steps before what they cause; without steps that are before everything shown."""
    first = min((one.at for one in passages), default=0.0)
    last_before = max((one.at for one in told if one.at <= first), default=first)
    steps = [one for one in told if one.at >= last_before]
    return sorted([*steps, *passages], key=lambda one: one.at)


def _step(width: int, y: int, step: Told) -> str:
    return (
        f'<rect x="0" y="{y - 11}" width="{width}" height="{_ROW - 2}" fill="#eef"/>'
        f'<text x="4" y="{y}">{step.at:.1f} s · step {step.number}: {html.escape(step.word)}</text>'
    )


def _arrow(start: int, end: int, y: int, passage: Passage) -> str:
    colour = _COLOURS.get(passage.fate, "#a60")
    tip = 5 if end < start else -5
    dashes = ' stroke-dasharray="4"' if passage.kind == "answer" else ""
    label = html.escape(passage.label or passage.kind)
    words = f"{passage.at:.2f} s: {passage.kind}, {label}, {passage.size} bytes, {passage.fate}"
    return (
        f'<g stroke="{colour}" fill="{colour}"><title>{words}</title>'
        f'<line x1="{start}" y1="{y}" x2="{end}" y2="{y}"{dashes}/>'
        f'<path d="M{end} {y}l{tip} -3v6z"/>'
        f'<text x="{min(start, end) + 8}" y="{y - 2}" stroke="none">'
        f"{passage.at:.1f} s · {label} · {passage.size}</text></g>"
    )
