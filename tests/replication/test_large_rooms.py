"""A room of fifty servers: a newcomer joins it by way of one, and reads what was said."""

from homeserver.matrix.identifiers import RoomId
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.creating import Wish
from homeserver.rooms.timeline import PageRequest, RoomTimeline
from homeserver.sync.filters import RoomEventFilter
from tests.benchmark.crowd import Crowd
from tests.replication.stack import Server, settle

SERVERS, SAID = 48, 350


async def test_a_newcomer_joins_a_room_of_fifty_servers_and_reads_it(
    pair: tuple[Server, Server],
) -> None:
    alice, bob = pair
    room_id = await alice.creator.create(alice.requester, Wish(preset="public_chat"))
    crowd = Crowd.of(SERVERS)
    await crowd.enter(alice.database, room_id, SERVERS)
    await crowd.talk(alice.database, room_id, SERVERS, SAID)

    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await settle(alice, bob)
    assert bob.state(room_id) == alice.state(room_id)
    members = [key for key in bob.state(room_id) if key[0] == "m.room.member"]
    assert len(members) == SERVERS + 2
    # The join takes the state and no history; the state is all that was asked for.
    assert {operation for _, operation in bob.wire.asked} <= {
        "make_join",
        "send_join",
        "state",
        "cards",
    }
    said = await read_back(bob, room_id, SAID)
    assert [int(text.split()[0]) for text in said] == list(range(SAID))


async def read_back(server: Server, room_id: RoomId, wanted: int) -> list[str]:
    """What a client reads page by page, the oldest first."""
    backfilling = Backfilling(server.database, server.wire, server.fetching.verify)
    timeline = RoomTimeline(server.database, server.clock, backfilling)
    found: list[str] = []
    start: str | None = None
    while len(found) < wanted:
        request = PageRequest(limit=100, wanted=RoomEventFilter(), start=start)
        page = await timeline.messages(server.requester, room_id, request)
        found += [one["content"]["body"] for one in page["chunk"] if "body" in one["content"]]
        if "end" not in page:
            break
        start = page["end"]
    return found[::-1]
