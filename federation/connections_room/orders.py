"""What the owner wrote into the Connections room, read as orders. Pure."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, UserId

_MOST_CHARACTERS = 8_000
_VARIATION = "\ufe0f"


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
    return Order(words=_words(body[:_MOST_CHARACTERS]))


def _reaction(event: Event) -> Order | None:
    relation = event.content.get("m.relates_to")
    if not isinstance(relation, dict):
        return None
    target, key = relation.get("event_id"), relation.get("key")
    if not isinstance(target, str) or not isinstance(key, str):
        return None
    return Order(reacts_to=EventId(target), reaction=key.replace(_VARIATION, ""))


def _words(body: str) -> tuple[str, ...]:
    """Words as a shell splits them; an apostrophe in a name is no reason to refuse."""
    text = body.strip().removeprefix("!")
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return (words[0].lower(), *words[1:]) if words else ()
