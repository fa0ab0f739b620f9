"""What the owner wrote into the Connections room, read as orders. Pure."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, UserId

_MOST_CHARACTERS = 8_000
_MOST_OF_A_SIGN = 4
# How a sign is drawn says nothing: as a picture or not, with which colour of skin.
_DRAWING = re.compile("[\ufe0f\U0001f3fb-\U0001f3ff]")
# A person who is called by its name and then told something, as one would in a room of many.
_ADDRESSED = re.compile(r"\Aconnections\s*[:,]\s*", re.IGNORECASE)
_EMPHASIS = "*_`"
# What a reply means, where a word says what a reaction would.
_IN_WORDS = {"yes": "\u2705", "y": "\u2705", "ok": "\u2705", "no": "\u274c", "n": "\u274c"}


@dataclass(frozen=True, slots=True)
class Order:
    """One command with its words, or a reaction to a message."""

    words: tuple[str, ...] = ()
    reacts_to: EventId | None = None
    reaction: str = ""


def read(events: Iterable[Event], owner: UserId) -> list[Order]:
    """The orders among some events, in their order. Nobody but the owner gives any."""
    found = [_read(event) for event in events if event.sender == owner]
    return [order for order in found if order is not None]


def _read(event: Event) -> Order | None:
    if event.type == "m.reaction":
        return _reaction(event)
    body = event.content.get("body")
    if event.type != "m.room.message" or event.content.get("msgtype") != "m.text":
        return None
    if not isinstance(body, str) or "m.new_content" in event.content:
        return None
    text, target = body[:_MOST_CHARACTERS], _replied_to(event)
    if target is None:
        return Order(words=_words(text))
    said = _without_quotation(text)
    answer = _IN_WORDS.get(said.lower().rstrip("."), said)
    if len(answer) <= _MOST_OF_A_SIGN and not answer.isalnum():
        return Order(reacts_to=target, reaction=_DRAWING.sub("", answer))
    return Order(words=_words(said))


def _reaction(event: Event) -> Order | None:
    relation = event.content.get("m.relates_to")
    if not isinstance(relation, dict):
        return None
    target, key = relation.get("event_id"), relation.get("key")
    if not isinstance(target, str) or not isinstance(key, str):
        return None
    return Order(reacts_to=EventId(target), reaction=_DRAWING.sub("", key))


def _replied_to(event: Event) -> EventId | None:
    """Spec: client-server-api#rich-replies."""
    relation = event.content.get("m.relates_to")
    replied = relation.get("m.in_reply_to") if isinstance(relation, dict) else None
    target = replied.get("event_id") if isinstance(replied, dict) else None
    return EventId(target) if isinstance(target, str) else None


def _without_quotation(body: str) -> str:
    """What was written, without the quotation that older clients put before it."""
    lines = body.split("\n")
    while lines and lines[0].startswith(">"):
        lines.pop(0)
    return "\n".join(lines).strip()


def _words(body: str) -> tuple[str, ...]:
    """Words as a shell splits them; an apostrophe in a name is no reason to refuse."""
    text = _plain(_ADDRESSED.sub("", body.strip()).strip()).removeprefix("!")
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return (words[0].lower(), *words[1:]) if words else ()


def _plain(text: str) -> str:
    """Without what surrounds all of it, such as the stars of bold letters."""
    while len(text) > 1 and text[0] == text[-1] and text[0] in _EMPHASIS:
        text = text[1:-1].strip()
    return text
