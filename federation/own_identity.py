"""This server's own keys: made once, kept sealed in the data directory, renewed by succession.

The next root key is derived from the recovery phrase, which is shown once and never stored.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import nacl.signing

from federation import fingerprints, identity
from federation.identity import Identity, RetiredKey
from homeserver import errors
from homeserver.keyring import Keyring, hkdf, write_private
from homeserver.matrix import canonical_json, signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.matrix.signing import SigningKey
from homeserver.ports import Entropy
from homeserver.rooms.local_server import LocalServer

_FILE = "identity.sealed"
_SEED_BYTES = 32


class WrongPhrase(errors.InvalidParam):
    """That recovery phrase does not belong to this server."""


@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """Our proof of identity with the private keys behind it."""

    identity: Identity
    root_seed: bytes
    event_seed: bytes

    @property
    def node_id(self) -> str:
        """The name that outlives addresses."""
        return self.identity.node_id

    @property
    def server_name(self) -> ServerName:
        """The Matrix server name."""
        return self.identity.server_name

    @property
    def proof(self) -> JsonObject:
        """What proves to anybody who we are."""
        return self.identity.proof

    @property
    def local(self) -> LocalServer:
        """This server, where rooms are concerned."""
        return LocalServer(self.server_name, self.event_key)

    @property
    def event_key(self) -> SigningKey:
        """The key that signs our events."""
        (key_id,) = self.identity.card.keys
        return signing.generate(self.event_seed, key_id.partition(":")[2])

    def sign(self, context: bytes, document: JsonObject) -> JsonObject:
        """Sign a document of ours with the card's key."""
        return identity.sign(nacl.signing.SigningKey(self.event_seed), context, document)


def create(
    entropy: Entropy, now_ms: int, server_name: ServerName | None = None
) -> tuple[OwnIdentity, str]:
    """Make a new server's keys; returns them with the recovery phrase to show once."""
    root, event = entropy.token_bytes(_SEED_BYTES), entropy.token_bytes(_SEED_BYTES)
    secret = entropy.token_bytes(_SEED_BYTES)
    inception = canonical_json.encode(
        {
            "version": 1,
            "root_key": identity.to_text(_public(root)),
            "next_root_hash": identity.root_hash(_public(_next_seed(secret))),
            "created_at": now_ms,
        }
    )
    node_id = identity.node_id_of(inception)
    proof = {"inception": identity.to_text(inception), "successions": []}
    card = _card(node_id, server_name or identity.p2p_name(node_id), 1, event, {})
    return _sealed_by(root, event, proof, card), _phrase(secret)


def succeed(own: OwnIdentity, phrase: str, entropy: Entropy) -> tuple[OwnIdentity, str]:
    """Put the committed root key in the place of the present one, and commit to the one after.

    For when the root key may be in other hands. Returns the next recovery phrase as well.
    """
    root = _next_seed(_secret_of(phrase))
    secret = entropy.token_bytes(_SEED_BYTES)
    done: list[JsonObject] = own.proof["successions"]
    statement = identity.sign(
        nacl.signing.SigningKey(root),
        identity.SUCCESSION,
        {
            "node_id": own.node_id,
            "index": len(done) + 1,
            "root_key": identity.to_text(_public(root)),
            "next_root_hash": identity.root_hash(_public(_next_seed(secret))),
        },
    )
    proof = {"inception": own.proof["inception"], "successions": [*done, statement]}
    card = own.identity.card
    document = _card(own.node_id, card.server_name, card.sequence + 1, own.event_seed, card.retired)
    try:
        return _sealed_by(root, own.event_seed, proof, document), _phrase(secret)
    except identity.BadIdentity as error:
        raise WrongPhrase from error


def renew_event_key(own: OwnIdentity, entropy: Entropy, now_ms: int) -> OwnIdentity:
    """Sign events with a new key from now on; the one before counts for what it signed."""
    card = own.identity.card
    ended = {key_id: RetiredKey(public, now_ms) for key_id, public in card.keys.items()}
    event = entropy.token_bytes(_SEED_BYTES)
    document = _card(own.node_id, card.server_name, card.sequence + 1, event, card.retired | ended)
    return _sealed_by(own.root_seed, event, own.proof, document)


def save(own: OwnIdentity, directory: Path, keyring: Keyring) -> None:
    """Keep the identity sealed in the data directory."""
    content = canonical_json.encode(
        {
            "proof": own.proof,
            "root": identity.to_text(own.root_seed),
            "event": identity.to_text(own.event_seed),
        }
    )
    write_private(directory / _FILE, keyring.seal("identity", "", content))


def exists(directory: Path) -> bool:
    """Whether the data directory holds an identity."""
    return (directory / _FILE).exists()


def load(directory: Path, keyring: Keyring) -> OwnIdentity:
    """Open the identity of a data directory."""
    stored = canonical_json.decode(keyring.open("identity", "", (directory / _FILE).read_bytes()))
    return OwnIdentity(
        identity.verify_proof(stored["proof"]),
        identity.from_text(stored["root"], _SEED_BYTES),
        identity.from_text(stored["event"], _SEED_BYTES),
    )


def _sealed_by(root: bytes, event: bytes, proof: JsonObject, card: JsonObject) -> OwnIdentity:
    signed = identity.sign(nacl.signing.SigningKey(root), identity.CARD, card)
    return OwnIdentity(identity.verify_proof(proof | {"card": signed}), root, event)


def _card(
    node_id: str,
    server_name: ServerName,
    sequence: int,
    event: bytes,
    retired: dict[str, RetiredKey],
) -> JsonObject:
    public = _public(event)
    # A name derived from the key, so that two keys never share one.
    key_id = "ed25519:" + fingerprints.encode_base32(public)[:8]
    return {
        "node_id": node_id,
        "server_name": server_name,
        "sequence": sequence,
        "keys": {key_id: identity.to_text(public)},
        "retired": {
            name: {"key": key.public, "ended_at": key.ended_at} for name, key in retired.items()
        },
    }


def _public(seed: bytes) -> bytes:
    return bytes(nacl.signing.SigningKey(seed).verify_key)


def _next_seed(secret: bytes) -> bytes:
    return hkdf(secret, b"homeserver/next-root/1")


def _phrase(secret: bytes) -> str:
    return fingerprints.in_groups(fingerprints.encode_base32(secret))


def _secret_of(phrase: str) -> bytes:
    return fingerprints.decode_base32(fingerprints.from_groups(phrase))


def renamed(own: OwnIdentity, server_name: ServerName) -> OwnIdentity:
    """The same server under a DNS name; only before it has met anybody."""
    card = own.identity.card
    document = _card(own.node_id, server_name, card.sequence + 1, own.event_seed, card.retired)
    renewed = _sealed_by(own.root_seed, own.event_seed, own.proof, document)
    return replace(own, identity=renewed.identity)
