"""What a server in these tests answers when another one asks it, straight from its database."""

from collections.abc import Iterable

from homeserver import errors
from homeserver.matrix import events as matrix_events
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomAlias, RoomId, ServerName, UserId
from homeserver.matrix.room_versions import room_version
from homeserver.rooms import appending, drafting, inviting
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.appending import Origin, Outcome
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import events, room_state
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View


async def answer(
    database: Database, local: LocalServer, aliases: RoomAliases, operation: str, body: JsonObject
) -> JsonObject:
    if operation.startswith("make_"):
        return database.read(lambda view: _template(view, local, operation, body))
    if operation.startswith("send_"):
        return await database.write(lambda work: _take_in(work, operation, body))
    if operation == "backfill":
        return database.read(lambda view: _backfill(view, body))
    if operation == "event":
        found = database.read(lambda view: events.load_events(view, body["event_ids"]))
        return {"pdus": [stored.event.pdu for stored in found.values()]}
    if operation == "query/directory":
        alias = RoomAlias(body["room_alias"])
        resolved = database.read(lambda view: aliases.resolve_here(view, alias))
        return {"room_id": resolved.room_id, "servers": list(resolved.servers)}
    raise errors.PeerRefused(operation)


def _template(view: View, local: LocalServer, operation: str, body: JsonObject) -> JsonObject:
    room = drafting.load_room(view, RoomId(body["room_id"]))
    user_id = UserId(body["user_id"])
    intent = drafting.membership(user_id, user_id, operation.removeprefix("make_"))
    event = drafting.build(local, drafting.draft(view, room, intent, 1), room.version_id)
    return {"room_version": room.version_id, "event": event.pdu}


def _take_in(work: UnitOfWork, operation: str, body: JsonObject) -> JsonObject:
    room = drafting.load_room(work, RoomId(body["room_id"]))
    event = matrix_events.parse(body["event"], room_version(room.version_id))
    sender = ServerName(event.sender.partition(":")[2])
    outcome = appending.append(work, event, Origin(sender, is_relayed=True)).outcome
    if outcome is not Outcome.ACCEPTED:
        raise errors.PeerRefused(outcome.value)
    before = room_state.state_before(work, event.event_id)
    assert before is not None
    if operation == "send_knock":
        return {"knock_room_state": inviting.shown_state(work, before, event)}
    told = list(events.load_bodies(work, before.values()).values())
    chain = auth_chain(work, told)
    return {"state": [one.pdu for one in told], "auth_chain": [one.pdu for one in chain]}


def auth_chain(view: View, rest_on: Iterable[Event]) -> list[Event]:
    found: dict[EventId, Event] = {}
    waiting = {one for event in rest_on for one in event.auth_events}
    while waiting:
        fresh = events.load_bodies(view, waiting)
        found |= fresh
        waiting = {one for event in fresh.values() for one in event.auth_events} - found.keys()
    return list(found.values())


def _backfill(view: View, body: JsonObject) -> JsonObject:
    found: dict[EventId, Event] = {}
    waiting = [EventId(one) for one in body["v"]]
    while waiting and len(found) < body["limit"]:
        for event_id, stored in events.load_events(view, waiting).items():
            found[event_id] = stored.event
        waiting = [
            one
            for event_id in waiting
            if event_id in found
            for one in found[event_id].prev_events
            if one not in found
        ]
    newest_first = sorted(found.values(), key=lambda one: -one.depth)
    return {"pdus": [event.pdu for event in newest_first[: body["limit"]]]}
