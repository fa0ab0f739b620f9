"""Messages expire, forgotten rooms leave the disk, and what rooms take is told."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select

from homeserver import errors
from homeserver.config.retention_settings import RetentionSettings
from homeserver.matrix import canonical_json
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms import attachments
from homeserver.rooms.upkeep import Upkeep
from homeserver.storage import account_data, accounts, erasing, media, schema
from homeserver.storage.media import StoredFile
from homeserver.storage.unit_of_work import UnitOfWork, View
from tests.rooms.servers import Server, running, shared_room

DAY_MS = 86_400_000
# What stays of a purged room: that it was forgotten, and what was reported about it.
KEPT = {"memberships", "reports"}


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    async with running(tmp_path, "alice", "bob") as (alice, bob):
        yield alice, bob


def upkeep_of(
    server: Server,
    days: int | None = None,
    discard: Callable[[str], None] = lambda _: None,
    *,
    obeys_rooms: bool = False,
) -> Upkeep:
    retention = RetentionSettings(max_message_age_days=days, obeys_rooms=obeys_rooms)
    return Upkeep(server.database, server.clock, server.user, retention, discard)


def rows_about(server: Server, room_id: RoomId) -> dict[str, int]:
    """The tables that hold anything of a room, and how many rows."""

    def count(view: View) -> dict[str, int]:
        tables: list[Table] = [one for one in schema.metadata.tables.values() if "room_id" in one.c]
        counts = {
            one.name: view.scalar(
                select(func.count()).select_from(one).where(one.c.room_id == room_id)
            )
            for one in tables
        }
        return {name: number for name, number in counts.items() if number}

    return server.database.read(count)


def written_by(server: Server) -> bytes:
    """Everything that stands in a server's database file and its log."""
    database = Path(str(server.database._engine.url.database))
    return database.read_bytes() + database.with_name(f"{database.name}-wal").read_bytes()


async def save_file(server: Server, media_id: str) -> str:
    file = StoredFile(server.name, media_id, f"file-{media_id}", "image/png", None, 7_000, 1)
    await server.database.write(lambda work: media.save_media(work, file))
    return f"mxc://{server.name}/{media_id}"


async def test_a_forgotten_room_leaves_the_disk(pair: tuple[Server, Server]) -> None:
    alice, _ = pair
    other = await alice.create(name="Stays")
    room_id = await alice.create(name="Goes", alias_localpart="goes")
    for number in range(300):
        await alice.say(room_id, str(number))
    sent = await alice.say(room_id, "look")
    await alice.sender.redact(alice.requester, room_id, sent, "r", {})
    removed: list[str] = []
    upkeep = upkeep_of(alice, discard=removed.append)
    uri, shared = await save_file(alice, "a"), await save_file(alice, "b")
    await alice.say(room_id, "picture", url=uri, file={"url": shared})
    await alice.say(other, "picture", url=shared)

    await upkeep.tidy()
    assert len(alice.bodies(room_id)) > 300  # only what was forgotten goes
    await alice.membership.leave(alice.requester, room_id, {})
    await alice.membership.forget(alice.requester, room_id)
    await upkeep.tidy()

    assert rows_about(alice, room_id).keys() <= KEPT
    assert rows_about(alice, other)["events"] > 5
    assert removed == ["file-a"]
    assert alice.bodies(other) == ["picture"]
    with pytest.raises(errors.NotFound):
        await alice.aliases.resolve("#goes:alice.test")  # type: ignore[arg-type]


