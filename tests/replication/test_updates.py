"""What travels beside events: typing, receipts, presence, keys, messages, files, profiles."""

from collections.abc import AsyncIterator
from functools import partial

import pytest

from federation.replication import greetings, service
from homeserver import errors
from homeserver.encryption.device_keys import DeviceKeys
from homeserver.encryption.to_device import ToDevice
from homeserver.encryption.uploading import KeyUploads
from homeserver.ephemeral import Receipts, audience
from homeserver.ephemeral.receipts import Marker
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, ServerName
from homeserver.media import Media
from homeserver.storage import accounts, encryption, ephemeral, meetings, notices, peers
from homeserver.storage.meetings import AGREED, Meeting
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.testing import device_secrets
from tests.replication.stack import Server, deliver, settle, take_in
from tests.replication.test_rooms_of_two import shared_room

Pair = tuple[Server, Server]


async def upload_keys(server: Server) -> None:
    device = (server.user, server.requester.device_id)
    keys = device_secrets.device_keys(*device)
    fallback = device_secrets.one_time_keys(*device, "AAAA", fallback=True)
    await KeyUploads(server.database, server.clock).upload(server.requester, keys, {}, fallback)


def edu(kind: str, content: JsonObject) -> JsonObject:
    return {"pdus": [], "edus": [{"edu_type": kind, "content": content}], "items": []}


async def test_typing_reaches_the_board_and_is_believed_of_ones_own_users_only(
    pair: Pair,
) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    for user in (alice.user, bob.user):
        told = {"room_id": room_id, "user_id": user, "typing": True}
        await take_in(bob, alice.name, "transaction", edu("m.typing", told))
    assert bob.board.typists(room_id) == [alice.user]


@pytest.mark.parametrize("grant", ["typing", "presence", "receipts"])
async def test_what_belongs_to_a_moment_goes_only_where_it_is_granted(
    pair: Pair, grant: str
) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)

    def set_grant(work: UnitOfWork, *, is_given: bool) -> list[ServerName]:
        peer = peers.find_peer(work, bob.name)
        assert peer is not None
        peers.change_peer(work, bob.name, grants=peer.grants | {grant: is_given})
        sharing_rooms = audience.peers_sharing_rooms(work, alice.user, grant)
        assert sharing_rooms == audience.peers_in(work, room_id, grant)
        return sharing_rooms

    for is_given in (True, False):
        told = await alice.database.write(partial(set_grant, is_given=is_given))
        assert told == ([bob.name] if is_given else [])


