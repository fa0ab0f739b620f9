"""Peers, channels, outbox and inbox, invitations, audit and notices as they are kept."""

from dataclasses import replace

import pytest
import sqlalchemy

from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import audit, channels, frames, inbox, invitations, notices, peers
from homeserver.storage.channels import Channel, InFlight
from homeserver.storage.database import Database
from homeserver.storage.frames import CONTROL, TO_DEVICE, WaitingRoom
from homeserver.storage.inbox import StoredFrame
from homeserver.storage.invitations import Handshake, Invitation
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

BOB, CAROL = ServerName("bob.example"), ServerName("carol.example")
ROOM, OTHER = RoomId("!room"), RoomId("!other")
PEER = Peer(
    server_name=BOB,
    node_id="b" * 52,
    standing="active",
    standing_before="none",
    name="Bob",
    proof={"card": "x"},
    grants={"messages": True, "profile": "none", "media_max_bytes": 0},
    granted={},
    inviter="b" * 52,
    how="link",
)
CHANNEL = Channel(
    peer=BOB,
    epoch=1,
    highest_epoch=1,
    account=b"account",
    session=b"session",
    previous_epoch=None,
    previous_session=None,
    their_olm_key="key",
    sent=0,
    acknowledged=0,
    received=0,
    received_since_sent=0,
    our_address=b"a" * 16,
    our_door_key=b"k",
    their_address=b"b" * 16,
    their_door_key=b"k",
    routes=b"[]",
    routes_sequence=0,
    told_routes=b"[]",
    told_sequence=0,
    told_card=1,
)


async def test_a_peer_is_kept_and_asked_for_its_grants(database: Database) -> None:
    await database.write(lambda work: peers.save_peer(work, PEER))
    assert database.read(lambda view: peers.find_peer(view, BOB)) == PEER
    assert database.read(lambda view: peers.find_node(view, PEER.node_id)) == PEER
    assert database.read(lambda view: peers.find_node(view, "other")) is None
    for grant, is_granted in {
        "messages": True,
        "profile": False,
        "media": False,
        "typing": False,
        "connection": True,
    }.items():
        assert database.read(lambda view, g=grant: peers.may(view, BOB, g)) is is_granted  # type: ignore[misc]
    await database.write(lambda work: peers.change_peer(work, BOB, alarm="odd", granted={"a": 1}))
    assert not database.read(lambda view: peers.may(view, BOB, "messages"))
    assert not database.read(lambda view: peers.is_active(view, BOB))
    assert database.read(peers.load_peers) == [replace(PEER, alarm="odd", granted={"a": 1})]
    await database.write(lambda work: peers.delete_peer(work, BOB))
    assert database.read(peers.load_peers) == []


async def test_connected_are_the_active_and_the_paused(database: Database) -> None:
    def save(work: UnitOfWork) -> None:
        for standing in ("none", "requested", "offered", "active", "paused", "revoked", "blocked"):
            name = ServerName(f"{standing}.example")
            peers.save_peer(work, replace(PEER, server_name=name, node_id=name, standing=standing))

    await database.write(save)
    connected = database.read(peers.connected_servers)
    assert connected == {"active.example", "paused.example"}


async def test_the_pause_of_everything_is_a_flag_of_its_own(database: Database) -> None:
    assert not database.read(peers.is_everything_paused)
    for is_paused in (True, False):
        await database.write(
            lambda work, p=is_paused: peers.pause_everything(work, is_paused=p)  # type: ignore[misc]
        )
        assert database.read(peers.is_everything_paused) is is_paused


async def test_a_channel_and_its_frame_in_flight(database: Database) -> None:
    flying = InFlight(BOB, 1, 1, "control", 5, b"{}", b"", 0, b"olm", b"", b"{}")

    def save(work: UnitOfWork) -> None:
        channels.save_channel(work, CHANNEL)
        channels.save_in_flight(work, flying)
        channels.change_channel(work, BOB, {"sent": 1, "session": None})
        channels.change_channel(work, BOB, {})

    await database.write(save)
    changed = replace(CHANNEL, sent=1, session=None)
    assert database.read(lambda view: channels.find_channel(view, BOB)) == changed
    assert database.read(channels.load_channels) == [changed]
    assert database.read(lambda view: channels.find_in_flight(view, BOB)) == flying
    assert database.read(lambda view: channels.has_in_flight(view, BOB))
    await database.write(lambda work: channels.delete_channel(work, BOB))
    assert database.read(lambda view: channels.find_channel(view, BOB)) is None
    assert not database.read(lambda view: channels.has_in_flight(view, BOB))


