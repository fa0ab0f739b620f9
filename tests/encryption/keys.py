"""Keys as clients upload them, with signatures that are right."""

from typing import Any

from homeserver.matrix import signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName, UserId
from homeserver.matrix.signing import SigningKey
from homeserver.storage import peers
from homeserver.storage.peers import Peer
from homeserver.testing import device_secrets
from homeserver.testing.device_secrets import signer
from tests.accounts.serving import ALICE, BOB, BOBS, Served


def device_keys(device_id: str, user_id: str = ALICE, **more: Any) -> JsonObject:
    """A device's identity keys."""
    return device_secrets.device_keys(user_id, device_id, **more)


def one_time_keys(
    *names: str, user_id: str = ALICE, device_id: str | None = None, **more: Any
) -> JsonObject:
    """One-time keys of Alice's phone or Bob's tablet, if of no other device."""
    device = device_id or ("PHONE" if user_id == ALICE else "TAB")
    return device_secrets.one_time_keys(user_id, device, *names, **more)


def cross_signing_key(usage: str, name: str, user_id: str = ALICE) -> JsonObject:
    """A cross-signing key without signatures."""
    public = signer(name).public
    return {"user_id": user_id, "usage": [usage], "keys": {f"ed25519:{public}": public}}


def signed_by(name: str, value: JsonObject, user_id: UserId = ALICE) -> JsonObject:
    """A copy signed with a cross-signing key, whose ID is its public key."""
    key = signer(name)
    named = SigningKey(f"ed25519:{key.public}", key._key)
    return signing.sign_json(value, user_id, named)


def signed_by_device(device_id: str, value: JsonObject) -> JsonObject:
    """A copy signed with a device's own key."""
    return device_secrets.signed_by_device(ALICE, device_id, value)


def whole_set(name: str = "") -> JsonObject:
    """A user's three cross-signing keys, the master's signature on the others."""
    master = f"{name}master"
    return {
        "master_key": cross_signing_key("master", master),
        "self_signing_key": signed_by(master, cross_signing_key("self_signing", f"{name}self")),
        "user_signing_key": signed_by(master, cross_signing_key("user_signing", f"{name}user")),
    }


def deposit_of_bob(**of_user: Any) -> JsonObject:
    """What Bob's server leaves with Alice's."""
    return {"users": {BOB: {"device_keys": {"TAB": device_keys("TAB", BOB)}, **of_user}}}


async def connect(served: Served, server: ServerName = BOBS) -> None:
    """Make a server one that Alice agreed to exchange things with."""
    peer = Peer(
        server_name=server,
        node_id=f"node of {server}",
        standing="active",
        standing_before="none",
        name="Bob",
        proof={},
        grants={},
        granted={},
        inviter="",
        how="link",
    )
    await served.database.write(lambda work: peers.save_peer(work, peer))
