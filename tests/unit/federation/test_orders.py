"""What the owner writes in the Connections room, however their client puts it."""

from typing import Any

import pytest

from federation.connections_room import orders
from federation.connections_room.orders import Order
from homeserver.matrix import events, signing
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.matrix.room_versions import room_version

OWNER = UserId("@alice:alice.example")
KEY = signing.generate(b"k" * 32, "1")
TOLD = EventId("$" + "t" * 43)
YES, NO = "\u2705", "\u274c"


def written(event_type: str = "m.room.message", **content: Any) -> Event:
    draft = Draft(
        room_id=RoomId("!room"),
        type=event_type,
        state_key=None,
        sender=OWNER,
        content=content,
        prev_events=(),
        auth_events=(),
        depth=1,
        origin_server_ts=1,
    )
    return events.build(draft, room_version("12"), ServerName("alice.example"), KEY)


def text(body: str, **content: Any) -> Event:
    return written(msgtype="m.text", body=body, **content)


def reply(body: str) -> Event:
    return text(body, **{"m.relates_to": {"m.in_reply_to": {"event_id": TOLD}}})


def reaction(key: str) -> Event:
    relation = {"rel_type": "m.annotation", "event_id": TOLD, "key": key}
    return written("m.reaction", **{"m.relates_to": relation})


@pytest.mark.parametrize(
    "body",
    ["list", " LIST ", "!list", "**list**", "`list`", "Connections: list", "connections, list"],
)
def test_a_command_is_read_however_it_is_dressed(body: str) -> None:
    assert orders.read([text(body)], OWNER) == [Order(words=("list",))]


def test_a_link_that_ends_like_emphasis_is_left_as_it_is() -> None:
    (read,) = orders.read([text("connect homeserver://connect#abc_")], OWNER)
    assert read == Order(words=("connect", "homeserver://connect#abc_"))


def test_quotes_and_apostrophes_stand_in_names() -> None:
    assert orders.read([text("show 'Old Bob'"), text("show O'Hara")], OWNER) == [
        Order(words=("show", "Old Bob")),
        Order(words=("show", "O'Hara")),
    ]


@pytest.mark.parametrize("key", ["\u2705", "\u2705\ufe0f"])
def test_a_reaction_is_the_same_however_it_is_drawn(key: str) -> None:
    assert orders.read([reaction(key)], OWNER) == [Order(reacts_to=TOLD, reaction=YES)]


def test_the_colour_of_a_hand_says_nothing() -> None:
    (read,) = orders.read([reaction("\U0001f44d\U0001f3fd")], OWNER)
    assert read == Order(reacts_to=TOLD, reaction="\U0001f44d")


@pytest.mark.parametrize(
    ("body", "meant"),
    [("yes", YES), ("Yes.", YES), ("\u2705", YES), ("> <@s> Bob asks\n\nno", NO), ("ok", YES)],
)
def test_a_reply_may_say_what_a_reaction_would(body: str, meant: str) -> None:
    assert orders.read([reply(body)], OWNER) == [Order(reacts_to=TOLD, reaction=meant)]


def test_a_reply_may_be_a_command_below_its_quotation() -> None:
    (read,) = orders.read([reply("> <@s> You are connected\n> with Bob\n\npause bob")], OWNER)
    assert read == Order(words=("pause", "bob"))


def test_nobody_else_and_no_edit_gives_orders() -> None:
    edit = text("* list", **{"m.new_content": {"msgtype": "m.text", "body": "list"}})
    assert orders.read([edit], OWNER) == []
    assert orders.read([text("list")], UserId("@bob:bob.example")) == []
    assert orders.read([written(msgtype="m.image", body="list")], OWNER) == []
