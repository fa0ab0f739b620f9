"""The owner's yes or no to strangers in rooms, by the settings or by word; each is recorded."""

from dataclasses import replace

from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.rooms import hiding, meeting_strangers
from homeserver.storage import accounts, audit, meetings, notices, peers, sharing
from homeserver.storage.meetings import Meeting
from homeserver.storage.unit_of_work import UnitOfWork, View

# Kinds of notices.
NEWCOMER, ROOM_REQUEST, NOBODY_INTRODUCES, INTRODUCED = (
    "newcomer",
    "room_request",
    "nobody_introduces",
    "introduced",
)
_P2P = ".p2p.alt"
_MOST_NAMED = 10


def decide_all(work: UnitOfWork, policy: str, now_ms: int) -> None:
    """Say what the settings say about those who turned up and of whom nothing is said yet."""
    for meeting in meetings.load(work):
        if meeting.state == meetings.SILENT and is_here(work, meeting):
            _decide(work, replace(meeting, at=now_ms, how=f"setting: {policy}"), policy)


def _decide(work: UnitOfWork, meeting: Meeting, policy: str) -> None:
    if policy == "accept":
        agree(work, meeting)
    elif policy == "refuse":
        refuse(work, meeting)
    else:
        meetings.save(work, replace(meeting, state=meetings.ASKED))
        content = {"server_name": meeting.server, "room_id": meeting.room_id}
        notices.tell_owner(work, meeting.at, NEWCOMER, node_of(meeting.server), content)


def agree(work: UnitOfWork, meeting: Meeting) -> None:
    """The owner's yes: he appears, and whoever can is asked to introduce us."""
    _record(work, replace(meeting, state=meetings.AGREED, wished_at=None))
    if not _is_cut_off(work, meeting.server):
        hiding.show_server(work, meeting.server, meeting.at, [meeting.room_id])


def refuse(work: UnitOfWork, meeting: Meeting) -> None:
    """The owner's no: he is, or stays, hidden; nothing of ours goes to him."""
    _record(work, replace(meeting, state=meetings.REFUSED))
    hiding.hide_server(work, meeting.server, meeting.at, [meeting.room_id])


def is_here(view: View, meeting: Meeting) -> bool:
    """Whether both their server and ours have somebody in the room."""
    owner = accounts.find_owner(view)
    own = "" if owner is None else owner.partition(":")[2]
    return {meeting.server, own} <= sharing.present_servers(view, meeting.room_id)


def node_of(server: ServerName) -> str:
    """The node id in a name that proves itself, else the name."""
    return server.removesuffix(_P2P)


def strangers_among(
    view: View, room_id: RoomId, present: set[ServerName], own: ServerName
) -> list[ServerName]:
    """The servers in a room that ours is not connected to for it, and that are not agreed to."""
    unknown = present - meetings.carrying(view, room_id) - {own}
    return sorted(one for one in unknown if not meetings.is_agreed(view, one, room_id))


def named(servers: list[ServerName]) -> str:
    """Some of them, for a sentence."""
    shown = ", ".join(name[:255] for name in servers[:_MOST_NAMED])
    return (
        shown if len(servers) <= _MOST_NAMED else f"{shown} and {len(servers) - _MOST_NAMED} more"
    )


def _is_cut_off(view: View, server: ServerName) -> bool:
    return peers.find_peer(view, server) is not None and not meeting_strangers.is_stranger(
        view, server
    )


def _record(work: UnitOfWork, meeting: Meeting) -> None:
    meetings.save(work, meeting)
    peer = peers.find_peer(work, meeting.server)
    standing = "none" if peer is None else peer.standing
    entry = audit.Entry(
        at=meeting.at,
        node_id=node_of(meeting.server),
        server_name=meeting.server,
        who="owner",
        step=f"{meeting.state} in a room",
        how=meeting.how,
        standing_before=standing,
        standing=standing,
        detail=meeting.room_id,
    )
    audit.record(work, entry)
