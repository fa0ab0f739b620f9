"""Who a server is: an inception that names it for ever, successions of its root key, a card.

Everything here is public and checked without asking anybody. Documents are signed as bytes, and
each kind of document starts with a context of its own, so that none passes as another.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Any

import nacl.exceptions
import nacl.signing

from federation import fingerprints
from homeserver import errors
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName

P2P_SUFFIX = ".p2p.alt"
CARD = b"homeserver/card/1\0"
SUCCESSION = b"homeserver/succession/1\0"
REQUEST = b"homeserver/request/1\0"
ACCEPT = b"homeserver/accept/1\0"
WANT = b"homeserver/want/1\0"
KEYS = b"homeserver/keys/1\0"
OPENED = b"homeserver/opened/1\0"

# As Matrix limits server names, and in one spelling alone: nothing hidden, nothing to confuse.
_NAME_CHARACTERS = 230
_SERVER_NAME = re.compile(r"(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")

_MOST_SUCCESSIONS = 64
_MOST_RETIRED_KEYS = 256


class BadIdentity(errors.BadSignature):
    """The other server's proof of who it is does not hold."""


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """An event-signing key that is used no more: it counts for events from before its end."""

    public: str
    ended_at: int


@dataclass(frozen=True, slots=True)
class Card:
    """The root key's statement about the server's name and its event-signing keys."""

    server_name: ServerName
    sequence: int
    keys: dict[str, str]
    retired: dict[str, RetiredKey]
    digest: bytes

    def key_at(self, key_id: str, at: int) -> str | None:
        """The public key that was valid under this ID when an event says it was made."""
        if key_id in self.keys:
            return self.keys[key_id]
        retired = self.retired.get(key_id)
        return retired.public if retired is not None and at <= retired.ended_at else None


@dataclass(frozen=True, slots=True)
class Identity:
    """A proof of identity that holds: the name, the present root key and the card it signed."""

    node_id: str
    root_key: bytes
    successions: int
    card: Card
    proof: JsonObject

    @property
    def server_name(self) -> ServerName:
        """The Matrix server name."""
        return self.card.server_name


def node_id_of(inception: bytes) -> str:
    """The name that outlives addresses: the hash of the first root key and the commitment."""
    return fingerprints.encode_base32(hashlib.sha256(inception).digest())


def p2p_name(node_id: str) -> ServerName:
    """The server name of a node that needs no DNS: `.alt` never resolves (RFC 9476)."""
    return ServerName(node_id + P2P_SUFFIX)


def checked_name(name: object, node_id: str) -> ServerName:
    """A server name that this node may have: plain, and its own where it is made of a key."""
    if not isinstance(name, str) or len(name) > _NAME_CHARACTERS:
        raise BadIdentity
    if not _SERVER_NAME.fullmatch(name):
        raise BadIdentity
    if name.endswith(P2P_SUFFIX) and name != p2p_name(node_id):
        raise BadIdentity
    return ServerName(name)


def has_p2p_name(identity: Identity) -> bool:
    """Whether the name proves itself; a DNS name has to be vouched for by an invitation."""
    return identity.server_name == p2p_name(identity.node_id)


def root_hash(public: bytes) -> str:
    """How a root key that is not in use yet is committed to."""
    return fingerprints.encode_base32(hashlib.sha256(b"homeserver/root/1\0" + public).digest())


def to_text(raw: bytes) -> str:
    """Base64 without padding, as Matrix writes keys."""
    return base64.b64encode(raw).decode().rstrip("=")


def from_text(text: object, length: int | None = None) -> bytes:
    """Undo `to_text`."""
    if not isinstance(text, str):
        raise BadIdentity
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadIdentity from error
    if length is not None and len(raw) != length:
        raise BadIdentity
    return raw


def sign(key: nacl.signing.SigningKey, context: bytes, document: JsonObject) -> JsonObject:
    """Sign a document of our own; the receiver checks exactly these bytes."""
    body = canonical_json.encode(document)
    return {"body": to_text(body), "signature": to_text(key.sign(context + body).signature)}


