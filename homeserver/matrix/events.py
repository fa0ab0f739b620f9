"""The event: read one from its PDU and check its form, or build, hash and sign one of ours.

An `Event` is shared between caches and threads: nobody changes its content or PDU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from homeserver.errors import BadEvent, BadJson, BadSignature, HomeserverError, TooLarge
from homeserver.matrix import canonical_json, signing
from homeserver.matrix.canonical_json import MAX_INTEGER, JsonObject
from homeserver.matrix.identifiers import (
    EventId,
    RoomId,
    ServerName,
    UserId,
    fits,
    is_user_id,
    server_of,
)
from homeserver.matrix.redaction import redact
from homeserver.matrix.room_versions import RoomVersion
from homeserver.matrix.signing import SigningKey

StateKey = tuple[str, str]
StateMap = Mapping[StateKey, EventId]

# Answers with the unpadded base64 of a verification key, or None if it is not known.
FindKey = Callable[[ServerName, str], str | None]

MAX_EVENT_BYTES = 65_536
MAX_PREV_EVENTS = 20
# How many of them an event of ours has at most; the fewer ends a graph has, the simpler it is.
MAX_OWN_PREV_EVENTS = 10
MAX_AUTH_EVENTS = 10

# An event without a meaning that joins the ends of a graph; servers show it to no client.
DUMMY = "org.matrix.dummy_event"

_REQUIRED = (
    ("type", str),
    ("sender", str),
    ("content", dict),
    ("prev_events", list),
    ("auth_events", list),
    ("depth", int),
    ("origin_server_ts", int),
    ("hashes", dict),
    ("signatures", dict),
)


@dataclass(slots=True, unsafe_hash=True)
class Event:
    """One event of a room. `pdu` is its JSON as servers exchange it, without `unsigned`.

    Nobody changes one; to make a frozen one would take six times as long, and a sync makes many.
    """

    event_id: EventId
    room_id: RoomId
    sender: UserId
    type: str
    state_key: str | None
    content: JsonObject = field(hash=False)
    prev_events: tuple[EventId, ...]
    auth_events: tuple[EventId, ...]
    depth: int
    origin_server_ts: int
    redacts: EventId | None
    pdu: JsonObject = field(hash=False, repr=False)
    version: RoomVersion = field(repr=False)

    @property
    def is_state(self) -> bool:
        """Whether this event sets a part of the room's state."""
        return self.state_key is not None

    @property
    def key(self) -> StateKey:
        """The place in the room's state that this state event sets."""
        if self.state_key is None:
            raise ValueError("A message event has no place in the state.")
        return (self.type, self.state_key)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event of ours before it is hashed and signed. `room_id` is None for v12 creation."""

    room_id: RoomId | None
    sender: UserId
    type: str
    state_key: str | None
    content: JsonObject
    prev_events: tuple[EventId, ...]
    auth_events: tuple[EventId, ...]
    depth: int
    origin_server_ts: int
    redacts: EventId | None = None


def parse(pdu: JsonObject, version: RoomVersion) -> Event:
    """Read an event from outside, refusing whatever is not one, and derive its ID.

    Signatures and content hash are for `authentic` to check; `unsigned` is dropped.

    Spec: server-server-api#checks-performed-on-receipt-of-a-pdu
    """
    if type(pdu) is not dict:  # whatever a peer sent in the place of an event
        raise BadEvent
    if "unsigned" in pdu:
        pdu = {key: value for key, value in pdu.items() if key != "unsigned"}
    try:
        canonical_json.check_integers_only(pdu)
        size = len(canonical_json.encode_checked(pdu))
    except BadJson as error:
        raise BadEvent(str(error)) from error
    _check_format(pdu, version)
    _check_sizes(pdu, size, BadEvent)
    return _event(pdu, signing.essential_bytes(pdu, version), version)


def build(
    draft: Draft, version: RoomVersion, server_name: ServerName, signing_key: SigningKey
) -> Event:
    """Hash and sign a draft. A draft beyond the limits raises `TooLarge`, floats `BadJson`.

    Spec: server-server-api#adding-hashes-and-signatures-to-outgoing-events
    """
    pdu = _draft_pdu(draft, version)
    canonical_json.check_integers_only(pdu)
    hashed = canonical_json.encode_checked(pdu)
    pdu["hashes"] = {"sha256": signing.unpadded_b64(sha256(hashed).digest())}
    essential = signing.essential_bytes(pdu, version)
    signature = signing.unpadded_b64(signing_key.sign(essential))
    pdu["signatures"] = {server_name: {signing_key.key_id: signature}}
    _check_sizes(pdu, len(canonical_json.encode_checked(pdu)), TooLarge)
    _check_format(pdu, version)
    return _event(pdu, essential, version)


def authentic(event: Event, find_key: FindKey) -> Event:
    """Check a received event's signatures; return its redacted copy if the content hash is off.

    Spec: server-server-api#validating-hashes-and-signatures-on-received-events
    """
    verify_signatures(event, find_key)
    try:
        check_content_hash(event)
    except BadEvent:
        return redacted(event)
    return event


def verify_signatures(event: Event, find_key: FindKey) -> None:
    """Raise unless each server that must have signed this event did so with a known key.

    Signatures by unknown keys are skipped; one by a known key that is wrong spoils the event.

    Spec: server-server-api#validating-hashes-and-signatures-on-received-events
    """
    essential = signing.essential_bytes(event.pdu, event.version)
    for server in _required_signers(event):
        known = 0
        for key_id, signature in event.pdu["signatures"].get(server, {}).items():
            public_key = find_key(server, key_id)
            if public_key is not None:
                signing.verify_bytes(essential, signature, public_key)
                known += 1
        if not known:
            raise BadSignature(f"Not signed by {server} with a key we know.")


def check_content_hash(event: Event) -> None:
    """Raise unless the event is complete: neither changed nor redacted since it was signed.

    Spec: server-server-api#calculating-the-content-hash-for-an-event
    """
    if event.pdu["hashes"]["sha256"] != signing.content_hash(event.pdu):
        raise BadEvent("The event's content hash does not match.")


def redacted(event: Event) -> Event:
    """Return what redaction leaves of an event, under the same ID.

    Spec: client-server-api#redactions
    """
    pdu = redact(event.pdu, event.version)
    return replace(event, content=pdu["content"], redacts=_redacts(pdu, event.version), pdu=pdu)


def stripped_state(event: Event) -> JsonObject:
    """Return the form in which an invited or knocking user sees a state event.

    Spec: client-server-api#stripped-state
    """
    return {
        "content": event.content,
        "sender": event.sender,
        "state_key": event.state_key,
        "type": event.type,
    }


def _draft_pdu(draft: Draft, version: RoomVersion) -> JsonObject:
    pdu: JsonObject = {
        "auth_events": list(draft.auth_events),
        "content": draft.content,
        "depth": draft.depth,
        "origin_server_ts": draft.origin_server_ts,
        "prev_events": list(draft.prev_events),
        "sender": draft.sender,
        "type": draft.type,
    }
    if draft.room_id is not None:
        pdu["room_id"] = draft.room_id
    if draft.state_key is not None:
        pdu["state_key"] = draft.state_key
    if draft.redacts is not None:
        if version.redacts_in_content:
            pdu["content"] = draft.content | {"redacts": draft.redacts}
        else:
            pdu["redacts"] = draft.redacts
    return pdu


def restore(pdu: JsonObject, event_id: EventId, room_id: RoomId, version: RoomVersion) -> Event:
    """Make an event of a PDU that was checked when it came, without checking it again."""
    event_type = pdu["type"]
    return Event(
        event_id,
        room_id,
        pdu["sender"],
        event_type,
        pdu.get("state_key"),
        pdu["content"],
        tuple(pdu["prev_events"]),
        tuple(pdu["auth_events"]),
        pdu["depth"],
        pdu["origin_server_ts"],
        _redacts(pdu, version) if event_type == "m.room.redaction" else None,
        pdu,
        version,
    )


def _event(pdu: JsonObject, essential: bytes, version: RoomVersion) -> Event:
    reference_hash = signing.hash_essentials(essential)
    room_id = pdu["room_id"] if "room_id" in pdu else RoomId("!" + reference_hash)
    return restore(pdu, EventId("$" + reference_hash), room_id, version)


def _redacts(pdu: JsonObject, version: RoomVersion) -> EventId | None:
    if pdu["type"] != "m.room.redaction":
        return None
    target = (pdu["content"] if version.redacts_in_content else pdu).get("redacts")
    return EventId(target) if isinstance(target, str) else None


def _required_signers(event: Event) -> list[ServerName]:
    signers = [server_of(event.sender)]
    if event.type == "m.room.member":
        authorising_user = event.content.get("join_authorised_via_users_server")
        if authorising_user is not None:
            if not isinstance(authorising_user, str) or not is_user_id(authorising_user):
                raise BadSignature("The user who authorised the join is not a user.")
            signers.append(server_of(authorising_user))
    return signers


def _check_format(pdu: JsonObject, version: RoomVersion) -> None:
    for key, kind in _REQUIRED:
        if type(pdu.get(key)) is not kind:
            raise BadEvent(f"An event needs {key}.")
    if type(pdu.get("state_key", "")) is not str:
        raise BadEvent("A state_key must be a string.")
    if not is_user_id(pdu["sender"]):
        raise BadEvent("The sender is not a user ID.")
    if not 0 <= pdu["depth"] <= MAX_INTEGER:
        raise BadEvent("The depth is out of range.")
    _check_room_id(pdu, version)
    _check_references(pdu["prev_events"], MAX_PREV_EVENTS)
    _check_references(pdu["auth_events"], MAX_AUTH_EVENTS)
    _check_hashes_and_signatures(pdu)


def _check_room_id(pdu: JsonObject, version: RoomVersion) -> None:
    if version.room_id_is_create_event and pdu["type"] == "m.room.create":
        if "room_id" in pdu:  # from v12: rule 1.2
            raise BadEvent("The room_id of m.room.create follows from its hash.")
        return
    room_id = pdu.get("room_id")
    if type(room_id) is not str or not room_id.startswith("!"):
        raise BadEvent("An event needs room_id.")


def _check_references(references: list[object], limit: int) -> None:
    if len(references) > limit:
        raise BadEvent(f"An event may cite {limit} events at most there.")
    for reference in references:
        if type(reference) is not str or not reference.startswith("$") or not fits(reference):
            raise BadEvent("An event may cite event IDs only.")


def _check_hashes_and_signatures(pdu: JsonObject) -> None:
    if type(pdu["hashes"].get("sha256")) is not str:
        raise BadEvent("An event needs a sha256 hash.")
    for signatures in pdu["signatures"].values():
        if type(signatures) is not dict:
            raise BadEvent("The signatures of a server must be an object.")
        if not all(type(signature) is str for signature in signatures.values()):
            raise BadEvent("A signature must be a string.")


def _check_sizes(pdu: JsonObject, size: int, error: type[HomeserverError]) -> None:
    """Refuse what is beyond the limits: our clients hear "too large", peers are ignored.

    Spec: client-server-api#size-limits
    """
    if size > MAX_EVENT_BYTES:
        raise error(f"An event may have {MAX_EVENT_BYTES} bytes at most.")
    for key in ("sender", "room_id", "type", "state_key"):
        if not fits(pdu.get(key, "")):
            raise error(f"The {key} of an event may have 255 bytes at most.")