async def test_only_what_the_owner_showed_in_a_room_alone_goes_with_it(
    pair: tuple[Server, Server],
) -> None:
    alice, bob = pair
    await alice.database.write(lambda work: accounts.save_user(work, alice.user, "hash", 1))
    room_id, other = await shared_room(alice, bob), await alice.create()
    names = ("named-by-bob", "shown", "sticker", "face", "profile", "shown-too")
    uri = {name: await save_file(alice, name) for name in names}
    theirs = StoredFile(bob.name, "theirs", "file-theirs", "image/png", None, 7_000, 1)
    await alice.database.write(lambda work: media.save_media(work, theirs))
    await bob.say(room_id, "look", list=list(uri.values()), url=f"mxc://{bob.name}/theirs")
    await alice.hear_all(bob, room_id)
    shown = [one for name, one in uri.items() if name != "named-by-bob"]
    await alice.say(room_id, "look", list=shown)
    await bob.hear_all(alice, room_id)
    await bob.say(room_id, "again", list=shown)
    await alice.hear_all(bob, room_id)

    def keep(work: UnitOfWork) -> None:
        content = {"images": {"wave": {"url": uri["sticker"]}}}
        account_data.save_account_data(work, alice.user, None, "im.ponies.user_emotes", content)
        profile = canonical_json.encode({"avatar_url": uri["profile"]})
        accounts.save_profile(work, alice.user, profile)

    await alice.database.write(keep)
    face = {"membership": "join", "avatar_url": uri["face"]}
    await alice.sender.send_state(alice.requester, other, "m.room.member", alice.user, face)
    await alice.membership.leave(alice.requester, room_id, {})
    removed: list[str] = []
    await upkeep_of(alice, discard=removed.append).purge(room_id)
    assert sorted(removed) == ["file-shown", "file-shown-too", "file-theirs"]


async def test_nothing_that_was_said_in_a_purged_room_stands_in_a_file(
    pair: tuple[Server, Server],
) -> None:
    alice, _ = pair
    room_id = await alice.create(name="Goes")
    for number in range(200):
        await alice.say(room_id, f"a secret of ours, {number} " + "x" * 500)
    before = written_by(alice)
    assert b"a secret of ours" in before
    await alice.membership.leave(alice.requester, room_id, {})
    await upkeep_of(alice).purge(room_id)
    assert b"a secret of ours" not in written_by(alice)
    assert len(written_by(alice)) < len(before) / 2


async def test_a_file_whose_row_went_before_a_crash_goes_from_the_disk_later(
    pair: tuple[Server, Server],
) -> None:
    alice, bob = pair
    files = [StoredFile(bob.name, str(n), f"file-{n}", "a/b", None, 7, 1) for n in range(60)]
    for file in files:
        await alice.database.write(lambda work, file=file: media.save_media(work, file))  # type: ignore[misc]
    erased = await alice.database.write(lambda work: erasing.delete_files(work, bob.name))
    removed: list[str] = []
    upkeep = upkeep_of(alice, discard=removed.append)
    await upkeep.tidy()
    assert sorted(removed) == sorted(erased) == sorted(one.file_id for one in files)
    await upkeep.tidy()
    assert len(removed) == len(files)


async def test_a_room_is_kept_until_the_others_know_that_we_left(
    pair: tuple[Server, Server],
) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    await bob.membership.leave(bob.requester, room_id, {})
    await bob.membership.forget(bob.requester, room_id)
    assert bob.waiting_rooms(alice.name) == {room_id}

    await upkeep_of(bob).tidy()
    await alice.hear_all(bob, room_id)

    assert alice.member(room_id, bob.user) == "leave"


async def test_whoever_is_invited_again_comes_back_to_a_purged_room(
    pair: tuple[Server, Server],
) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    await alice.say(room_id, "hello")
    await bob.hear_all(alice, room_id)
    await bob.membership.leave(bob.requester, room_id, {})
    await alice.hear_all(bob, room_id)
    await upkeep_of(bob).purge(room_id)
    assert rows_about(bob, room_id).keys() <= KEPT

    await alice.membership.invite(alice.requester, room_id, bob.user, {})
    kind, body = alice.queued(bob.name)[-1]
    assert (kind, body["room_id"]) == ("invite", room_id)
    await bob.membership.join(bob.requester, room_id, [alice.name], {})

    assert await bob.texts(room_id) == ["hello"]
    assert alice.current(room_id).keys() == bob.current(room_id).keys()


async def test_a_room_the_owner_is_in_is_not_purged(pair: tuple[Server, Server]) -> None:
    alice, _ = pair
    room_id = await alice.create()
    with pytest.raises(errors.Conflict, match="Leave"):
        await upkeep_of(alice).purge(room_id)
    with pytest.raises(errors.NotFound):
        await upkeep_of(alice).purge(RoomId("!none:alice.test"))


