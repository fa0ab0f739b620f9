"""What a revoke does beyond the channel: to shared rooms and, if the owner wishes, to what we hold.

Says in plain words what happens, and beforehand what would. Runs in the unit of work that ends
the connection.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

from federation import shown_names
from federation.turn_state import Party
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName, UserId
from homeserver.rooms import drafting, hiding, inviting, state
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import (
    accounts,
    erasing,
    frames,
    inbox,
    peers,
    room_state,
    rooms,
    sharing,
)
from homeserver.storage import hiding as hidden
from homeserver.storage.peers import Peer
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import UnitOfWork, View

RoomChoice = Literal["cut", "leave", "eject"]

_HERE = frozenset({"join", "invite", "knock"})
_MOST_NAMED = 10
_LONGEST_NAME = 255

_AS_LEFT = "Your clients show that they have left. Nothing said there reaches them any more."
_CUT = (
    "You stay, and your clients show that they have left. Your server exchanges nothing with"
    " them, but {others} still can."
)
_LEAVE = "You leave the room."
_EJECT = "They are removed from the room, for everybody in it."
_NO_POWER = "You may not remove people there, so: " + _CUT[0].lower() + _CUT[1:]
_DELETED = (
    "What waited to be sent to them, and what they sent that was not taken in yet: {waiting}.",
    "The keys of the connection, and the keys that they left with you for when they sleep.",
    "Their addresses and routes, and the ones under which they could reach you.",
    "Open invitations from them into rooms.",
)
_ERASED = (
    "Their names and pictures.",
    "The files of theirs that you opened: {files}.",
    "What they wrote, in {rooms}; that they wrote remains.",
)
_FOR_EVER = (
    "What they have received stays with them.",
    "What one of your devices encrypted before it heard of this, they can read if it is passed on.",
)
_GOODBYE = {
    True: "They are told that you ended it, if they can be reached in the next ten seconds.",
    False: "They are not told that you ended it: the connection was paused, or has no session.",
}
_WITH_OTHERS = (
    "Rooms without encryption, and names, topics and reactions in all rooms: others in them can"
    " show these to anybody."
)


@dataclass(frozen=True, slots=True)
class AffectedRoom:
    """One shared room and what becomes of it, in a sentence."""

    room_id: RoomId
    name: str
    others: tuple[ServerName, ...]  # third servers, which hear both sides
    what: str


@dataclass(frozen=True, slots=True)
class RevokeReport:
    """What a revoke did, or would do, for the owner to read."""

    server_name: ServerName
    name: str
    is_dry_run: bool
    rooms: tuple[AffectedRoom, ...]
    deleted: tuple[str, ...]
    cannot_be_taken_back: tuple[str, ...]
    can_pass_on: tuple[str, ...]
    goodbye: str = ""  # what became of it, if the owner wanted one

    def to_json(self) -> JsonObject:
        """As the admin API shows it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the owner wants to become of shared rooms, and of what the server holds."""

    rooms: RoomChoice = "cut"
    erases: bool = False


def preview(view: View, peer: Peer, choice: Choice) -> RevokeReport:
    """What a revoke with these choices would do now."""
    server = peer.server_name
    owner = accounts.find_owner(view)
    shared = [] if owner is None else _shared_rooms(view, owner, server)
    affected = tuple(_affected(view, UserId(str(owner)), one, server, choice) for one in shared)
    third = sorted({other for room in affected for other in room.others})
    return RevokeReport(
        server_name=server,
        name=peer.name,
        is_dry_run=True,
        rooms=affected,
        deleted=_deleted(view, server, choice, len(shared)),
        cannot_be_taken_back=(*_FOR_EVER, _WITH_OTHERS) if third else _FOR_EVER[:1],
        can_pass_on=tuple(_passing_on(view, one, affected) for one in third),
    )


def part(
    work: UnitOfWork, local: LocalServer, peer: Peer, choice: Choice, now_ms: int
) -> RevokeReport:
    """Part from them in every shared room, before they are hidden; returns what that did.

    Once the standing is `revoked`: nothing that is said here reaches them.
    """
    report = preview(work, peer, choice)
    owner = accounts.find_owner(work)
    for room in report.rooms:
        if owner is None or not room.others or choice.rooms == "cut":
            continue
        if choice.rooms == "leave":
            leaving = drafting.membership(owner, owner, "leave")
            _say(work, local, room.room_id, leaving, now_ms)
        elif _can_remove(work, owner, room.room_id, peer.server_name):
            for member in _users(work, room.room_id, peer.server_name):
                removal = drafting.membership(owner, member.user_id, "leave")
                _say(work, local, room.room_id, removal, now_ms)
            hiding.require_sync(work, room.room_id, now_ms)
    return replace(report, is_dry_run=False)


def with_goodbye(report: RevokeReport, *, is_wanted: bool, is_sealed: bool) -> RevokeReport:
    """Say what becomes of the goodbye that the owner wanted."""
    return replace(report, goodbye=_GOODBYE[is_sealed]) if is_wanted else report


class Parting:
    """One revoke's part in the unit of work that ends the connection; then `report` is there."""

    def __init__(self, party: Party, choice: Choice, discard: Callable[[str], None]) -> None:
        self.report: RevokeReport
        self._party = party
        self._choice = choice
        self._discard = discard

    def __call__(self, work: UnitOfWork, peer: Peer) -> None:
        """Part from them, and erase what is to be erased."""
        local, now_ms = self._party.own.local, self._party.clock.now_ms()
        self.report = part(work, local, peer, self._choice, now_ms)
        if self._choice.erases:
            for file_id in erase(work, peer.server_name):
                work.after_commit(partial(self._discard, file_id))


