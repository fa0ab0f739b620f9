"""Open somebody's link: our yes, and the REQUEST that asks for theirs."""

from dataclasses import dataclass, replace

from federation import agreeing, consent, consent_steps, grants, told_grants
from federation import handshake_messages as messages
from federation.consent import Standing, Step
from federation.consent_steps import Doing
from federation.desk import DAY_MS, DONE, Terms
from federation.handshake_messages import Secrets
from federation.invitation_links import Link
from federation.sentences import EverythingPaused
from federation.turn_state import Party
from homeserver import errors
from homeserver.matrix.identifiers import RoomId
from homeserver.storage import channels, invitations, peers
from homeserver.storage.invitations import INVITEE, Handshake
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

REQUESTING = "requesting"


class AlreadyAsked(errors.Conflict):
    """This link was opened before; its answer is still awaited."""


class AlreadyUsed(errors.Conflict):
    """You are connected through this link already. A link works once."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How a link came to the owner, and which set of grants the other side is to have."""

    how: str = "link"
    grant_set: str | None = None
    room_id: RoomId | None = None  # an introduction is for one room
    way: str | None = None  # by which the owner ordered it, for the audit trail


def open_link(
    work: UnitOfWork, party: Party, terms: Terms, link: Link, choice: Choice
) -> Handshake:
    """Take the owner's step and store REQUEST. Raises `consent.Breach` where it may not be."""
    now = party.clock.now_ms()
    before = invitations.find_handshake(work, link.intake)
    if before is not None:
        raise AlreadyUsed if before.state == DONE else AlreadyAsked
    peer = _peer(work, party, terms, link, choice)
    is_repair = consent.is_connected(Standing(peer.standing))
    if peers.is_everything_paused(work):
        raise EverythingPaused
    doing = Doing(now, "owner", choice.how)
    consent_steps.take(work, peer, Step.OWNER_CONNECTED, doing, consent_steps.by(choice.way))
    handshake = _ask(work, party, terms, link, peer, is_repair=is_repair)
    handshake = replace(handshake, room_id=choice.room_id)
    invitations.save_handshake(work, handshake)
    return handshake


def _peer(work: UnitOfWork, party: Party, terms: Terms, link: Link, choice: Choice) -> Peer:
    known = peers.find_node(work, link.node_id)
    named = peers.find_peer(work, link.server_name)
    if link.node_id == party.own.node_id or link.server_name == party.own.server_name:
        raise errors.InvalidParam("That link is your own.")
    if named is not None and named.node_id != link.node_id:
        raise errors.Conflict("Another server has that name already.")
    given = agreeing.chosen(terms.federation, choice.grant_set)
    if known is not None:
        if known.server_name != link.server_name:
            raise errors.Conflict("You know that server under another name.")
        return agreeing.begun_again(terms.federation, known, given)
    return Peer(
        server_name=link.server_name,
        node_id=link.node_id,
        standing=Standing.NONE.value,
        standing_before=Standing.NONE.value,
        name="",
        proof={},
        grants=given or grants.by_default(terms.federation.default_grants).model_dump(),
        granted={},
        inviter=link.node_id,
        how=choice.how,
        room_id=choice.room_id,
    )


def _ask(
    work: UnitOfWork, party: Party, terms: Terms, link: Link, peer: Peer, *, is_repair: bool
) -> Handshake:
    sessions, now = party.sessions, party.clock.now_ms()
    account, olm_key = sessions.create_account(link.node_id)
    one_time_key, account = sessions.create_one_time_key(link.node_id, account)
    channel = channels.find_channel(work, link.server_name)
    epoch = channel.highest_epoch if channel is not None else 0
    request = messages.write_request(
        party.own,
        {
            "olm_key": olm_key,
            "one_time_key": one_time_key,
            "name": terms.name,
            "grants": told_grants.told(work, peer.grants),
            "is_connected": is_repair,
            "epoch": epoch,
            "node_id": link.node_id,
            "intake": link.intake,
        },
    )
    secrets = Secrets(account=account, epoch=epoch, routes=link.routes, link_door_key=link.door_key)
    lifetime = int(terms.federation.handshake_lifetime_days * DAY_MS)
    return Handshake(
        key=link.intake,
        role=INVITEE,
        state=REQUESTING,
        intake=link.intake,
        node_id=link.node_id,
        server_name=link.server_name,
        is_repair=is_repair,
        request_hash=messages.hash_of(request),
        request=request,
        accept=b"",
        prove=b"",
        ready=b"",
        secrets=messages.seal_secrets(sessions.keyring, link.intake, secrets),
        created_at=now,
        expires_at=now + lifetime,
    )