async def test_a_room_waits_from_just_before_its_first_event(database: Database) -> None:
    woken: list[int] = []
    database.wake_ups.listen(frames.outbox_topic(BOB), lambda: woken.append(1))

    def queue(work: UnitOfWork) -> tuple[int, int]:
        first = work.next_position()
        frames.queue_room(work, BOB, ROOM)
        second = work.next_position()
        work.next_position()
        frames.queue_room(work, BOB, ROOM, second)
        frames.queue_room(work, CAROL, OTHER)
        return first, second

    first, second = await database.write(queue)
    waiting = database.read(lambda view: frames.waiting_rooms(view, BOB, 10))
    assert waiting == [WaitingRoom(ROOM, first - 1, second)]
    assert woken
    await database.write(lambda work: frames.settle_rooms(work, BOB, {ROOM: second}))
    await database.write(lambda work: frames.settle_rooms(work, BOB, {ROOM: first}))
    assert not database.read(lambda view: frames.has_waiting(view, BOB))
    assert database.read(lambda view: frames.has_waiting(view, CAROL))
    await database.write(lambda work: frames.delete_room(work, CAROL, OTHER))
    assert not database.read(lambda view: frames.has_waiting(view, CAROL))


async def test_items_leave_their_lane_in_order_and_beyond_its_bound(database: Database) -> None:
    def queue(work: UnitOfWork) -> None:
        for number in range(10):
            frames.queue_item(work, BOB, TO_DEVICE, "kind", {"n": number})
        frames.queue_item(work, BOB, CONTROL, "other", {})

    await database.write(queue)
    items = database.read(lambda view: frames.waiting_items(view, BOB, TO_DEVICE, 3))
    assert [item.body for item in items] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']
    await database.write(lambda work: frames.settle_items(work, [items[0].number]))
    spared = frozenset({items[1].number})
    lost = await database.write(lambda work: frames.prune_items(work, BOB, TO_DEVICE, 4, spared))
    assert lost == 4
    left = database.read(lambda view: frames.waiting_items(view, BOB, TO_DEVICE, 99))
    assert [item.body for item in left] == [
        b'{"n":1}',
        b'{"n":6}',
        b'{"n":7}',
        b'{"n":8}',
        b'{"n":9}',
    ]
    assert database.read(lambda view: frames.losses(view, BOB)) == {TO_DEVICE: 4}
    counted = database.read(lambda view: frames.count_waiting(view, BOB))
    assert counted == {"rooms": 0, "newest": 0, TO_DEVICE: 5, CONTROL: 1}


async def test_age_counts_from_the_first_look(database: Database) -> None:
    await database.write(lambda work: frames.queue_item(work, BOB, CONTROL, "kind", {}))
    lost = [
        await database.write(lambda work, t=at: frames.prune_aged(work, BOB, t, 100))  # type: ignore[misc]
        for at in (1_000, 1_100, 1_101)
    ]
    assert lost == [0, 0, 1]


async def test_only_the_newest_waits_and_a_newer_one_outlives_an_acknowledgement(
    database: Database,
) -> None:
    for number in (1, 2):
        await database.write(
            lambda work, n=number: frames.queue_newest(work, BOB, "receipt", {"n": n})  # type: ignore[misc]
        )
    (sent,) = database.read(lambda view: frames.waiting_newest(view, BOB, 10))
    assert sent.edu == b'{"n":2}'
    await database.write(lambda work: frames.queue_newest(work, BOB, "receipt", {"n": 3}))
    settled = [(sent.key, sent.digest)]
    await database.write(lambda work: frames.settle_newest(work, BOB, settled))
    (newer,) = database.read(lambda view: frames.waiting_newest(view, BOB, 10))
    assert newer.edu == b'{"n":3}'
    settled = [(newer.key, newer.digest)]
    await database.write(lambda work: frames.settle_newest(work, BOB, settled))
    assert not database.read(lambda view: frames.has_waiting(view, BOB))


