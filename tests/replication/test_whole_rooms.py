"""A room is entered with all of its state or not at all, however many servers made it."""

import pytest

from federation.replication import fetching
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms.creating import Wish
from homeserver.rooms.drafting import Intent
from tests.benchmark.crowd import Crowd
from tests.replication.stack import Server, connect, settle
from tests.replication.test_holding import hand_over, holding_of, waiting_in

Pair = tuple[Server, Server]
Trio = tuple[Server, Server, Server]

# More than the answer to one question for cards holds.
SERVERS = 130


async def crowded_room(alice: Server, servers: int = SERVERS) -> tuple[RoomId, Crowd]:
    room_id = await alice.creator.create(alice.requester, Wish(preset="public_chat"))
    crowd = Crowd.of(servers)
    await crowd.enter(alice.database, room_id, servers)
    return room_id, crowd


def without_cards(operation: str, answer: JsonObject) -> JsonObject:
    return answer | ({"cards": []} if "cards" in answer or operation == "cards" else {})


async def test_a_room_of_more_servers_than_one_answer_names_is_entered_whole(pair: Pair) -> None:
    alice, bob = pair
    room_id, _ = await crowded_room(alice)
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await settle(alice, bob)
    assert bob.state(room_id) == alice.state(room_id)
    assert len(bob.state(room_id)) > SERVERS


async def test_servers_of_past_members_count_too(pair: Pair) -> None:
    alice, bob = pair
    room_id, crowd = await crowded_room(alice)
    users = [crowd.user(number) for number in range(1, SERVERS)]
    left = [Intent(user, "m.room.member", {"membership": "leave"}, user) for user in users]
    await crowd.say(alice.database, room_id, left)
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    assert bob.state(room_id).items() >= alice.state(room_id).items()


async def test_cards_that_a_peer_gives_one_by_one_are_all_asked_for(pair: Pair) -> None:
    alice, bob = pair
    room_id, _ = await crowded_room(alice, 12)

    def one_by_one(_operation: str, answer: JsonObject) -> JsonObject:
        return answer | ({"cards": answer["cards"][:1]} if "cards" in answer else {})

    bob.wire.tamper = one_by_one
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await settle(alice, bob)
    assert bob.state(room_id) == alice.state(room_id)


async def test_a_peer_that_has_no_cards_is_asked_once_for_each_page(pair: Pair) -> None:
    alice, bob = pair
    room_id, _ = await crowded_room(alice)
    bob.wire.tamper = without_cards
    with pytest.raises(errors.PeerRefused, match=f"could not check {SERVERS} of the events"):
        await bob.membership.join(bob.requester, room_id, [alice.name], {})
    assert bob.membership_in(room_id) is None
    assert bob.wire.asked.count((alice.name, "cards")) == 2


async def test_where_one_server_cannot_prove_the_room_the_next_one_is_asked(trio: Trio) -> None:
    alice, bob, carol = trio
    await connect(alice, carol)
    await connect(bob, carol)
    await connect(alice, bob)
    room_id, _ = await crowded_room(alice, 5)
    await carol.membership.join(carol.requester, room_id, [alice.name], {})
    await settle(alice, carol)
    honest = bob.wire.tamper
    bob.wire.tamper = without_cards
    with pytest.raises(errors.PeerRefused):
        await bob.membership.join(bob.requester, room_id, [alice.name], {})

    asked: list[str] = []

    def refuse_the_first(operation: str, answer: JsonObject) -> JsonObject:
        asked.append(operation)
        is_first = asked.count("make_join") == 1
        return without_cards(operation, answer) if is_first else honest(operation, answer)

    bob.wire.tamper = refuse_the_first
    await bob.membership.join(bob.requester, room_id, [alice.name, carol.name], {})
    assert bob.state(room_id).keys() == carol.state(room_id).keys() | {("m.room.member", bob.user)}


async def test_an_event_waits_where_the_state_told_before_it_cannot_be_checked(pair: Pair) -> None:
    alice, bob = pair
    room_id = await alice.creator.create(alice.requester, Wish(preset="public_chat"))
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await settle(alice, bob)
    crowd = Crowd.of(3)
    await crowd.enter(alice.database, room_id, 3)
    said = await alice.say(room_id, "Bob?")

    def forget_the_past(operation: str, answer: JsonObject) -> JsonObject:
        cut = {name: [] if name == "events" else value for name, value in answer.items()}
        return without_cards(operation, cut)

    bob.wire.tamper = forget_the_past
    await hand_over(alice, bob, said)
    assert (alice.name, "state_ids") in bob.wire.asked
    assert waiting_in(bob, room_id) == {said: "MissingEvents"}

    bob.wire.tamper = lambda _operation, answer: answer
    await holding_of(bob).try_room(room_id)
    assert bob.state(room_id) == alice.state(room_id)
    assert bob.texts(room_id) == ["Bob?"]


@pytest.mark.parametrize("bound", ["_MOST_STATE", "_MOST_PAGES"])
async def test_a_room_beyond_the_bounds_is_refused_and_not_cut(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    alice, bob = pair
    room_id, _ = await crowded_room(alice, 100)
    monkeypatch.setattr(fetching, bound, {"_MOST_STATE": 50, "_MOST_PAGES": 0}[bound])
    with pytest.raises(errors.PeerRefused, match="larger than this server takes in"):
        await bob.membership.join(bob.requester, room_id, [alice.name], {})
    assert bob.membership_in(room_id) is None


async def test_a_state_told_beyond_the_bounds_lets_the_event_wait(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = pair
    room_id, _ = await crowded_room(alice, 20)
    await bob.membership.join(bob.requester, room_id, [alice.name], {})
    await settle(alice, bob)
    await alice.say(room_id, "lost")
    said = await alice.say(room_id, "told")
    monkeypatch.setattr(fetching, "_MOST_STATE", 10)
    bob.wire.tamper = lambda _operation, answer: {
        name: [] if name in ("events", "pdus") else value for name, value in answer.items()
    }
    await hand_over(alice, bob, said)
    assert waiting_in(bob, room_id) == {said: "PeerRefused"}
    assert bob.texts(room_id) == []
