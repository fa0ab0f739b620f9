from homeserver.matrix.identifiers import EventId, RoomAlias, RoomId, ServerName, UserId
from homeserver.storage import aliases, events, rooms, sharing
from homeserver.storage.aliases import Alias
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Room
from homeserver.storage.sharing import Stay
from homeserver.storage.unit_of_work import UnitOfWork
from tests.storage.room_events import ALICE, BOB, ROOM, event, member

BOBS = ServerName("bob.test")
OTHER = RoomId("!other:alice.test")
CAROL = UserId("@carol:bob.test")


async def test_a_room_moves_on(database: Database) -> None:
    room = Room(ROOM, "12", 7, (EventId("$a"),), 3)

    def build(work: UnitOfWork) -> None:
        rooms.save_room(work, room)
        rooms.advance_room(work, ROOM, 8, [EventId("$b"), EventId("$c")], 4)

    await database.write(build)

    found = database.read(lambda view: rooms.find_room(view, ROOM))
    assert found == Room(ROOM, "12", 8, (EventId("$b"), EventId("$c")), 4)
    assert database.read(lambda view: rooms.find_room(view, OTHER)) is None


async def test_memberships_by_room_user_and_server(database: Database) -> None:
    def build(work: UnitOfWork) -> None:
        rooms.save_memberships(
            work, [member(1, ALICE), member(2, BOB, "invite"), member(3, CAROL, "leave")]
        )
        rooms.save_memberships(
            work, [member(4, ALICE, room_id=OTHER), member(5, BOB, room_id=OTHER)]
        )

    await database.write(build)

    def read(wanted: str) -> set[str]:
        found = database.read(lambda view: rooms.members_of(view, ROOM, frozenset({wanted})))
        return {one.user_id for one in found}

    assert (read("join"), read("invite"), read("leave")) == ({ALICE}, {BOB}, {CAROL})
    assert database.read(lambda view: rooms.servers_in_room(view, ROOM)) == {"alice.test", BOBS}
    assert database.read(lambda view: rooms.joined_users(view, OTHER)) == [ALICE, BOB]
    assert database.read(lambda view: rooms.users_sharing_rooms_with(view, ALICE)) == {BOB}
    mine = database.read(lambda view: rooms.rooms_of(view, ALICE, rooms.JOINED))
    assert {one.room_id for one in mine} == {ROOM, OTHER}


async def test_a_forgotten_room_is_listed_no_more_until_we_are_in_it_again(
    database: Database,
) -> None:
    async def save(value: str) -> None:
        await database.write(lambda work: rooms.save_memberships(work, [member(1, ALICE, value)]))

    def listed() -> int:
        return len(
            database.read(lambda view: rooms.rooms_of(view, ALICE, frozenset({"leave", "join"})))
        )

    await save("leave")
    await database.write(lambda work: rooms.forget_room(work, ROOM, ALICE))
    assert listed() == 0
    await save("join")
    assert listed() == 1


async def test_what_came_with_an_invitation_is_kept_and_stripped(database: Database) -> None:
    pdu = {
        "type": "m.room.name",
        "state_key": "",
        "content": {"name": "x"},
        "sender": BOB,
        "depth": 3,
    }
    await database.write(
        lambda work: rooms.save_outside_membership(work, member(1, ALICE, "invite"), [pdu])
    )

    assert database.read(lambda view: rooms.find_outside_state(view, ROOM, ALICE)) == [pdu]
    (stripped,) = database.read(lambda view: rooms.find_stripped_state(view, ROOM, ALICE))
    assert stripped == {key: pdu[key] for key in ("type", "state_key", "content", "sender")}


async def test_a_server_is_sent_what_was_said_while_it_was_in_the_room(
    database: Database,
) -> None:
    def build(work: UnitOfWork) -> None:
        for number in range(1, 9):
            stored = StoredEvent(event(number), position=number, is_ours=number != 4)
            events.save_event(work, stored)
        rooms.save_memberships(work, [member(2, BOB)])
        assert sharing.update_stays(work, ROOM, 2) == frozenset()
        rooms.save_memberships(work, [member(3, CAROL)])
        sharing.update_stays(work, ROOM, 3)
        rooms.save_memberships(work, [member(3, BOB, "leave")])
        assert sharing.update_stays(work, ROOM, 3) == frozenset()
        rooms.save_memberships(work, [member(5, CAROL, "ban")])
        assert sharing.update_stays(work, ROOM, 5) == {BOBS}
        rooms.save_memberships(work, [member(7, BOB)])
        sharing.update_stays(work, ROOM, 7)

    await database.write(build)

    def due(after: int, limit: int = 10) -> list[int | None]:
        found = database.read(lambda view: sharing.own_events_after(view, ROOM, after, limit, BOBS))
        return [one.position for one in found]

    assert due(0) == [2, 3, 5, 7, 8]
    assert due(3) == [5, 7, 8]
    assert due(0, limit=2) == [2, 3]
    stays = database.read(lambda view: sharing.stays_of(view, ROOM, BOBS))
    assert stays == [Stay(2, 5), Stay(7, None)]
    assert database.read(lambda view: sharing.present_servers(view, ROOM)) == {BOBS}


async def test_aliases_are_found_listed_and_deleted(database: Database) -> None:
    alias = Alias(RoomAlias("#a:alice.test"), ROOM, ALICE)
    await database.write(lambda work: aliases.save_alias(work, alias))

    assert database.read(lambda view: aliases.find_alias(view, alias.alias)) == alias
    assert database.read(lambda view: aliases.aliases_of(view, ROOM)) == [alias.alias]
    await database.write(lambda work: aliases.delete_alias(work, alias.alias))
    assert database.read(lambda view: aliases.find_alias(view, alias.alias)) is None