async def test_frames_are_worked_off_in_the_order_they_came(database: Database) -> None:
    def save(work: UnitOfWork) -> None:
        for sequence in (1, 2, 3):
            frame = StoredFrame(0, BOB, sequence, "control", 5, b"{}")
            inbox.save_frame(work, BOB, frame)
        inbox.save_frame(work, CAROL, StoredFrame(0, CAROL, 1, "control", 5, b"{}"))

    await database.write(save)
    waiting = database.read(lambda view: inbox.next_frames(view, BOB, 2))
    assert [frame.sequence for frame in waiting] == [1, 2]
    await database.write(lambda work: inbox.delete_frame(work, waiting[0].number))
    assert database.read(lambda view: inbox.count_frames(view, BOB)) == 2
    await database.write(lambda work: frames.delete_everything(work, BOB))
    assert database.read(lambda view: inbox.count_frames(view, BOB)) == 0
    assert database.read(lambda view: inbox.count_frames(view, CAROL)) == 1


async def test_invitations_and_handshakes(database: Database) -> None:
    invitation = Invitation("0f" * 16, b"secret", "open", "link", False, None, None, 1, 2)
    handshake = Handshake(
        "key",
        "inviter",
        "waiting",
        invitation.intake,
        "node",
        BOB,
        False,
        "hash",
        b"",
        b"",
        b"",
        b"",
        b"",
        1,
        2,
    )

    def save(work: UnitOfWork) -> None:
        invitations.save_invitation(work, invitation)
        invitations.save_handshake(work, handshake)
        invitations.save_handshake(work, replace(handshake, state="accepted"))
        invitations.change_invitation(work, invitation.intake, ticket="bound", is_warned=True)

    await database.write(save)
    changed = replace(invitation, ticket="bound", is_warned=True)
    found = database.read(lambda view: invitations.find_invitation(view, invitation.intake))
    assert found == changed
    assert database.read(invitations.load_invitations) == [changed]
    accepted = replace(handshake, state="accepted")
    assert database.read(lambda view: invitations.find_handshake(view, "key")) == accepted
    assert database.read(lambda view: invitations.handshakes_with(view, "node")) == [accepted]
    await database.write(invitations.void_all)
    assert database.read(invitations.load_handshakes) == []
    assert database.read(invitations.load_invitations)[0].ticket == "void"


async def test_the_audit_trail_only_grows(database: Database) -> None:
    entries = [
        audit.Entry(at, "node", BOB, "owner", "step", "link", "none", "offered") for at in (1, 2, 3)
    ]
    for entry in entries:
        await database.write(lambda work, e=entry: audit.record(work, e))  # type: ignore[misc]
    assert database.read(audit.trail) == entries
    assert database.read(lambda view: audit.trail(view, "node", 2)) == entries[1:]
    assert database.read(lambda view: audit.trail(view, "other")) == []


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET who = 'nobody'", "DELETE FROM audit"], ids=["change", "delete"]
)
async def test_the_database_refuses_to_touch_the_audit_trail(
    database: Database, statement: str
) -> None:
    entry = audit.Entry(1, "node", BOB, "owner", "step", "link", "none", "offered")
    await database.write(lambda work: audit.record(work, entry))
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="only added to"):
        await database.write(lambda work: work.execute(sqlalchemy.text(statement)))
    assert database.read(audit.trail) == [entry]


async def test_of_whom_nothing_else_is_left_the_trail_still_knows(database: Database) -> None:
    entry = audit.Entry(1, "node", BOB, "owner", "step", "link", "none", "offered")
    await database.write(lambda work: audit.record(work, entry))
    assert database.read(lambda view: audit.find_node(view, BOB)) == "node"
    assert database.read(lambda view: audit.find_node(view, "node")) == "node"
    assert database.read(lambda view: audit.find_node(view, "")) is None
    assert database.read(lambda view: audit.has_since(view, "node", "step", 0))
    assert not database.read(lambda view: audit.has_since(view, "node", "step", 1))


async def test_notices_are_told_once(database: Database) -> None:
    for at in (1, 2):
        await database.write(
            lambda work, t=at: notices.tell_owner(work, t, "alarm", "node", {"n": t})  # type: ignore[misc]
        )
    first, second = database.read(notices.untold)
    assert (first.content, second.content) == ({"n": 1}, {"n": 2})
    await database.write(lambda work: notices.mark_told(work, first.number))
    assert database.read(notices.untold) == [second]
    assert [notice.at for notice in database.read(notices.newest)] == [2, 1]
