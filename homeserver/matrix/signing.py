"""Content hash, reference hash, and signatures over JSON."""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any

import nacl.exceptions
import nacl.signing

from homeserver.errors import BadSignature, InvalidParam
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId
from homeserver.matrix.redaction import redact
from homeserver.matrix.room_versions import RoomVersion

_NOT_HASHED = frozenset({"unsigned", "signatures", "hashes"})
_NOT_SIGNED = frozenset({"unsigned", "signatures"})
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A server's ed25519 key, under the name that its signatures carry."""

    key_id: str
    _key: nacl.signing.SigningKey = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature alone."""
        return self._key.sign(message).signature

    @property
    def public(self) -> str:
        """The verification key in unpadded base64."""
        return unpadded_b64(bytes(self._key.verify_key))

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes that `generate` makes this key from again."""
        return bytes(self._key)


def generate(seed: bytes, version: str) -> SigningKey:
    """Make the signing key that belongs to 32 random bytes."""
    return SigningKey(f"ed25519:{version}", nacl.signing.SigningKey(seed))


def unpadded_b64(raw: bytes) -> str:
    """Encode as base64 without the trailing `=`.

    Spec: appendices#unpadded-base64
    """
    return binascii.b2a_base64(raw, newline=False).rstrip(b"=").decode()


def url_safe_b64(raw: bytes) -> str:
    """Encode as unpadded base64 with `-` and `_`, as in event IDs.

    Spec: appendices#unpadded-base64
    """
    encoded = binascii.b2a_base64(raw, newline=False)
    return encoded.rstrip(b"=").translate(_URL_SAFE).decode()


def decode_b64(text: str) -> bytes:
    """Decode base64 with or without padding; refuse any other character.

    Spec: appendices#unpadded-base64
    """
    bare = text.rstrip("=")
    try:
        return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except ValueError as error:
        raise InvalidParam("That is not base64.") from error


def signed_bytes(signed: Mapping[str, Any]) -> bytes:
    """Return the bytes that a signature over this object covers."""
    return canonical_json.encode(_without(signed, _NOT_SIGNED))


def sign_json(unsigned: JsonObject, server_name: str, key: SigningKey) -> JsonObject:
    """Return a copy that carries our signature beside those it had.

    Spec: appendices#signing-json
    """
    signature = unpadded_b64(key.sign(signed_bytes(unsigned)))
    signatures = unsigned.get("signatures", {})
    ours = signatures.get(server_name, {}) | {key.key_id: signature}
    return unsigned | {"signatures": signatures | {server_name: ours}}


def verify_json(signed: JsonObject, server_name: str, key_id: str, public_key: str) -> None:
    """Raise unless this server signed these exact values with this key.

    Spec: appendices#checking-for-a-signature
    """
    signature = signature_of(signed, server_name, key_id)
    verify_bytes(signed_bytes(signed), signature, public_key)


def signature_of(signed: JsonObject, server_name: str, key_id: str) -> str:
    """Return a signature from the place where signed JSON carries it."""
    signatures = signed.get("signatures")
    ours = signatures.get(server_name) if isinstance(signatures, dict) else None
    signature = ours.get(key_id) if isinstance(ours, dict) else None
    if not isinstance(signature, str):
        raise BadSignature(f"Not signed by {server_name} with {key_id}.")
    return signature


def verify_bytes(message: bytes, signature: str, public_key: str) -> None:
    """Raise unless the owner of the public key signed this message."""
    try:
        _verify_key(public_key).verify(message, decode_b64(signature))
    except (InvalidParam, ValueError, nacl.exceptions.CryptoError) as error:
        raise BadSignature from error


def content_hash(pdu: Mapping[str, Any]) -> str:
    """Hash everything of an event, so that a change or a redaction is noticed.

    Spec: server-server-api#calculating-the-content-hash-for-an-event
    """
    return unpadded_b64(sha256(canonical_json.encode(_without(pdu, _NOT_HASHED))).digest())


def reference_hash(pdu: JsonObject, version: RoomVersion) -> str:
    """Hash what redaction leaves of an event, in the alphabet of event IDs.

    Spec: server-server-api#calculating-the-reference-hash-for-an-event
    """
    canonical_json.check_integers_only(pdu)
    return hash_essentials(essential_bytes(pdu, version))


def event_id(pdu: JsonObject, version: RoomVersion) -> EventId:
    """Derive an event's ID from its content, so that no server can choose it.

    The hash covers the redacted event: redacting it later leaves the ID unchanged.

    Spec: rooms/v12#event-ids
    """
    return EventId("$" + reference_hash(pdu, version))


def essential_bytes(pdu: JsonObject, version: RoomVersion) -> bytes:
    """Return what both the event's ID and its signatures cover.

    The caller has checked the values: this is run for every event, the walk is the dearest part.
    """
    essential = redact(pdu, version)
    essential.pop("signatures", None)
    return canonical_json.encode_checked(essential)


def hash_essentials(essential: bytes) -> str:
    """Return the reference hash that belongs to `essential_bytes`."""
    return url_safe_b64(sha256(essential).digest())


@lru_cache(maxsize=1024)
def _verify_key(public_key: str) -> nacl.signing.VerifyKey:
    return nacl.signing.VerifyKey(decode_b64(public_key))


def _without(signed: Mapping[str, Any], keys: frozenset[str]) -> JsonObject:
    return {key: value for key, value in signed.items() if key not in keys}