@pytest.mark.parametrize("says", ["the room", "the settings", "both"])
async def test_old_messages_expire_and_state_stays(pair: tuple[Server, Server], says: str) -> None:
    alice, _ = pair
    policy = [("m.room.retention", "", {"max_lifetime": DAY_MS})] if says != "the settings" else []
    room_id = await alice.create(name="Attic", initial_state=policy)
    old = [await alice.say(room_id, f"old {number}") for number in range(450)]
    alice.clock.now += 2 * DAY_MS
    await alice.say(room_id, "fresh")
    days = {"the room": None, "the settings": 1, "both": 30}[says]

    await upkeep_of(alice, days, obeys_rooms=True).tidy()

    assert alice.bodies(room_id) == ["fresh"]
    assert b"old" not in bytes(str(alice.stored(old[7]).event.pdu), "utf-8")
    name = alice.state.entry(alice.requester, room_id, "m.room.name", "")
    assert name["content"] == {"name": "Attic"}
    with pytest.raises(errors.NotFound):
        alice.timeline.event(alice.requester, room_id, old[7])
    await alice.say(room_id, "and on it goes")
    assert await alice.texts(room_id) == ["fresh", "and on it goes"]


async def test_nothing_expires_unasked(pair: tuple[Server, Server]) -> None:
    alice, _ = pair
    room_id = await alice.create(initial_state=[("m.room.retention", "", {"max_lifetime": "1"})])
    await alice.say(room_id, "old")
    alice.clock.now += 1_000 * DAY_MS
    await upkeep_of(alice, obeys_rooms=True).tidy()
    assert alice.bodies(room_id) == ["old"]


async def test_a_room_that_forgets_is_obeyed_only_where_the_owner_wants_it(
    pair: tuple[Server, Server],
) -> None:
    alice, _ = pair
    room_id = await alice.create(initial_state=[("m.room.retention", "", {"max_lifetime": 1})])
    await alice.say(room_id, "precious")
    alice.clock.now += DAY_MS // 2
    await alice.say(room_id, "fresh")

    await upkeep_of(alice, obeys_rooms=True).tidy()
    assert alice.bodies(room_id) == ["precious", "fresh"]  # less than a day is never obeyed
    alice.clock.now += DAY_MS * 3 // 4
    await upkeep_of(alice).tidy()
    await upkeep_of(alice, 30).tidy()
    assert alice.bodies(room_id) == ["precious", "fresh"]
    await upkeep_of(alice, obeys_rooms=True).tidy()
    assert alice.bodies(room_id) == ["fresh"]


async def test_what_rooms_take_is_told(pair: tuple[Server, Server]) -> None:
    alice, _ = pair
    small, large = await alice.create(name="Small"), await alice.create(name="Large")
    await alice.say(large, "x" * 20_000, url=await save_file(alice, "a"))

    told = {one["room_id"]: one for one in await upkeep_of(alice).sizes()}

    assert list(told) == [large, small]
    assert told[large]["name"] == "Large"
    assert told[large]["membership"] == "join"
    assert told[large]["event_bytes"] > 20_000
    assert (told[large]["media"], told[large]["media_bytes"]) == (1, 7_000)
    assert told[small]["state"] == len(alice.current(small))
    for one in told.values():
        parts = ("event_bytes", "state_bytes", "media_bytes")
        assert one["total_bytes"] == sum(one[part] for part in parts)


def test_files_are_found_wherever_an_event_names_them() -> None:
    content = {
        "url": "mxc://a.org/1",
        "info": {"thumbnail_url": "mxc://a.org/2"},
        "list": [{"file": {"url": "mxc://b.org/3"}}],
        "body": "see mxc://a.org/4",
        "wrong": "mxc://a.org/../5",
    }
    found = [str(one) for one in attachments.media_in(content)]
    assert found == ["mxc://a.org/1", "mxc://a.org/2", "mxc://b.org/3"]