def erase(work: UnitOfWork, server: ServerName) -> list[str]:
    """Delete what we hold of a server's users; returns the files to be deleted on disk."""
    for room_id in hidden.rooms_of_server(work, server):
        erasing.erase_events(work, room_id, server)
    erasing.delete_profiles(work, server)
    return erasing.delete_files(work, server)


def _shared_rooms(view: View, owner: UserId, server: ServerName) -> list[RoomId]:
    """The rooms in which both are, or they are invited."""
    found = []
    for room_id in hidden.rooms_of_server(view, server):
        mine = rooms.find_membership(view, room_id, owner)
        if mine is not None and mine.membership == "join" and _users(view, room_id, server):
            found.append(room_id)
    return found


def _users(view: View, room_id: RoomId, server: ServerName) -> list[Membership]:
    found = rooms.members_of(view, room_id, _HERE)
    mine = (one for one in found if one.user_id.partition(":")[2] == server)
    return sorted(mine, key=lambda one: one.user_id)


def _affected(
    view: View, owner: UserId, room_id: RoomId, server: ServerName, choice: Choice
) -> AffectedRoom:
    own = ServerName(owner.partition(":")[2])
    others = tuple(sorted(sharing.present_servers(view, room_id) - {server, own}))
    named = _counted(len(others), "other server in the room", "other servers in the room")
    what = _CUT
    if not others:
        what = _AS_LEFT
    elif choice.rooms == "leave":
        what = _LEAVE
    elif choice.rooms == "eject":
        what = _EJECT if _can_remove(view, owner, room_id, server) else _NO_POWER
    return AffectedRoom(room_id, name_of(view, room_id), others, what.format(others=named))


def _can_remove(view: View, owner: UserId, room_id: RoomId, server: ServerName) -> bool:
    current = room_state.current_state(view, room_id)
    levels = state.power_levels(view, current)
    own = levels.of_user(owner)
    return levels.may(owner, "kick") and all(
        own > levels.of_user(one.user_id) for one in _users(view, room_id, server)
    )


def name_of(view: View, room_id: RoomId) -> str:
    """A room by its name, or by the people in it."""
    current = room_state.current_state(view, room_id)
    named = state.load_entry(view, current, ("m.room.name", ""))
    name = named.content.get("name") if named is not None else None
    if isinstance(name, str) and name:
        return name[:_LONGEST_NAME]
    joined = rooms.members_of(view, room_id, rooms.JOINED)
    people = sorted(one.display_name or one.user_id for one in joined)
    return ", ".join(people[:5])[:_LONGEST_NAME] or room_id


def _deleted(view: View, server: ServerName, choice: Choice, room_count: int) -> tuple[str, ...]:
    waiting = sum(frames.count_waiting(view, server).values()) + inbox.count_frames(view, server)
    said = [_DELETED[0].format(waiting=_counted(waiting, "item", "items")), *_DELETED[1:]]
    if choice.erases:
        files = _counted(erasing.count_files(view, server), "file", "files")
        shared = _counted(room_count, "shared room", "shared rooms")
        said += [one.format(files=files, rooms=shared) for one in _ERASED]
    return tuple(said)


def _passing_on(view: View, server: ServerName, affected: tuple[AffectedRoom, ...]) -> str:
    """Who can still show them what is said, and where."""
    peer = peers.find_peer(view, server)
    shown = shown_names.safe(server)
    if peer is not None and peer.name:
        shown = f"{shown_names.quoted(peer.name)} ({shown})"
    places = [shown_names.quoted(room.name) for room in affected if server in room.others]
    more = len(places) - _MOST_NAMED
    named = ", ".join([*places[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])
    return f"{shown}, in: {named}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _say(
    work: UnitOfWork,
    local: LocalServer,
    room_id: RoomId,
    intent: drafting.Intent,
    now_ms: int,
) -> None:
    """Change a membership; a room that does not allow it stays as it is."""
    try:
        inviting.change_membership(work, local, drafting.load_room(work, room_id), intent, now_ms)
    except errors.NotAllowed:
        return