def verify(public: bytes, context: bytes, signed: Any) -> bytes:
    """Return the signed bytes if the signature is this key's, for this kind of document."""
    if not isinstance(signed, dict):
        raise BadIdentity
    body = from_text(signed.get("body"))
    signature = from_text(signed.get("signature"), 64)
    try:
        nacl.signing.VerifyKey(public).verify(context + body, signature)
    except (nacl.exceptions.BadSignatureError, ValueError) as error:
        raise BadIdentity from error
    return body


def read_document(body: bytes) -> JsonObject:
    """Parse signed bytes once."""
    try:
        document = canonical_json.decode(body)
    except errors.HomeserverError as error:
        raise BadIdentity from error
    if not isinstance(document, dict):
        raise BadIdentity
    return document


def verify_proof(proof: Any) -> Identity:
    """Check inception, successions and card, each signed for by the one before it."""
    if not isinstance(proof, dict):
        raise BadIdentity
    inception = from_text(proof.get("inception"))
    first = read_document(inception)
    if first.get("version") != 1:
        raise BadIdentity
    node_id = node_id_of(inception)
    root, committed = from_text(first.get("root_key"), 32), first.get("next_root_hash")
    successions = proof.get("successions", [])
    if not isinstance(successions, list) or len(successions) > _MOST_SUCCESSIONS:
        raise BadIdentity
    for index, signed in enumerate(successions, start=1):
        root, committed = _succeed(node_id, index, committed, signed)
    card = _read_card(node_id, verify(root, CARD, proof.get("card")))
    return Identity(node_id, root, len(successions), card, _only_known_fields(proof))


def may_replace(known: Identity, shown: Identity) -> bool:
    """Whether a proof is the one we know or continues it; anything else is an alarm.

    Nothing signed by a root key that was succeeded counts, and one sequence has one content.
    """
    if shown.node_id != known.node_id or shown.server_name != known.server_name:
        return False
    before, after = known.proof["successions"], shown.proof["successions"]
    if after[: len(before)] != before:
        return False
    if len(after) > len(before):
        return True  # whatever the root key before has signed meanwhile, and however often
    if shown.card.sequence == known.card.sequence:
        return shown.card.digest == known.card.digest
    return shown.card.sequence > known.card.sequence


def _succeed(node_id: str, index: int, committed: Any, signed: Any) -> tuple[bytes, Any]:
    if not isinstance(signed, dict):
        raise BadIdentity
    # The new key is named inside what it signs; it counts because the one before committed to it.
    named = read_document(from_text(signed.get("body")))
    root = from_text(named.get("root_key"), 32)
    if root_hash(root) != committed:
        raise BadIdentity
    verify(root, SUCCESSION, signed)
    if named.get("node_id") != node_id or named.get("index") != index:
        raise BadIdentity
    return root, named.get("next_root_hash")


def _read_card(node_id: str, body: bytes) -> Card:
    named = read_document(body)
    name, sequence = checked_name(named.get("server_name"), node_id), named.get("sequence")
    if named.get("node_id") != node_id:
        raise BadIdentity
    if not isinstance(sequence, int) or sequence < 1:
        raise BadIdentity
    keys, retired = named.get("keys"), named.get("retired", {})
    if not isinstance(keys, dict) or len(keys) != 1 or not isinstance(retired, dict):
        raise BadIdentity
    if len(retired) > _MOST_RETIRED_KEYS or set(keys) & set(retired):
        raise BadIdentity
    for public in keys.values():
        from_text(public, 32)
    return Card(
        name,
        sequence,
        dict(keys),
        {key_id: _read_retired(value) for key_id, value in retired.items()},
        hashlib.sha256(body).digest(),
    )


def _read_retired(value: Any) -> RetiredKey:
    if not isinstance(value, dict) or not isinstance(value.get("ended_at"), int):
        raise BadIdentity
    from_text(value.get("key"), 32)
    return RetiredKey(value["key"], value["ended_at"])


def card_key(identity: Identity) -> bytes:
    """The present event-signing key, which also signs handshakes."""
    (public,) = identity.card.keys.values()
    return from_text(public, 32)


def _only_known_fields(proof: JsonObject) -> JsonObject:
    return {
        "inception": proof["inception"],
        "successions": list(proof.get("successions", [])),
        "card": {"body": proof["card"]["body"], "signature": proof["card"]["signature"]},
    }
