"""One server: create, send, redact, read."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver import errors
from homeserver.matrix.identifiers import EventId
from homeserver.rooms.directory import DirectoryRequest
from homeserver.rooms.timeline import PageRequest
from homeserver.storage import events
from homeserver.sync.filters import RoomEventFilter
from tests.rooms.servers import Server, running

EVERYTHING = RoomEventFilter()


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, "alice") as (server,):
        yield server


async def page(server: Server, room_id: str, **request: object) -> dict[str, object]:
    asked = PageRequest(limit=10, wanted=EVERYTHING, **request)  # type: ignore[arg-type]
    return await server.timeline.messages(server.requester, room_id, asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["10", "11", "12"])
async def test_a_room_of_each_version_takes_messages(alice: Server, version: str) -> None:
    room_id = await alice.create(version, name="Kitchen", topic="Food")

    sent = await alice.say(room_id, "hello")

    assert alice.bodies(room_id) == ["hello"]
    assert alice.stored(sent).event.version.id == version
    name = alice.state.entry(alice.requester, room_id, "m.room.name", "")
    assert name["content"] == {"name": "Kitchen"}
    assert (":" in room_id) == (version != "12")


async def test_the_creator_has_no_entry_in_the_power_levels_of_version_12(alice: Server) -> None:
    room_id = await alice.create("12", preset="trusted_private_chat")

    levels = alice.state.entry(alice.requester, room_id, "m.room.power_levels", "")

    assert levels["content"]["users"] == {}
    await alice.set_state(room_id, "m.room.tombstone", body="moved")


async def test_power_level_override_and_initial_state_win_over_the_preset(alice: Server) -> None:
    room_id = await alice.create(
        "11",
        power_level_override={"events_default": 7},
        initial_state=[("m.room.history_visibility", "", {"history_visibility": "joined"})],
    )

    levels = alice.state.entry(alice.requester, room_id, "m.room.power_levels", "")
    seen = alice.state.entry(alice.requester, room_id, "m.room.history_visibility", "")

    assert levels["content"]["events_default"] == 7
    assert levels["content"]["users"] == {alice.user: 100}
    assert seen["content"] == {"history_visibility": "joined"}


async def test_the_same_transaction_makes_one_event(alice: Server) -> None:
    room_id = await alice.create()
    content = {"msgtype": "m.text", "body": "once"}

    sent = [
        await alice.sender.send_message(alice.requester, room_id, "m.room.message", content, "t")
        for _ in range(3)
    ]

    assert len(set(sent)) == 1
    assert alice.bodies(room_id) == ["once"]
    shown = alice.timeline.event(alice.requester, room_id, sent[0])
    assert shown["unsigned"]["transaction_id"] == "t"
    assert shown["unsigned"]["membership"] == "join"


async def test_a_transaction_id_of_another_room_is_another_transaction(alice: Server) -> None:
    rooms = [await alice.create(), await alice.create()]

    sent = {
        await alice.sender.send_message(alice.requester, room_id, "m.room.message", {}, "t")
        for room_id in rooms
    }

    assert len(sent) == 2


async def test_setting_the_same_state_again_sends_nothing(alice: Server) -> None:
    room_id = await alice.create()

    first = await alice.set_state(room_id, "m.room.topic", topic="tea")
    again = await alice.set_state(room_id, "m.room.topic", topic="tea")
    other = await alice.set_state(room_id, "m.room.topic", topic="coffee")

    assert first == again != other
    shown = alice.timeline.event(alice.requester, room_id, other)
    assert shown["unsigned"]["prev_content"] == {"topic": "tea"}
    assert shown["unsigned"]["replaces_state"] == first


async def test_a_redacted_message_keeps_its_id_and_loses_its_words(alice: Server) -> None:
    room_id = await alice.create("11")
    sent = await alice.say(room_id, "regret")

    redaction = await alice.sender.redact(alice.requester, room_id, sent, "r", {"reason": "oops"})

    shown = alice.timeline.event(alice.requester, room_id, sent)
    assert shown["content"] == {}
    assert shown["unsigned"]["redacted_because"]["event_id"] == redaction
    assert shown["unsigned"]["redacted_because"]["redacts"] == sent
    assert b"regret" not in alice.database.read(
        lambda view: view.scalar(
            events.events.select()
            .with_only_columns(events.events.c.pdu)
            .where(events.events.c.event_id == sent)
        )
    )


async def test_nobody_redacts_what_does_not_exist(alice: Server) -> None:
    room_id = await alice.create()

    with pytest.raises(errors.NotFound):
        await alice.sender.redact(alice.requester, room_id, EventId("$" + "a" * 43), "r", {})


async def test_pages_cover_the_whole_room_in_both_directions(alice: Server) -> None:
    room_id = await alice.create()
    for number in range(25):
        await alice.say(room_id, str(number))

    read: dict[bool, list[str]] = {True: [], False: []}
    for is_backwards, seen in read.items():
        start: str | None = None
        while True:
            answer = await page(alice, room_id, is_backwards=is_backwards, start=start)
            seen += [event["event_id"] for event in answer["chunk"]]  # type: ignore[attr-defined]
            if "end" not in answer:
                break
            start = str(answer["end"])

    assert read[True] == read[False][::-1]
    assert len(set(read[True])) == len(read[True]) >= 25 + 6


async def test_a_filter_leaves_out_types_and_senders(alice: Server) -> None:
    room_id = await alice.create()
    sent = await alice.say(room_id, "only me")
    wanted = RoomEventFilter(types=("m.room.message",), lazy_load_members=True)

    answer = await alice.timeline.messages(
        alice.requester, room_id, PageRequest(limit=10, wanted=wanted)
    )

    assert [event["event_id"] for event in answer["chunk"]] == [sent]
    assert [event["state_key"] for event in answer["state"]] == [alice.user]


async def test_context_shows_what_was_around(alice: Server) -> None:
    room_id = await alice.create()
    sent = [await alice.say(room_id, str(number)) for number in range(5)]

    answer = await alice.timeline.context(alice.requester, room_id, sent[2], 4, EVERYTHING)

    assert answer["event"]["event_id"] == sent[2]
    assert [event["event_id"] for event in answer["events_before"]] == [sent[1], sent[0]]
    assert [event["event_id"] for event in answer["events_after"]] == [sent[3], sent[4]]
    earlier = await page(alice, room_id, start=answer["start"])
    assert sent[0] not in [event["event_id"] for event in earlier["chunk"]]  # type: ignore[attr-defined]


async def test_the_newest_edit_is_bundled(alice: Server) -> None:
    room_id = await alice.create()
    sent = await alice.say(room_id, "helo")
    for body in ("hallo", "hello"):
        edit = await alice.say(
            room_id,
            f"* {body}",
            **{
                "m.new_content": {"body": body},
                "m.relates_to": {"rel_type": "m.replace", "event_id": sent},
            },
        )

    shown = alice.timeline.event(alice.requester, room_id, sent)

    assert shown["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit


async def test_a_profile_change_reaches_every_room_once(alice: Server) -> None:
    rooms = [await alice.create(), await alice.create()]

    await alice.sender.update_member_profile(alice.user, "Alice", None)

    for room_id in rooms:
        joined = await alice.state.joined_members(alice.requester, room_id)
        assert joined[alice.user]["display_name"] == "Alice"


async def test_a_forgotten_room_is_closed(alice: Server) -> None:
    room_id = await alice.create()
    await alice.say(room_id, "bye")
    with pytest.raises(errors.HomeserverError, match="Leave"):
        await alice.membership.forget(alice.requester, room_id)

    await alice.membership.leave(alice.requester, room_id, {})
    assert (await page(alice, room_id))["chunk"]
    await alice.membership.forget(alice.requester, room_id)

    with pytest.raises(errors.NotInRoom):
        await page(alice, room_id)
    with pytest.raises(errors.Forbidden):
        await alice.say(room_id, "too late")


async def test_an_alias_leads_to_its_room_until_it_is_deleted(alice: Server) -> None:
    room_id = await alice.create(alias_localpart="kitchen", is_published=True)

    assert await alice.membership.join(alice.requester, "#kitchen:alice.test", [], {}) == room_id
    (listing,) = (await alice.directory.page(None, DirectoryRequest()))["chunk"]
    assert listing["canonical_alias"] == "#kitchen:alice.test"
    with pytest.raises(errors.AliasInUse):
        await alice.create(alias_localpart="kitchen")
    await alice.aliases.delete(alice.requester, "#kitchen:alice.test")  # type: ignore[arg-type]
    with pytest.raises(errors.NotFound):
        await alice.membership.join(alice.requester, "#kitchen:alice.test", [], {})


async def test_a_refused_event_leaves_nothing_behind(alice: Server) -> None:
    room_id = await alice.create("11", power_level_override={"events": {"m.room.name": 101}})
    before = alice.current(room_id)

    with pytest.raises(errors.NotAllowed):
        await alice.set_state(room_id, "m.room.name", name="no")

    assert alice.current(room_id) == before


async def test_two_rooms_wished_for_in_the_same_millisecond_are_two(
    alice: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = alice.clock.now_ms()
    monkeypatch.setattr(alice.clock, "now_ms", lambda: now)

    rooms = [await alice.create("12") for _ in range(3)]

    assert len(set(rooms)) == 3


async def test_what_is_said_in_one_room_relates_to_nothing_in_another(alice: Server) -> None:
    room_id, other = await alice.create(), await alice.create()
    root = await alice.say(room_id, "original")
    edited = {"rel_type": "m.replace", "event_id": root}
    edit = await alice.say(
        room_id, "* edited", **{"m.new_content": {"body": "edited"}, "m.relates_to": edited}
    )
    for kind in ("m.thread", "m.reference"):
        await alice.say(other, kind, **{"m.relates_to": {"rel_type": kind, "event_id": root}})
    await alice.say(
        other, "* forged", **{"m.new_content": {"body": "forged"}, "m.relates_to": edited}
    )
    bundled = alice.timeline.event(alice.requester, room_id, root)["unsigned"]["m.relations"]
    assert bundled.keys() == {"m.replace"}
    assert bundled["m.replace"]["event_id"] == edit
