"""What two people who want to meet hand to a common peer: signed by one, sealed for the other.

The common peer sees who wants to meet whom in which room, and cannot open the invitation inside.
The seal is libsodium's, for the key that signs the receiver's events.
"""

from dataclasses import dataclass

import nacl.exceptions
import nacl.public
import nacl.signing

from federation import identity, invitation_links
from federation.identity import BadIdentity, Identity
from federation.invitation_links import Link
from federation.own_identity import OwnIdentity
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId

CONTEXT = b"homeserver/introduction/1\0"
LIFETIME_MS = 14 * 86_400_000


@dataclass(frozen=True, slots=True)
class Note:
    """A note that was really written by whom it names, for us."""

    writer: Identity
    room_id: RoomId
    link: Link | None  # nobody can reach the writer: the other one invites


def write(
    own: OwnIdentity, receiver: Identity, room_id: RoomId, link: Link | None, now_ms: int
) -> JsonObject:
    """Our yes to somebody in a room, with an invitation if we can be reached."""
    sealed = None if link is None else identity.to_text(_seal(receiver, link))
    said = {
        "from": own.node_id,
        "to": receiver.node_id,
        "room_id": room_id,
        "link": sealed,
        "at": now_ms,
    }
    return {"proof": own.proof, "said": own.sign(CONTEXT, said)}


def read(own: OwnIdentity, note: JsonObject, now_ms: int) -> Note:
    """Check a note; raises `BadIdentity` for everything that is wrong with it."""
    writer = identity.verify_proof(note.get("proof"))
    if not identity.has_p2p_name(writer):
        raise BadIdentity  # a DNS name counts only where an invitation of a person named it
    body = identity.verify(identity.card_key(writer), CONTEXT, note.get("said"))
    said = identity.read_document(body)
    room_id, at = said.get("room_id"), said.get("at")
    if (said.get("from"), said.get("to")) != (writer.node_id, own.node_id):
        raise BadIdentity
    if not isinstance(room_id, str) or not isinstance(at, int) or at < now_ms - LIFETIME_MS:
        raise BadIdentity
    link = None if said.get("link") is None else _open(own, said["link"])
    if link is not None and (link.node_id, link.server_name) != (
        writer.node_id,
        writer.server_name,
    ):
        raise BadIdentity
    return Note(writer, RoomId(room_id), link)


def _seal(receiver: Identity, link: Link) -> bytes:
    key = nacl.signing.VerifyKey(identity.card_key(receiver)).to_curve25519_public_key()
    return bytes(nacl.public.SealedBox(key).encrypt(invitation_links.write(link).encode()))


def _open(own: OwnIdentity, sealed: object) -> Link:
    key = nacl.signing.SigningKey(own.event_seed).to_curve25519_private_key()
    try:
        text = nacl.public.SealedBox(key).decrypt(identity.from_text(sealed)).decode()
        return invitation_links.read(text)
    except (nacl.exceptions.CryptoError, ValueError, errors.InvalidParam) as error:
        raise BadIdentity from error
