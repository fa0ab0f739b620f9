"""Profiles: the owner's, told to rooms, and those of people on other servers."""

from typing import Any

import pytest

from homeserver.accounts import profile
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.storage import rooms
from homeserver.storage.rooms import Membership
from tests.accounts.serving import ALICE, BOB, Device, Served

MINE = f"/profile/{ALICE}"


async def test_an_account_begins_with_a_display_name(alice: Device) -> None:
    assert await alice.get(MINE) == {"displayname": "alice"}


async def test_a_fresh_name_is_told_to_every_room_once(served: Served, alice: Device) -> None:
    for _ in range(2):
        await alice.put(f"{MINE}/displayname", {"displayname": "Alice W."})
    assert await alice.get(f"{MINE}/displayname") == {"displayname": "Alice W."}
    assert served.told_rooms == [(ALICE, "Alice W.", None)]


async def test_further_fields_are_kept_but_not_told_to_rooms(served: Served, alice: Device) -> None:
    await alice.put(f"{MINE}/m.tz", {"m.tz": "Europe/London"})
    await alice.put(f"{MINE}/org.example.pets", {"org.example.pets": [{"cats": 2}, None]})
    assert await alice.get(f"{MINE}/org.example.pets") == {"org.example.pets": [{"cats": 2}, None]}
    assert await alice.ask("DELETE", f"{MINE}/m.tz") == (200, {})
    assert "m.tz" not in await alice.get(MINE)
    assert served.told_rooms == []


async def test_an_empty_avatar_takes_it_away(alice: Device) -> None:
    await alice.put(f"{MINE}/avatar_url", {"avatar_url": "mxc://alice.example/abc"})
    await alice.put(f"{MINE}/avatar_url", {"avatar_url": ""})
    status, answer = await alice.ask("GET", f"{MINE}/avatar_url")
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("field", "body", "errcode"),
    [
        ("displayname", {}, "M_MISSING_PARAM"),
        ("displayname", {"displayname": 5}, "M_INVALID_PARAM"),
        ("displayname", {"displayname": "x" * 257}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": "https://example.org/a.png"}, "M_INVALID_PARAM"),
        ("Nickname", {"Nickname": "x"}, "M_INVALID_PARAM"),
        ("a." + "b" * 254, {}, "M_KEY_TOO_LARGE"),
        ("org.example.x", {"org.example.x": "x" * 65_536}, "M_PROFILE_TOO_LARGE"),
    ],
)
async def test_wrong_fields_are_refused(alice: Device, field: str, body: Any, errcode: str) -> None:
    status, answer = await alice.ask("PUT", f"{MINE}/{field}", body)
    assert (status, answer["errcode"]) == (400, errcode)


async def test_another_persons_profile_cannot_be_changed(alice: Device) -> None:
    status, answer = await alice.ask("PUT", f"/profile/{BOB}/displayname", {"displayname": "x"})
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


async def test_without_a_token_there_are_no_profiles(alice: Device) -> None:
    async with alice.http.get(f"/_matrix/client/v3{MINE}") as response:
        assert (response.status, (await response.json())["errcode"]) == (401, "M_MISSING_TOKEN")


@pytest.mark.parametrize("user", [BOB, "@nobody:alice.example"])
async def test_an_unknown_person_has_no_profile(alice: Device, user: str) -> None:
    status, answer = await alice.ask("GET", f"/profile/{user}")
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


async def test_a_peer_that_is_awake_is_asked_and_not_believed_everything(
    served: Served, alice: Device
) -> None:
    served.peers.answers["query/profile"] = lambda _: {
        "displayname": "Bob",
        "avatar_url": "https://tracker.example/pixel.png",
    }
    assert await alice.get(f"/profile/{BOB}") == {"displayname": "Bob"}
    assert served.peers.asked == [("bob.example", "query/profile", {"user_id": BOB})]


async def test_while_a_peer_sleeps_a_shared_room_knows_the_name(
    served: Served, alice: Device
) -> None:
    member = Membership(
        RoomId("!r:alice.example"), BOB, "join", EventId("$e"), 1, display_name="Bob of the room"
    )
    await served.database.write(lambda work: rooms.save_memberships(work, [member]))
    assert await alice.get(f"/profile/{BOB}") == {"displayname": "Bob of the room"}


async def test_a_peer_learns_what_is_in_the_profile(served: Served, alice: Device) -> None:
    await alice.put(f"{MINE}/m.tz", {"m.tz": "Europe/London"})
    whole = served.database.read(lambda view: profile.answer_query(view, ALICE))
    name = served.database.read(lambda view: profile.answer_query(view, ALICE, "displayname"))
    assert whole == {"displayname": "alice", "m.tz": "Europe/London"}
    assert name == {"displayname": "alice"}
