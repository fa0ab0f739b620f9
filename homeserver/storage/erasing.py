"""Delete what was kept of a server's users: beside rooms when a connection ends, inside at wish."""

from collections.abc import Iterator

from sqlalchemy import bindparam, delete, func, select, update

from homeserver.matrix import canonical_json
from homeserver.matrix import events as matrix_events
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.matrix.room_versions import ROOM_VERSIONS
from homeserver.storage import events
from homeserver.storage.encryption.to_device import to_device_messages
from homeserver.storage.ephemeral import presence, receipts
from homeserver.storage.media import media, save_discarded
from homeserver.storage.rooms import memberships
from homeserver.storage.unit_of_work import UnitOfWork, View

# Stands where a redaction's ID would: what was there was erased by the owner, here alone.
ERASED = EventId("$erased")

# What rules rest on stays whole, whether it still holds or others cite it: a redaction leaves too
# little of it. And without encryption clients would send in the clear.
_SPARED = frozenset(
    {
        "m.room.create",
        "m.room.power_levels",
        "m.room.join_rules",
        "m.room.server_acl",
        "m.room.history_visibility",
        "m.room.encryption",
        "m.room.third_party_invite",
        "m.room.tombstone",
        "m.room.guest_access",
    }
)
_BATCH = 500
_SPOKEN = (
    select(events.events.c.event_id, events.events.c.version_id, events.events.c.pdu)
    .where(
        events.events.c.room_id == bindparam("room_id"),
        events.events.c.event_id > bindparam("after"),
        events.events.c.redacted_by.is_(None),
    )
    .order_by(events.events.c.event_id)
    .limit(_BATCH)
)


def delete_moments(work: UnitOfWork, server: ServerName) -> None:
    """Delete receipts, presence and messages to our devices of a server's users."""
    suffix = f":{server}"
    for table in (receipts, presence):
        work.execute(delete(table).where(table.c.user_id.endswith(suffix, autoescape=True)))
    work.execute(delete(to_device_messages).where(to_device_messages.c.peer == server))


def count_files(view: View, server: ServerName) -> int:
    """How many files of a server's users we hold."""
    return view.scalar(select(func.count()).where(media.c.server_name == server)) or 0


def delete_files(work: UnitOfWork, server: ServerName) -> list[str]:
    """Forget a server's files; returns the names on disk of what has to be deleted there."""
    mine = media.c.server_name == server
    found = [row.file_id for row in work.all(select(media.c.file_id).where(mine))]
    save_discarded(work, found)
    work.execute(delete(media).where(mine))
    return found


def delete_profiles(work: UnitOfWork, server: ServerName) -> None:
    """Forget how a server's users call themselves and look."""
    theirs = memberships.c.server == server
    work.execute(update(memberships).where(theirs).values(display_name=None, avatar_url=None))


def erase_events(work: UnitOfWork, room_id: RoomId, server: ServerName) -> int:
    """Keep of a server's events in a room what a redaction would leave; returns of how many."""
    erased = 0
    for event in _spoken_by(work, room_id, server):
        if not _is_spared(event):
            left = canonical_json.encode_checked(matrix_events.redacted(event).pdu)
            events.replace_with_redacted(work, event.event_id, left, ERASED)
            erased += 1
    return erased


def _is_spared(event: Event) -> bool:
    # A redacted membership keeps what rules look at, and loses name and reason; not so where a
    # token let somebody in: of that nothing is left in old versions of rooms.
    if event.type == "m.room.member":
        return "third_party_invite" in event.content
    return event.is_state and event.type in _SPARED


def _spoken_by(view: View, room_id: RoomId, server: ServerName) -> Iterator[Event]:
    needle, after = f':{server}"'.encode(), ""
    while rows := view.all(_SPOKEN, {"room_id": room_id, "after": after}):
        after = rows[-1].event_id
        for row in rows:
            if needle not in row.pdu:
                continue
            version = ROOM_VERSIONS[row.version_id]
            pdu = canonical_json.decode(row.pdu)
            event = matrix_events.restore(pdu, row.event_id, room_id, version)
            if event.sender.partition(":")[2] == server:
                yield event
