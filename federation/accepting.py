"""Write ACCEPT: who we are, and an address with its key that are made for this one node."""

from dataclasses import dataclass, replace

import orjson

from federation import doors, identity, told_grants
from federation import handshake_messages as messages
from federation.handshake_messages import Asked, Secrets
from federation.turn_state import Party
from homeserver import crash_points
from homeserver.crash_points import Point
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage import channels, peers
from homeserver.storage.invitations import Handshake
from homeserver.storage.unit_of_work import UnitOfWork, View


@dataclass(frozen=True, slots=True)
class Said:
    """What we tell about ourselves; the routes only to whom they are granted."""

    name: str
    routes: tuple[str, ...]


def write(work: UnitOfWork, party: Party, handshake: Handshake, said: Said) -> Handshake:
    """The handshake with ACCEPT in it, and with what is needed to understand PROVE."""
    asked = messages.read_request(handshake.request, party.own.node_id, handshake.intake)
    account, olm_key = party.sessions.create_account(handshake.node_id)
    channel = channels.find_channel(work, asked.identity.server_name)
    is_connected = channel is not None
    epoch = max(asked.request.epoch, channel.highest_epoch if channel else 0) + 1
    note = messages.write_accept(
        party.own,
        {
            "olm_key": olm_key,
            "name": said.name,
            "is_connected": is_connected,
            "request_hash": asked.request_hash,
            "epoch": epoch,
        },
    )
    secrets = Secrets(
        account=account,
        epoch=epoch,
        our_address=party.entropy.token_bytes(doors.ADDRESS_BYTES),
        our_door_key=party.entropy.token_bytes(32),
        their_olm_key=asked.request.olm_key,
        their_proof=orjson.dumps(asked.identity.proof),
        their_name=asked.request.name,
        their_grants=orjson.dumps(asked.request.grants.as_told()),
        transcript=messages.transcript_of(handshake.request, note),
        told_routes=_routes_for(work, asked, said),
        restarts=asked.request.is_connected != is_connected,
    )
    inside = messages.write_inside(
        party.own.node_id, epoch, party.clock.now_ms(), _inside(work, secrets, asked)
    )
    return _sealed(party, handshake, asked, note, inside, secrets)


def _sealed(
    party: Party, handshake: Handshake, asked: Asked, note: bytes, inside: bytes, secrets: Secrets
) -> Handshake:
    sessions, node_id, epoch = party.sessions, handshake.node_id, secrets.epoch
    session = sessions.start(
        node_id, epoch, secrets.account, asked.request.olm_key, asked.request.one_time_key
    )
    message, session = sessions.encrypt(node_id, epoch, session, inside)
    crash_points.reach(Point.ACCEPT_SEALED)
    sealed = messages.seal_secrets(
        sessions.keyring, handshake.key, replace(secrets, session=session)
    )
    return replace(handshake, accept=messages.pack(note, message, epoch), secrets=sealed)


def _routes_for(view: View, asked: Asked, said: Said) -> tuple[str, ...]:
    peer = peers.find_peer(view, asked.identity.server_name)
    may_learn = peer is not None and peers.permits(peer.grants, "route")
    return said.routes if may_learn else ()


def _inside(view: View, secrets: Secrets, asked: Asked) -> JsonObject:
    peer = peers.find_peer(view, asked.identity.server_name)
    given = {} if peer is None else peer.grants
    return {
        "transcript": secrets.transcript,
        "address": secrets.our_address.hex(),
        "door_key": identity.to_text(secrets.our_door_key),
        "routes": list(secrets.told_routes),
        "grants": told_grants.told(view, given),
    }
