"""Every room route over HTTP, against one server without peers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api import application
from api.client import (
    directory,
    membership,
    relations,
    rooms,
    sending,
    spaces,
    timeline,
)
from homeserver import errors
from homeserver.ports import Requester
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.creating import RoomCreator
from homeserver.rooms.delaying import DelayedEvents
from homeserver.rooms.directory import RoomDirectory
from homeserver.rooms.members import RoomState
from homeserver.rooms.membership import Membership
from homeserver.rooms.moments import EventsInTime
from homeserver.rooms.related import RelatedEvents
from homeserver.rooms.sending import RoomSender
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.timeline import RoomTimeline
from homeserver.rooms.upgrading import RoomUpgrades
from tests.rooms.servers import CountingEntropy, Server, running

V3 = "/_matrix/client/v3"
TOKEN = {"Authorization": "Bearer right"}


class Api:
    """A client of one server."""

    def __init__(self, http: "TestClient[web.Request, web.Application]", server: Server) -> None:
        self.http, self.server = http, server

    async def call(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        url = path if path.startswith("/_matrix") else V3 + path
        response = await self.http.request(method, url, json=body, headers=TOKEN)
        answer = await response.json()
        assert response.status == status, answer
        return answer

    async def room(self, **body: Any) -> str:
        room_id: str = (await self.call("POST", "/createRoom", body))["room_id"]
        return room_id

    async def say(self, room_id: str, body: str, txn: str, **content: Any) -> str:
        path = f"/rooms/{room_id}/send/m.room.message/{txn}"
        sent: str = (await self.call("PUT", path, {"body": body, **content}))["event_id"]
        return sent


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(tmp_path, "alice") as (alice,):

        def authenticate(token: str) -> Requester:
            if token != "right":
                raise errors.UnknownToken
            return alice.requester

        services = {
            Membership: alice.membership,
            RoomAliases: alice.aliases,
            RoomCreator: alice.creator,
            RoomSender: alice.sender,
            DelayedEvents: DelayedEvents(
                alice.database, alice.sender, alice.clock, CountingEntropy()
            ),
            RoomState: alice.state,
            RoomDirectory: alice.directory,
            RoomUpgrades: alice.upgrades,
            RelatedEvents: alice.related,
            EventsInTime: alice.times,
            Spaces: alice.spaces,
            RoomTimeline: alice.timeline,
        }
        tables = [
            *membership.routes.all,
            *rooms.routes.all,
            *sending.routes.all,
            *timeline.routes.all,
            *timeline.moment_routes.all,
            *directory.routes.all,
            *relations.routes.all,
            *relations.thread_routes.all,
            *spaces.routes.all,
        ]
        served = application.build(tables, services, authenticate)
        async with TestClient(TestServer(served)) as http:
            yield Api(http, alice)


async def test_a_message_sent_twice_is_there_once(api: Api) -> None:
    room_id = await api.room(name="Kitchen")

    first = await api.say(room_id, "hello", "1")
    again = await api.say(room_id, "hello", "1")

    assert first == again
    page = await api.call("GET", f"/rooms/{room_id}/messages?dir=b&limit=5")
    assert [event["event_id"] for event in page["chunk"]].count(first) == 1
    assert page["chunk"][0]["content"] == {"body": "hello"}
    assert page["chunk"][0]["unsigned"]["transaction_id"] == "1"


async def test_state_is_set_and_read_in_every_form(api: Api) -> None:
    room_id = await api.room()
    state = f"/rooms/{room_id}/state"

    await api.call("PUT", f"{state}/m.room.topic", {"topic": "one"})
    assert await api.call("GET", f"{state}/m.room.topic/") == {"topic": "one"}
    await api.call("PUT", f"{state}/m.room.topic/", {"topic": "two"})
    assert await api.call("GET", f"{state}/m.room.topic") == {"topic": "two"}
    await api.call("PUT", f"{state}/org.example.list/a%2Fb", {"at": 1})
    assert await api.call("GET", f"{state}/org.example.list/a%2Fb") == {"at": 1}

    event = await api.call("GET", f"{state}/m.room.topic?format=event")
    assert event["state_key"] == ""
    whole = await api.call("GET", state)
    assert {"m.room.create", "m.room.topic", "org.example.list"} <= {one["type"] for one in whole}
    missing = await api.call("GET", f"{state}/m.room.avatar", status=404)
    assert missing["errcode"] == "M_NOT_FOUND"


async def test_pages_go_on_from_their_end(api: Api) -> None:
    room_id = await api.room()
    sent = [await api.say(room_id, str(number), str(number)) for number in range(5)]

    first = await api.call("GET", f"/rooms/{room_id}/messages?dir=b&limit=2")
    second = await api.call("GET", f"/rooms/{room_id}/messages?dir=b&limit=2&from={first['end']}")
    forth = await api.call("GET", f"/rooms/{room_id}/messages?dir=f&limit=2&from={second['end']}")

    assert [one["event_id"] for one in first["chunk"]] == [sent[4], sent[3]]
    assert [one["event_id"] for one in second["chunk"]] == [sent[2], sent[1]]
    assert [one["event_id"] for one in forth["chunk"]] == [sent[1], sent[2]]


async def test_a_filter_and_its_mistakes(api: Api) -> None:
    room_id = await api.room()
    sent = await api.say(room_id, "picture", "1", url="mxc://a/b")
    await api.say(room_id, "words", "2")

    path = f"/rooms/{room_id}/messages?dir=b&filter="
    page = await api.call("GET", path + '{"contains_url":true,"lazy_load_members":true}')

    assert [one["event_id"] for one in page["chunk"]] == [sent]
    assert [one["state_key"] for one in page["state"]] == [api.server.user]
    assert (await api.call("GET", path + "[]", status=400))["errcode"] == "M_INVALID_PARAM"
    assert (await api.call("GET", f"/rooms/{room_id}/messages", status=400))["errcode"]


async def test_relations_are_paged_and_narrowed(api: Api) -> None:
    room_id = await api.room()
    root = await api.say(room_id, "root", "0")
    thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    replies = [await api.say(room_id, str(one), f"r{one}", **thread) for one in range(3)]
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": root, "key": "+"}}
    await api.call("PUT", f"/rooms/{room_id}/send/m.reaction/x", reaction)

    base = f"/_matrix/client/v1/rooms/{room_id}/relations/{root}"
    everything = await api.call("GET", base)
    threaded = await api.call("GET", f"{base}/m.thread?limit=2")
    rest = await api.call("GET", f"{base}/m.thread?limit=2&from={threaded['next_batch']}")
    typed = await api.call("GET", f"{base}/m.annotation/m.reaction")

    assert len(everything["chunk"]) == 4
    assert [one["event_id"] for one in threaded["chunk"]] == [replies[2], replies[1]]
    assert [one["event_id"] for one in rest["chunk"]] == [replies[0]]
    assert "next_batch" not in rest
    assert len(typed["chunk"]) == 1
    event = await api.call("GET", f"/rooms/{room_id}/event/{root}")
    summary = event["unsigned"]["m.relations"]["m.thread"]
    assert summary["count"] == 3
    assert summary["latest_event"]["event_id"] == replies[2]
    assert summary["current_user_participated"] is True


async def test_members_and_joined_rooms(api: Api) -> None:
    room_id = await api.room()

    members = await api.call("GET", f"/rooms/{room_id}/members?membership=join")
    none = await api.call("GET", f"/rooms/{room_id}/members?not_membership=join")
    joined = await api.call("GET", f"/rooms/{room_id}/joined_members")

    assert [one["state_key"] for one in members["chunk"]] == [api.server.user]
    assert none == {"chunk": []}
    assert list(joined["joined"]) == [api.server.user]
    assert await api.call("GET", "/joined_rooms") == {"joined_rooms": [room_id]}


async def test_context_and_redaction(api: Api) -> None:
    room_id = await api.room()
    sent = await api.say(room_id, "regret", "1")
    await api.call("PUT", f"/rooms/{room_id}/redact/{sent}/r", {"reason": "oops"})

    found = await api.call("GET", f"/rooms/{room_id}/context/{sent}?limit=2")

    assert found["event"]["content"] == {}
    assert found["events_after"][0]["type"] == "m.room.redaction"
    assert found["events_after"][0]["redacts"] == sent
    assert len(found["events_before"]) == 1
    assert {"start", "end", "state"} <= found.keys()


async def test_aliases_and_the_directory(api: Api) -> None:
    room_id = await api.room(visibility="public", name="Kitchen", room_alias_name="kitchen")
    alias = "%23kitchen:alice.test"

    found = await api.call("GET", f"/directory/room/{alias}")
    assert found == {"room_id": room_id, "servers": ["alice.test"]}
    taken = await api.call("PUT", f"/directory/room/{alias}", {"room_id": room_id}, 409)
    assert taken["errcode"] == "M_UNKNOWN"
    assert (await api.call("GET", f"/rooms/{room_id}/aliases"))["aliases"] == [
        "#kitchen:alice.test"
    ]
    assert (await api.call("GET", "/publicRooms"))["chunk"][0]["name"] == "Kitchen"
    wanted = {"filter": {"generic_search_term": "cellar"}}
    assert (await api.call("POST", "/publicRooms", wanted))["chunk"] == []
    await api.call("PUT", f"/directory/list/room/{room_id}", {"visibility": "private"})
    assert (await api.call("GET", f"/directory/list/room/{room_id}")) == {"visibility": "private"}
    await api.call("DELETE", f"/directory/room/{alias}")
    await api.call("GET", f"/directory/room/{alias}", status=404)


async def test_leaving_forgetting_and_what_is_closed_then(api: Api) -> None:
    room_id = await api.room()
    await api.call("POST", f"/rooms/{room_id}/leave", {"reason": "tired"})
    refused = await api.call("PUT", f"/rooms/{room_id}/send/m.room.message/1", {}, 403)
    assert refused["errcode"] == "M_FORBIDDEN"
    await api.call("POST", f"/rooms/{room_id}/forget")
    await api.call("GET", f"/rooms/{room_id}/messages?dir=b", status=403)
    await api.call("GET", f"/rooms/{room_id}/state", status=403)


async def test_inviting_a_stranger_says_what_to_do(api: Api) -> None:
    room_id = await api.room()

    body = {"user_id": "@carol:carol.test"}
    refused = await api.call("POST", f"/rooms/{room_id}/invite", body, 403)
    created = await api.call("POST", "/createRoom", {"invite": ["@carol:carol.test"]}, 403)
    joined = await api.call("POST", "/join/!a:carol.test?via=carol.test", {}, 403)

    for answer in (refused, created, joined):
        assert answer["errcode"] == "M_FORBIDDEN"
        assert "onnect" in answer["error"]


async def test_moderation_by_http(api: Api) -> None:
    room_id = await api.room()
    carol = {"user_id": "@carol:carol.test", "reason": "spam"}

    await api.call("POST", f"/rooms/{room_id}/ban", carol)
    (banned,) = (await api.call("GET", f"/rooms/{room_id}/members?membership=ban"))["chunk"]
    assert banned["content"] == {"membership": "ban", "reason": "spam"}
    await api.call("POST", f"/rooms/{room_id}/unban", carol)
    await api.call("POST", f"/rooms/{room_id}/unban", carol, 403)
    await api.call("POST", f"/rooms/{room_id}/kick", {"user_id": "@nobody:carol.test"}, 403)


async def test_an_unknown_version_is_refused(api: Api) -> None:
    answer = await api.call("POST", "/createRoom", {"room_version": "1"}, 400)
    assert answer["errcode"] == "M_UNSUPPORTED_ROOM_VERSION"


async def test_too_large_an_event_is_refused(api: Api) -> None:
    room_id = await api.room()
    path = f"/rooms/{room_id}/send/m.room.message/1"
    answer = await api.call("PUT", path, {"body": "x" * 66_000}, 413)
    assert answer["errcode"] == "M_TOO_LARGE"
    answer = await api.call("PUT", path, {"price": 1.5}, 400)
    assert answer["errcode"] == "M_BAD_JSON"
