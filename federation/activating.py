"""The end of a handshake, on both sides: a channel is made, or an active one gets other keys."""

import orjson

from federation import alarms, consent, consent_steps, early_invitations, identity
from federation.consent import Effect, Outcome, Standing, Step
from federation.consent_steps import Doing
from federation.handshake_messages import Secrets
from federation.turn_state import ChannelClosed, Party, TurnState
from homeserver import crash_points
from homeserver.crash_points import Point
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.rooms import hiding
from homeserver.storage import cards, channels, frames, meetings, notices, peers
from homeserver.storage.channels import Channel
from homeserver.storage.invitations import Handshake
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork


def activate(
    work: UnitOfWork, party: Party, handshake: Handshake, secrets: Secrets, doing: Doing
) -> Outcome:
    """Store what both sides proved. Raises `consent.Breach` where no yes of ours stands."""
    peer = peers.find_peer(work, peer_name(handshake))
    if peer is None:
        raise ChannelClosed
    inviter = party.own.node_id if handshake.role == "inviter" else handshake.node_id
    was_connected = consent.is_connected(Standing(peer.standing))
    before = channels.find_channel(work, peer.server_name)
    peer, outcome = consent_steps.take(work, peer, Step.PROOF_CAME, doing)
    if before is not None and _has_to_stay(
        (before, peer.inviter), (secrets, inviter), is_repair=handshake.is_repair
    ):
        return Outcome(outcome.standing)
    peers.change_peer(
        work,
        peer.server_name,
        inviter=inviter,
        granted=orjson.loads(secrets.their_grants),
        name=secrets.their_name,
    )
    _learn_keys(work, peer, orjson.loads(secrets.their_proof), doing.at)
    cards.delete_card(work, peer.server_name)
    is_wider = _set_scope(work, peer, handshake, doing.at, was_connected=was_connected)
    _renew_channel(work, party, peer, before, secrets)
    crash_points.reach(Point.CHANNEL_MADE)
    if is_wider or Effect.OPEN_CHANNEL in outcome.effects:
        hiding.follow_standing(work, peer.server_name, doing.at)
    if Effect.OPEN_CHANNEL in outcome.effects:
        frames.delete_everything(work, peer.server_name)
        early_invitations.send(work, party, peer.server_name)
    if Effect.TELL_OWNER in outcome.effects:
        content: JsonObject = {"server_name": peer.server_name, "name": secrets.their_name}
        notices.tell_owner(work, doing.at, "connected", peer.node_id, content)
    return outcome


def _learn_keys(work: UnitOfWork, peer: Peer, proof: JsonObject, now_ms: int) -> None:
    """Know a peer by what it proved; where it was known by other keys, the owner is told.

    What came meanwhile by another way, and is newer, stays.
    """
    if not peer.proof:
        peers.change_peer(work, peer.server_name, proof=proof)
    elif peer.proof != proof:
        shown = identity.verify_proof(proof)
        if identity.may_replace(identity.verify_proof(peer.proof), shown):
            alarms.adopt(work, peer, shown, now_ms)


def _has_to_stay(
    there: tuple[Channel, str], comes: tuple[Secrets, str], *, is_repair: bool
) -> bool:
    """Whether a channel was made by a handshake that crossed this one, and is to stay.

    Each comes with its inviter. Both sides have to decide alike, whichever handshake ended first
    there: the later epoch stays; of two for the same one, as where both invited each other, the
    lower inviter's; of two of the same inviter the one with the lower address. What mends a channel
    was agreed above every epoch of before: one that is not above it has been crossed.
    """
    (channel, inviter), (secrets, other) = there, comes
    if is_repair and channel.epoch != secrets.epoch:
        return channel.epoch > secrets.epoch
    if inviter != other:
        return inviter < other
    lowest = min(channel.our_address, channel.their_address)
    return is_repair and lowest < min(secrets.our_address, secrets.their_address)


def _set_scope(
    work: UnitOfWork, peer: Peer, handshake: Handshake, now_ms: int, *, was_connected: bool
) -> bool:
    """An introduction connects for its room; an ordinary invitation for everything.

    Returns whether a connection that was made for rooms is now for everything.
    """
    server = peer.server_name
    if handshake.room_id is None:
        peers.change_peer(work, server, room_id=None)
        meetings.wish_again(work)  # perhaps this one can introduce the owner to others
        if was_connected and peer.room_id is not None:
            meetings.forget(work, server)
            return True
        return False
    room_id = RoomId(handshake.room_id)
    if not was_connected:
        peers.change_peer(work, server, room_id=room_id)
    meetings.note_theirs(work, server, room_id, now_ms)
    return False


def peer_name(handshake: Handshake) -> ServerName:
    """The peer's server name."""
    return ServerName(handshake.server_name)


def _renew_channel(
    work: UnitOfWork, party: Party, peer: Peer, before: Channel | None, secrets: Secrets
) -> None:
    if secrets.restarts:
        before = None
        channels.delete_in_flight(work, peer.server_name)
    seal, node_id = party.sessions.keyring.seal, peer.node_id
    channels.save_channel(
        work,
        Channel(
            peer=peer.server_name,
            epoch=secrets.epoch,
            highest_epoch=secrets.epoch,
            account=secrets.account,
            session=secrets.session,
            previous_epoch=None,
            previous_session=None,
            their_olm_key=secrets.their_olm_key,
            sent=before.sent if before else 0,
            acknowledged=before.acknowledged if before else 0,
            received=before.received if before else 0,
            received_since_sent=0,
            our_address=secrets.our_address,
            our_door_key=seal("door", node_id, secrets.our_door_key),
            their_address=secrets.their_address,
            their_door_key=seal("door", node_id, secrets.their_door_key),
            routes=orjson.dumps(secrets.routes),
            routes_sequence=before.routes_sequence if before else 0,
            told_routes=orjson.dumps(secrets.told_routes),
            told_sequence=before.told_sequence if before else 0,
            told_card=party.own.identity.card.sequence,
            # What a handshake leaves has just read the other side, so its next chain is fresh.
            session_run=party.run,
            receipt=before.receipt if before else None,
            life=before.life if before else party.entropy.token_bytes(16),
        ),
    )
    if before is not None and channels.has_in_flight(work, peer.server_name):
        state = _state_of(work, party, peer)
        if state is not None:
            state.seal_anew()
            state.save()


def _state_of(work: UnitOfWork, party: Party, peer: Peer) -> TurnState | None:
    try:
        return TurnState(work, party, peer.server_name, peer.node_id)
    except ChannelClosed:
        return None  # stopped by an alarm: sealed anew once that is over
