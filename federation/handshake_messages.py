"""The four messages of a handshake as bytes: written, checked, and bound together by a transcript.

Frames of a handshake carry sequence 0: they are repeated from the handshake's own row, beside the
numbered queue, so that a repair leaves the queue's sequences alone.
"""

import hashlib
from dataclasses import dataclass, replace

import orjson

from federation import frames as frame_format
from federation import identity, invitation_links, payloads
from federation.envelope import Envelope
from federation.frames import Outgoing
from federation.handshake_payloads import Accept, AcceptInside, Prove, Ready, Request
from federation.identity import Identity
from federation.own_identity import OwnIdentity
from federation.ratchets.interface import OlmMessage
from homeserver import errors
from homeserver.keyring import Keyring
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage.invitations import Handshake


class BadHandshake(errors.BadSignature):
    """A message of the handshake does not hold."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a handshake keeps sealed between its messages."""

    account: bytes = b""
    session: bytes = b""
    epoch: int = 0
    our_address: bytes = b""
    our_door_key: bytes = b""
    their_address: bytes = b""
    their_door_key: bytes = b""
    their_olm_key: str = ""
    their_proof: bytes = b"{}"
    their_name: str = ""
    their_grants: bytes = b"{}"
    routes: tuple[str, ...] = ()
    told_routes: tuple[str, ...] = ()
    link_door_key: bytes = b""
    transcript: str = ""
    room_id: str = ""
    restarts: bool = False  # one side had ended what the other still has: both begin at zero


@dataclass(frozen=True, slots=True)
class Asked:
    """A REQUEST that opened and verified."""

    request: Request
    identity: Identity
    request_hash: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The signed half of an ACCEPT that verified."""

    accept: Accept
    identity: Identity


def seal_secrets(keyring: Keyring, key: str, secrets: Secrets) -> bytes:
    """Lock what a handshake must remember."""
    content = {
        name: identity.to_text(value) if isinstance(value, bytes) else value
        for name, value in ((name, getattr(secrets, name)) for name in Secrets.__slots__)
    }
    return keyring.seal("handshake", key, orjson.dumps(content))


def open_secrets(keyring: Keyring, handshake: Handshake) -> Secrets:
    """Undo `seal_secrets`."""
    content = orjson.loads(keyring.open("handshake", handshake.key, handshake.secrets))
    blank = Secrets()
    for name in Secrets.__slots__:
        if isinstance(getattr(blank, name), bytes):
            content[name] = identity.from_text(content[name])
    for name in ("routes", "told_routes"):
        content[name] = tuple(content[name])
    return replace(blank, **content)


def note(kind: str, signed: JsonObject) -> bytes:
    """A signed document as the note of an envelope."""
    return orjson.dumps({"kind": kind, "signed": signed})


def note_kind(raw: bytes) -> str:
    """What a note is; empty where it is none."""
    return str(_parse_note(raw).get("kind", ""))


def note_how(raw: bytes) -> str:
    """Whether `wait` is said to a knock, which is repeated less often; empty where it is not."""
    return str(_parse_note(raw).get("how", ""))


def note_intake(raw: bytes) -> str:
    """Which handshake a PROVE belongs to."""
    return str(_parse_note(raw).get("intake", ""))


def hash_of(raw: bytes) -> str:
    """How a message is named in the next one."""
    return hashlib.sha256(raw).hexdigest()


def transcript_of(request: bytes, accept: bytes) -> str:
    """What both sides must have seen: REQUEST and the signed half of ACCEPT."""
    joined = hashlib.sha256(request).digest() + hashlib.sha256(accept).digest()
    return hashlib.sha256(b"homeserver/transcript/1\0" + joined).hexdigest()


def write_request(own: OwnIdentity, document: JsonObject) -> bytes:
    """REQUEST, signed by us."""
    return note("request", own.sign(identity.REQUEST, document | {"identity": own.proof}))


def read_request(raw: bytes, own_node_id: str, intake: str) -> Asked:
    """Check everything about a REQUEST that can be checked without asking the database."""
    signed = _parse_note(raw).get("signed")
    body = identity.from_text(signed.get("body")) if isinstance(signed, dict) else b""
    request = payloads.read(Request, identity.read_document(body))
    theirs = identity.verify_proof(request.identity)
    identity.verify(identity.card_key(theirs), identity.REQUEST, signed)
    if (request.node_id, request.intake) != (own_node_id, intake) or theirs.node_id == own_node_id:
        raise BadHandshake
    return Asked(request, theirs, hash_of(raw))


def write_accept(own: OwnIdentity, document: JsonObject) -> bytes:
    """The signed half of ACCEPT."""
    return note("accept", own.sign(identity.ACCEPT, document | {"identity": own.proof}))


def read_accept(raw: bytes, handshake: Handshake) -> Accepted:
    """Check that the one who answers is the one whose invitation we opened."""
    signed = _parse_note(raw).get("signed")
    body = identity.from_text(signed.get("body")) if isinstance(signed, dict) else b""
    accept = payloads.read(Accept, identity.read_document(body))
    theirs = identity.verify_proof(accept.identity)
    identity.verify(identity.card_key(theirs), identity.ACCEPT, signed)
    if theirs.node_id != handshake.node_id or theirs.server_name != handshake.server_name:
        raise BadHandshake
    if accept.request_hash != handshake.request_hash:
        raise BadHandshake
    return Accepted(accept, theirs)


def write_inside(direction: str, epoch: int, now: int, body: JsonObject) -> bytes:
    """The Olm plaintext of a handshake's message."""
    frame = Outgoing("handshake", now, orjson.dumps(body))
    return frame_format.write(direction, epoch, 0, frame, {})


def read_inside(plaintext: bytes, direction: str, epoch: int) -> JsonObject:
    """Undo `write_inside`."""
    frame, _ = frame_format.read(plaintext)
    said = (frame.kind, frame.direction, frame.epoch, frame.sequence)
    if said != ("handshake", direction, epoch, 0):
        raise BadHandshake
    return frame.body


def check_place(
    body: JsonObject, model: type[AcceptInside] | type[Prove], transcript: str
) -> tuple[AcceptInside | Prove, tuple[str, ...]]:
    """Check the address a side made for the other, and its routes."""
    place = payloads.read(model, body)
    if place.transcript != transcript:
        raise BadHandshake
    identity.from_text(place.door_key, 32)
    return place, invitation_links.checked_routes(place.routes)


def check_ready(body: JsonObject, transcript: str) -> None:
    """Check that READY ends the same handshake."""
    if payloads.read(Ready, body).transcript != transcript:
        raise BadHandshake


def pack(raw_note: bytes, message: OlmMessage, epoch: int) -> bytes:
    """Keep a message so that a repeat is the same bytes."""
    content = {
        "note": identity.to_text(raw_note),
        "kind": message.kind,
        "olm": identity.to_text(message.body),
        "epoch": epoch,
    }
    return orjson.dumps(content)


def unpack(packed: bytes, answers: bytes) -> Envelope:
    """The envelope of a kept message."""
    content = orjson.loads(packed)
    return Envelope(
        answers=answers,
        epoch=content["epoch"],
        note=identity.from_text(content["note"]),
        olm_kind=content["kind"],
        olm=identity.from_text(content["olm"]),
    )


def _parse_note(raw: bytes) -> JsonObject:
    try:
        parsed = orjson.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
