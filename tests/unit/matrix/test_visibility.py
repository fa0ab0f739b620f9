from itertools import product
from typing import Any

import pytest

from homeserver.matrix import visibility
from homeserver.matrix.visibility import Viewpoint

from .histories import ALICE, BOB, CHARLIE, open_room

VISIBILITIES = ("world_readable", "shared", "invited", "joined")
MEMBERSHIPS = (None, "leave", "invite", "join", "knock", "ban")


@pytest.mark.parametrize(("visible", "membership"), list(product(VISIBILITIES, MEMBERSHIPS)))
@pytest.mark.parametrize("since", [True, False])
def test_who_sees_an_event(visible: str, membership: str | None, since: bool) -> None:
    expected = (
        visible == "world_readable"
        or membership == "join"
        or (visible == "shared" and since)
        or (visible == "invited" and membership == "invite")
    )
    assert visibility.may_see(visible, membership, has_joined_since=since) is expected


@pytest.mark.parametrize(
    "content", [None, [], {}, {"history_visibility": "odd"}, {"history_visibility": []}]
)
def test_history_is_shared_unless_the_room_says_otherwise(content: Any) -> None:
    assert visibility.visibility_of(content) == "shared"


@pytest.mark.parametrize("visible", VISIBILITIES)
def test_a_room_says_who_sees_its_history(visible: str) -> None:
    assert visibility.visibility_of({"history_visibility": visible}) == visible


def _sees(kind: str, key: str | None, content: dict[str, Any], before: Viewpoint) -> bool:
    room, state = open_room()
    event = room.event(kind, ALICE, key, content, state)
    return visibility.may_see_event(event, BOB, before)


def test_a_change_of_visibility_is_seen_from_either_side() -> None:
    outside, inside = (Viewpoint(name, None, False) for name in ("joined", "world_readable"))
    kind = "m.room.history_visibility"
    assert _sees(kind, "", {"history_visibility": "world_readable"}, outside)
    assert _sees(kind, "", {"history_visibility": "joined"}, inside)
    assert not _sees(kind, "", {"history_visibility": "invited"}, outside)
    assert not _sees(kind, "x", {"history_visibility": "world_readable"}, outside)
    assert not _sees(kind, None, {"history_visibility": "world_readable"}, outside)


def test_ones_own_membership_is_seen_from_either_side() -> None:
    left, joined = (Viewpoint("joined", name, False) for name in ("leave", "join"))
    assert _sees("m.room.member", BOB, {"membership": "join"}, left)
    assert _sees("m.room.member", BOB, {"membership": "ban"}, joined)
    assert not _sees("m.room.member", BOB, {"membership": "invite"}, left)
    assert not _sees("m.room.member", CHARLIE, {"membership": "join"}, left)


def test_another_message_is_seen_as_the_room_was() -> None:
    assert _sees("m.room.message", None, {}, Viewpoint("shared", "leave", True))
    assert not _sees("m.room.message", None, {}, Viewpoint("shared", "leave", False))