async def test_receipts_arrive(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    said = EventId(await alice.say(room_id, "read me"))
    await settle(alice, bob)
    await Receipts(bob.database, bob.clock).mark(bob.requester, room_id, [Marker("m.read", said)])
    await settle(alice, bob)
    found = alice.database.read(lambda view: ephemeral.receipts_of_rooms(view, [room_id]))
    assert [(one.user_id, one.event_id) for one in found] == [(bob.user, said)]


async def test_without_the_grant_a_receipt_is_dropped(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    said = await alice.say(room_id, "read me")
    granted = alice.database.read(lambda view: peers.find_peer(view, bob.name))
    assert granted is not None
    changed = granted.grants | {"receipts": False}
    await alice.database.write(lambda work: peers.change_peer(work, bob.name, grants=changed))
    seen: JsonObject = {room_id: {"m.read": {bob.user: {"event_ids": [said], "data": {"ts": 1}}}}}
    await take_in(alice, bob.name, "transaction", edu("m.receipt", seen))
    assert alice.database.read(lambda view: ephemeral.receipts_of_rooms(view, [room_id])) == []


async def test_presence_arrives_of_users_who_share_a_room(pair: Pair) -> None:
    alice, bob = pair
    await shared_room(alice, bob)
    told = {"push": [{"user_id": bob.user, "presence": "online", "last_active_ago": 5}]}
    await take_in(alice, bob.name, "transaction", edu("m.presence", told))
    found = alice.database.read(lambda view: ephemeral.find_presence(view, bob.user))
    assert found is not None
    assert found.state == "online"


async def test_messages_to_devices_arrive_in_order(pair: Pair) -> None:
    alice, bob = pair
    sender = ToDevice(alice.database, alice.clock, alice.name)
    for number in range(3):
        await sender.send(
            alice.requester,
            "m.room.encrypted",
            f"txn{number}",
            {bob.user: {bob.requester.device_id: {"number": number}}},
        )
    await settle(alice, bob)
    inbox = bob.database.read(
        lambda view: encryption.to_device_since(
            view, bob.user, bob.requester.device_id, 0, bob.database.position, 10
        )
    )
    assert [b'"number":%d' % number in one.message for number, one in enumerate(inbox)] == [
        True
    ] * 3


async def test_one_bad_edu_does_not_spoil_the_others(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    typing = {"room_id": room_id, "user_id": alice.user, "typing": True}
    body = {
        "pdus": [],
        "edus": [
            {"edu_type": "m.direct_to_device", "content": {"sender": bob.user}},
            {"edu_type": "m.direct_to_device"},
            {"edu_type": "m.typing", "content": typing},
        ],
        "items": [{"kind": "m.direct_to_device"}, {"kind": "m.direct_to_device", "body": {}}],
    }
    await take_in(bob, alice.name, "transaction", body)
    assert bob.board.typists(room_id) == [alice.user]


async def test_a_deposit_lets_us_write_to_somebody_who_sleeps(pair: Pair) -> None:
    alice, bob = pair
    await upload_keys(bob)
    await bob.database.write(lambda work: greetings.greet(work, alice.name, 1))
    await deliver(bob, alice)
    alice.reachable.clear()
    keys = DeviceKeys(alice.database, alice.wire, alice.clock, alice.name)
    queried = await keys.query(alice.requester, {bob.user: []})
    assert list(queried["device_keys"][bob.user]) == [bob.requester.device_id]
    wanted: dict[str, dict[str, str]] = {bob.user: {bob.requester.device_id: "signed_curve25519"}}
    claimed = await keys.claim(wanted)
    assert claimed["failures"] == {}
    assert "fallback" in str(claimed["one_time_keys"][bob.user])


async def test_keys_are_asked_of_a_peer_that_is_awake(pair: Pair) -> None:
    alice, bob = pair
    await upload_keys(bob)
    keys = DeviceKeys(alice.database, alice.wire, alice.clock, alice.name)
    queried = await keys.query(alice.requester, {bob.user: []})
    assert list(queried["device_keys"][bob.user]) == [bob.requester.device_id]
    wanted: dict[str, dict[str, str]] = {bob.user: {bob.requester.device_id: "signed_curve25519"}}
    assert (await keys.claim(wanted))["one_time_keys"][bob.user]
    assert {operation for _, operation in alice.wire.asked} == {
        "user/keys/query",
        "user/keys/claim",
    }


@pytest.mark.parametrize("size", [0, 5, 192 * 1024, 500_000])
async def test_a_file_is_fetched_in_parts(pair: Pair, size: int) -> None:
    alice, bob = pair
    content = bytes(index % 251 for index in range(size))
    uri = await _upload(alice.media, content)
    served = await bob.media.download(alice.name, uri)
    assert served.path.read_bytes() == content
    assert served.content_type == "text/plain"


async def _upload(media: Media, content: bytes) -> str:
    async def parts() -> AsyncIterator[bytes]:
        yield content

    return (await media.upload(parts(), "text/plain", "note.txt")).media_id


async def test_a_file_that_is_not_ours_is_not_handed_out(pair: Pair) -> None:
    alice, bob = pair
    with pytest.raises(errors.NotFound):
        await bob.media.download(alice.name, "AAAAAAAAAAAAAAAAAAAAAAAA")


@pytest.mark.parametrize(
    ("granted", "shown"),
    [("all", {"displayname": "alice", "m.tz": "Europe/Rome"}), ("name", {"displayname": "alice"})],
)
async def test_a_profile_shows_as_much_as_the_grant_allows(
    pair: Pair, granted: str, shown: JsonObject
) -> None:
    alice, bob = pair
    await _set_profile(alice, bob, granted)
    assert await bob.wire.ask(alice.name, "query/profile", {"user_id": alice.user}) == shown


async def test_a_profile_is_refused_without_the_grant(pair: Pair) -> None:
    alice, bob = pair
    await _set_profile(alice, bob, "none")
    with pytest.raises(errors.PeerRefused):
        await bob.wire.ask(alice.name, "query/profile", {"user_id": alice.user})
    with pytest.raises(errors.Forbidden):
        await alice.answers.answer(bob.name, "query/profile", {"user_id": alice.user})


async def _set_profile(alice: Server, bob: Server, granted: str) -> None:
    def save(work: UnitOfWork) -> None:
        profile = b'{"displayname":"alice","m.tz":"Europe/Rome"}'
        accounts.save_profile(work, alice.user, profile)
        peer = peers.find_peer(work, bob.name)
        assert peer is not None
        peers.change_peer(work, bob.name, grants=peer.grants | {"profile": granted})

    await alice.database.write(save)


async def test_every_operation_that_is_answered_names_its_grant(pair: Pair) -> None:
    alice, bob = pair
    with pytest.raises(errors.Unrecognized):
        await alice.answers.answer(bob.name, "make_coffee", {})


@pytest.mark.parametrize("body", [{}, {"room_id": 1}, {"room_id": "!x", "limit": -1}])
@pytest.mark.parametrize("operation", ["backfill", "state_ids", "event", "make_join", "cards"])
async def test_a_question_that_makes_no_sense_is_refused(
    pair: Pair, operation: str, body: JsonObject
) -> None:
    alice, bob = pair
    with pytest.raises(errors.BadJson):
        await alice.answers.answer(bob.name, operation, body)


async def test_a_transaction_and_the_row_of_its_frame_are_one(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    await alice.say(room_id, "once")
    pdu = alice.timeline(room_id)[-1].event.pdu
    content = {
        "sender": alice.user,
        "type": "m.dummy",
        "message_id": "1",
        "messages": {bob.user: {"*": {"body": "once"}}},
    }
    parts: JsonObject = {
        "pdus": [pdu],
        "hidden_pdus": [],
        "edus": [{"edu_type": "m.direct_to_device", "content": content}],
    }

    def crash(_work: UnitOfWork) -> None:
        raise RuntimeError

    def count() -> int:
        return len(
            bob.database.read(
                lambda view: encryption.to_device_since(
                    view, bob.user, bob.requester.device_id, 0, bob.database.position, 10
                )
            )
        )

    with pytest.raises(RuntimeError):
        await service.take_in_transaction(bob.intake, bob.updates, alice.name, parts, crash)
    assert (bob.texts(room_id), count()) == ([], 0)
    done: list[bool] = []
    await service.take_in_transaction(
        bob.intake, bob.updates, alice.name, parts, lambda _work: done.append(True)
    )
    assert (bob.texts(room_id), count(), done) == (["once"], 1, [True])


async def test_a_connection_for_one_room_carries_that_room_only(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    other_id = await shared_room(alice, bob)
    for server, peer in ((alice, bob), (bob, alice)):
        await server.database.write(
            lambda work, peer=peer: peers.change_peer(work, peer.name, room_id=room_id)  # type: ignore[misc]
        )
        met = Meeting(peer.name, room_id, AGREED, is_theirs=True, how="", at=1)
        await server.database.write(lambda work, met=met: meetings.save(work, met))  # type: ignore[misc]
    await alice.say(room_id, "carried")
    await alice.say(other_id, "not carried")
    await settle(alice, bob)
    assert bob.texts(room_id) == ["carried"]
    assert bob.texts(other_id) == []
    newest = alice.timeline(other_id)[-1].event
    await bob.intake.take_in(alice.name, [newest.pdu])
    assert bob.texts(other_id) == []
    with pytest.raises(errors.NotInRoom):
        await alice.answers.answer(
            bob.name, "event", {"room_id": other_id, "event_ids": [newest.event_id]}
        )


async def test_the_owner_is_told_once_a_day_of_a_deposit_that_is_wrong(pair: Pair) -> None:
    alice, bob = pair
    wrong: JsonObject = {"users": {alice.user: {}}}  # Bob's server speaks for Bob only

    def take(work: UnitOfWork) -> None:
        for _ in range(2):
            with pytest.raises(errors.HomeserverError):
                alice.updates.take_in_deposit(work, bob.name, wrong)

    await alice.database.write(take)
    told = alice.database.read(notices.newest)
    assert [(one.kind, one.content["server_name"]) for one in told] == [
        ("deposit_refused", bob.name)
    ]
