"""Encrypt once what several peers get now: with this server's Megolm session for the room.

The first frame that carries an event encrypts it and stores the ciphertext; the frames to the
other peers carry the same bytes. Where only one peer still lacks an event, it goes in the Olm
message. Runs in the unit of work that seals the frame, so ratchet and bytes are stored together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from federation import group_frames, repair
from federation.filling import Filled, RoomEvent, RoomSource
from federation.frames import Outgoing
from federation.turn_state import TurnState
from homeserver import metrics
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import frames, groups
from homeserver.storage.groups import GroupCiphertext, GroupSession
from homeserver.storage.sharing import Audience

MOST_EVENTS = 1_000
LONGEST_MS = 7 * 86_400_000
# Ciphertexts kept for peers that are behind; they get what is older in the Olm message.
_MOST_KEPT = 100
_PRUNE_EVERY = 16
# What Olm and group messages may take together of the largest box; each event and each room needs
# some more than its JSON: Megolm's own bytes, the hash, the session key.
_BOX_BYTES = 248 * 1024
_EVENT_BYTES = 500
_ROOM_BYTES = 800


@dataclass(frozen=True, slots=True)
class _Due:
    """A room whose events go to several peers now."""

    room_id: RoomId
    audience: Audience
    events: Sequence[RoomEvent]
    behind: int  # up to here all the others have acknowledged


@dataclass(frozen=True, slots=True)
class _Encrypted:
    """Which events of a room are encrypted in its session."""

    session: GroupSession
    ciphertexts: dict[int, bytes]  # by position


def put_beside(
    state: TurnState, filled: Filled, awake: frozenset[ServerName], source: RoomSource
) -> Outgoing:
    """The frame with those events taken out of the Olm message that other peers get as well."""
    room = _BOX_BYTES - len(filled.frame.body)
    chosen: dict[int, tuple[str, bytes]] = {}  # session and ciphertext, by place in the frame
    keys: list[JsonObject] = []
    places = {(one.room_id, one.position): place for place, one in enumerate(filled.events)}
    for room_id, events in _by_room(filled.events).items():
        most = min((room - _ROOM_BYTES) // _EVENT_BYTES, group_frames.MOST_MESSAGES - len(chosen))
        due = _due(state, room_id, events[: max(most, 0)], awake, source)
        encrypted = None if due is None else _encrypt(state, due)
        if encrypted is None:
            continue
        session = encrypted.session
        for position, ciphertext in encrypted.ciphertexts.items():
            chosen[places[room_id, position]] = (session.session_id, ciphertext)
        keys += _share(state, session)
        room -= _ROOM_BYTES + _EVENT_BYTES * len(encrypted.ciphertexts)
    return _without(filled, chosen, keys) if chosen else filled.frame


def fall_back(state: TurnState) -> bool:
    """The peer cannot read what stands beside the frame in flight: say all of it in Olm.

    The rooms' sessions end, so that the next events begin others with all peers.
    """
    flying = state.in_flight
    if flying is None or not flying.group_messages or state.channel.session is None:
        return False
    groups.forget_rooms(state.work, orjson.loads(flying.settles).get("rooms", {}))
    if not state.may_seal:
        repair.request(state)  # it is sealed anew in a session of this run
        return False
    state.seal_anew()
    metrics.bump("federation_group_fallbacks")
    return True


def _by_room(events: Sequence[RoomEvent]) -> dict[RoomId, list[RoomEvent]]:
    found: dict[RoomId, list[RoomEvent]] = {}
    for event in events:
        found.setdefault(event.room_id, []).append(event)
    return found


def _due(
    state: TurnState,
    room_id: RoomId,
    events: Sequence[RoomEvent],
    awake: frozenset[ServerName],
    source: RoomSource,
) -> _Due | None:
    """Whether anybody else gets events of this room now, who has been there as long as they."""
    audience = source.audience(state.work, room_id)
    others = (audience.connected & awake) - {state.peer}
    # What was said before somebody came is not encrypted with a key that he is given.
    heard = [event for event in events if event.position >= audience.since]
    if state.peer not in audience.connected or not others or not heard:
        return None
    behind = frames.least_acknowledged(state.work, room_id, others)
    return None if behind is None else _Due(room_id, audience, heard, behind)


def _encrypt(state: TurnState, due: _Due) -> _Encrypted | None:
    """Take the ciphertexts that are there, and encrypt what others lack as well."""
    session = _current(state, due)
    known: dict[int, bytes] = {}
    after = due.behind
    if session is not None:
        known = _known(state, session, due.events)
        # Indices rise with positions, for every receiver.
        after = max(after, session.last_position)
    fresh = [event for event in due.events if event.position > after]
    if not fresh:
        return _Encrypted(session, known) if session is not None and known else None
    if session is None or session.next_index + len(fresh) > MOST_EVENTS:
        session, known = _begin(state, due), {}
    session, made = _extend(state, session, fresh)
    if session.next_index % _PRUNE_EVERY < len(fresh):
        oldest = session.next_index - _MOST_KEPT
        groups.prune_messages(state.work, due.room_id, due.behind, oldest)
    return _Encrypted(session, known | made)


def _known(
    state: TurnState, session: GroupSession, events: Sequence[RoomEvent]
) -> dict[int, bytes]:
    """The ciphertexts that another peer's frame has brought about."""
    first, last = events[0].position, events[-1].position
    if first > session.last_position:
        return {}
    found = groups.messages_between(state.work, session.room_id, first, last)
    return {one.position: found[one.position] for one in events if one.position in found}


