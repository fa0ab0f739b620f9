"""Megolm sessions as they are kept: one of ours per room, a bounded number of theirs."""

from dataclasses import replace
from typing import Any

import pytest

from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import frames, groups, meetings, peers, sharing
from homeserver.storage.database import Database
from homeserver.storage.groups import GroupCiphertext, GroupSession, InboundGroup
from homeserver.storage.meetings import AGREED, Meeting
from homeserver.storage.unit_of_work import UnitOfWork
from tests.storage.test_federation_tables import PEER

BOB, CAROL = ServerName("bob.example"), ServerName("carol.example")
ROOM, OTHER = RoomId("!room"), RoomId("!other")
OURS = GroupSession(ROOM, b"run", "row", "id", b"key", b"pickle", b"audience", 0, 0, 5)
THEIRS = InboundGroup(BOB, "id", ROOM, b"pickle", 1, 7)


async def test_another_session_takes_the_place_of_the_room_s(database: Database) -> None:
    def operation(work: UnitOfWork) -> None:
        groups.begin_session(work, OURS)
        groups.begin_session(work, replace(OURS, room_id=OTHER))
        after = replace(OURS, session=b"stepped", next_index=2, last_position=9)
        messages = [GroupCiphertext(ROOM, 8, 0, b"one"), GroupCiphertext(ROOM, 9, 1, b"two")]
        groups.save_messages(work, after, messages)
        groups.note_shared(work, ROOM, BOB)
        assert groups.find_session(work, ROOM) == after
        assert groups.messages_between(work, ROOM, 9, 12) == {9: b"two"}
        assert groups.is_shared(work, ROOM, BOB)
        assert not groups.is_shared(work, ROOM, CAROL)
        groups.begin_session(work, replace(OURS, session_id="another", run=b"later"))
        assert groups.messages_between(work, ROOM, 0, 99) == {}
        assert not groups.is_shared(work, ROOM, BOB)
        assert groups.find_session(work, OTHER) is not None
        groups.forget_other_runs(work, b"later")
        assert groups.find_session(work, OTHER) is None
        assert groups.find_session(work, ROOM) is not None

    await database.write(operation)


async def test_ciphertexts_that_nobody_needs_go(database: Database) -> None:
    def operation(work: UnitOfWork) -> None:
        groups.begin_session(work, OURS)
        made = [GroupCiphertext(ROOM, 10 + index, index, b"x") for index in range(6)]
        groups.save_messages(work, OURS, made)
        groups.prune_messages(work, ROOM, 11, 1)
        assert sorted(groups.messages_between(work, ROOM, 0, 99)) == [12, 13, 14, 15]
        groups.prune_messages(work, ROOM, 0, 5)
        assert sorted(groups.messages_between(work, ROOM, 0, 99)) == [15]

    await database.write(operation)


async def test_a_peer_s_sessions_end_and_are_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MOST_INBOUND", 2)

    def operation(work: UnitOfWork) -> None:
        groups.accept_inbound(work, THEIRS)
        groups.accept_inbound(work, replace(THEIRS, peer=CAROL))
        assert groups.find_inbound(work, BOB, "id") == THEIRS
        groups.note_index(work, replace(THEIRS, next_index=5, used_in=9))
        elsewhere = replace(THEIRS, session_id="elsewhere", room_id=OTHER, used_in=8)
        groups.accept_inbound(work, elsewhere)
        assert groups.find_inbound(work, BOB, "id") == replace(THEIRS, next_index=5, used_in=9)
        groups.accept_inbound(work, replace(THEIRS, session_id="next", used_in=10))
        ended = groups.find_inbound(work, BOB, "id")
        assert ended is not None
        assert ended.session is None
        assert groups.find_inbound(work, BOB, "elsewhere") is None  # not used for the longest time
        assert groups.count_inbound(work, BOB) == 2
        groups.forget_peer(work, BOB)
        assert groups.count_inbound(work, BOB) == 0
        assert groups.find_inbound(work, CAROL, "id") == replace(THEIRS, peer=CAROL)

    await database.write(operation)


async def test_whom_a_room_reaches(database: Database) -> None:
    def operation(work: UnitOfWork) -> None:
        others: dict[str, dict[str, Any]] = {
            "carol.example": {"room_id": ROOM},
            "dave.example": {"room_id": OTHER},
            "erin.example": {"standing": "paused"},
        }
        peers.save_peer(work, PEER)
        for name, changes in others.items():
            node_id = name[0] * 52
            peers.save_peer(
                work, replace(PEER, server_name=ServerName(name), node_id=node_id, **changes)
            )
        rows = [
            {"room_id": ROOM, "server": name, "since": since, "until": None}
            for since, name in enumerate(["ours.example", BOB, *others, "stranger.example"], 3)
        ]
        work.upsert_many(sharing.server_stays, rows)
        agreed = Meeting(CAROL, ROOM, AGREED, is_theirs=True, how="", at=1)
        meetings.save(work, agreed)
        before = sharing.audience_of(work, ROOM)
        assert before.connected == {BOB, CAROL}
        assert before.since == 5
        assert sharing.audience_of(work, ROOM) == before
        assert sharing.audience_of(work, OTHER).connected == frozenset()
        peers.change_peer(work, BOB, standing="paused")
        paused = sharing.audience_of(work, ROOM)
        assert paused.connected == {CAROL}
        peers.change_peer(work, BOB, standing="active")
        gone = {"room": ROOM, "gone": "stranger.example", "position": 20}
        work.execute(sharing._END, gone)
        after = sharing.audience_of(work, ROOM)
        assert len({before.stays, paused.stays, after.stays}) == 3

    await database.write(operation)


async def test_how_far_all_peers_have_a_room(database: Database) -> None:
    def operation(work: UnitOfWork) -> None:
        frames.queue_room(work, BOB, ROOM, 10)
        frames.queue_room(work, CAROL, ROOM, 20)
        assert frames.least_acknowledged(work, ROOM, frozenset({BOB, CAROL})) == 9
        assert frames.least_acknowledged(work, ROOM, frozenset({CAROL})) == 19
        assert frames.least_acknowledged(work, OTHER, frozenset({BOB})) is None
        assert frames.least_acknowledged(work, ROOM, frozenset()) is None

    await database.write(operation)