def _current(state: TurnState, due: _Due) -> GroupSession | None:
    """The room's session, unless the room's servers have changed, or it is too old."""
    session = groups.find_session(state.work, due.room_id)
    if session is None or session.run != state.party.run:
        return None
    age = state.party.clock.now_ms() - session.started_at
    is_current = session.audience == due.audience.stays and 0 <= age < LONGEST_MS
    return session if is_current else None


def _begin(state: TurnState, due: _Due) -> GroupSession:
    keyed_by = state.party.entropy.token_bytes(16).hex()
    pickle, session_id, sealed = state.party.sessions.create_group(keyed_by)
    session = GroupSession(
        room_id=due.room_id,
        run=state.party.run,
        keyed_by=keyed_by,
        session_id=session_id,
        session_key=sealed,
        session=pickle,
        audience=due.audience.stays,
        next_index=0,
        last_position=0,
        started_at=state.party.clock.now_ms(),
    )
    groups.begin_session(state.work, session)
    metrics.bump("federation_group_sessions")
    return session


def _extend(
    state: TurnState, session: GroupSession, fresh: Sequence[RoomEvent]
) -> tuple[GroupSession, dict[int, bytes]]:
    """Encrypt events, and store them with the ratchet's state after them."""
    sessions, node_id, pickle = state.party.sessions, state.party.own.node_id, session.session
    made = []
    for index, event in enumerate(fresh, start=session.next_index):
        plaintext = group_frames.write_plaintext(node_id, event.room_id, event.pdu)
        ciphertext, pickle = sessions.encrypt_group(session.keyed_by, pickle, plaintext)
        made.append(GroupCiphertext(event.room_id, event.position, index, ciphertext))
    session = replace(
        session,
        session=pickle,
        next_index=session.next_index + len(fresh),
        last_position=fresh[-1].position,
    )
    groups.save_messages(state.work, session, made)
    metrics.bump("federation_group_events", len(made))
    return session, {one.position: one.ciphertext for one in made}


def _share(state: TurnState, session: GroupSession) -> list[JsonObject]:
    """The session's key, if the peer was not given it yet."""
    if groups.is_shared(state.work, session.room_id, state.peer):
        return []
    groups.note_shared(state.work, session.room_id, state.peer)
    session_key = state.party.sessions.group_key(session.keyed_by, session.session_key)
    return [
        {
            "room_id": session.room_id,
            "session_id": session.session_id,
            "session_key": session_key,
        }
    ]


def _without(
    filled: Filled, chosen: dict[int, tuple[str, bytes]], keys: list[JsonObject]
) -> Outgoing:
    """The frame that names what goes beside it; its whole body stays, should it be needed."""
    pdus = [
        orjson.Fragment(event.pdu)
        for place, event in enumerate(filled.events)
        if place not in chosen
    ]
    ordered = sorted(chosen.items())
    messages = [
        {"place": place, "session_id": session_id, "sha256": group_frames.hash_of(ciphertext)}
        for place, (session_id, ciphertext) in ordered
    ]
    told = {"groups": {"keys": keys, "messages": messages}}
    return replace(
        filled.frame,
        spoken=orjson.dumps({"pdus": pdus} | filled.others | told),
        group_messages=group_frames.pack(ciphertext for _, (_, ciphertext) in ordered),
    )
