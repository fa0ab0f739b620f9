"""Take in what peers send beside events: EDUs, messages to devices, invitations, deposits.

A peer speaks for its own users only. Everything here runs in the unit of work that also takes it
out of the inbox, so that nothing counts twice: messages to devices are cut out of the frame's row,
the row goes with the rest.

Spec: server-server-api#edus
"""

import logging
from collections.abc import Sequence

from pydantic import Field

from federation import payloads
from federation.payloads import CONNECTION, Payload
from federation.replication import access, verification
from federation.replication.cards import Cards
from federation.replication.verification import Room
from homeserver import ephemeral, errors, metrics
from homeserver.encryption import deposits, peer_deposits, reports, to_device
from homeserver.ephemeral import Typing
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.matrix.room_versions import room_version
from homeserver.ports import Clock
from homeserver.rooms import appending, drafting, outside
from homeserver.rooms.appending import Origin
from homeserver.rooms.local_server import LocalServer
from homeserver.storage.unit_of_work import UnitOfWork

_log = logging.getLogger(__name__)


class _MembershipTold(Payload):
    room_id: RoomId = Field(max_length=255)
    room_version: str = Field(max_length=255)
    event: JsonObject


@payloads.register("control.invite")
class InviteTold(_MembershipTold):
    """An invitation into a room that we are not in.

    Spec: server-server-api#put_matrixfederationv2inviteroomideventid
    """

    grant = "room_invites"

    invite_room_state: list[JsonObject] = Field(default=[], max_length=100)


@payloads.register("control.leave")
class LeaveTold(_MembershipTold):
    """An invitation was declined or taken back."""

    grant = CONNECTION


@payloads.register(f"control.{deposits.DEPOSIT}")
class DepositTold(Payload):
    """Device lists and keys of the peer's users; `peer_deposits` looks at what is inside."""

    grant = CONNECTION

    users: JsonObject
    round: str | None = Field(default=None, max_length=64)


@payloads.register(f"control.{deposits.DEPOSIT_USED}")
class DepositUsedTold(Payload):
    """Which keys of our deposit were handed out."""

    grant = CONNECTION

    used: JsonObject


@payloads.register(f"control.{deposits.DEPOSIT_RENEW}")
class DepositRenewTold(Payload):
    """The peer no longer knows which keys of our deposit it has handed out."""

    grant = CONNECTION

    round: str = Field(min_length=1, max_length=64)


class Updates:
    """Takes in everything that is not an event of a room we are in."""

    def __init__(self, local: LocalServer, clock: Clock, cards: Cards, typing: Typing) -> None:
        self._local = local
        self._clock = clock
        self._cards = cards
        self._typing = typing

    def take_in_edus(self, work: UnitOfWork, peer: ServerName, edus: Sequence[JsonObject]) -> None:
        """Take in the EDUs of a transaction. One that makes no sense does not spoil the others.

        Where a device has no room for one, all of it has to wait.
        """
        for edu in edus:
            try:
                self._take_in_edu(work, peer, edu)
            except errors.LimitExceeded:
                raise
            except errors.HomeserverError as error:
                metrics.bump("edus_refused")
                _log.info("refused an EDU peer=%s reason=%s", peer, type(error).__name__)

    def _take_in_edu(self, work: UnitOfWork, peer: ServerName, edu: JsonObject) -> None:
        kind = edu.get("edu_type")
        if kind == "m.typing":
            work.after_commit(lambda: _drop(self._typing.take_in_typing(peer, edu)))
        elif kind == "m.receipt":
            ephemeral.take_in_receipts(work, peer, edu)
        elif kind == "m.presence":
            ephemeral.take_in_presence(work, peer, edu, self._clock.now_ms())
        elif kind == to_device.EDU_TYPE:
            to_device.take_in_to_device(work, peer, _content(edu), self._clock.now_ms())

    def take_in_items(
        self, work: UnitOfWork, peer: ServerName, items: Sequence[JsonObject]
    ) -> None:
        """Take in the messages to devices of a transaction, in their order.

        Where a device has no room for one, all of it has to wait.
        """
        for item in items:
            if item.get("kind") != to_device.EDU_TYPE:
                continue
            try:
                to_device.take_in_to_device(work, peer, _body(item), self._clock.now_ms())
            except errors.LimitExceeded:
                raise
            except errors.HomeserverError as error:
                metrics.bump("to_device_refused")
                _log.info("refused a message peer=%s reason=%s", peer, type(error).__name__)

    def take_in_invite(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """Show the owner an invitation of a peer's user."""
        told = payloads.read(InviteTold, body)
        event = self._verified(work, peer, told)
        outside.take_in_invite(work, self._local, event, told.invite_room_state)

    def take_in_leave(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """A peer's user declined our invitation, or took theirs back."""
        event = self._verified(work, peer, payloads.read(LeaveTold, body))
        if drafting.is_inside(work, event.room_id, self._local):
            if event.content.get("membership") != "leave":
                raise errors.BadEvent("That is not the end of a membership.")
            appending.append(work, event, Origin(peer, is_relayed=True))
        else:
            outside.take_in_departure(work, self._local, event)

    def take_in_deposit(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """Keep the keys that a peer leaves with us."""
        now_ms = self._clock.now_ms()
        try:
            peer_deposits.take_in_deposit(work, peer, body, now_ms)
        except errors.HomeserverError:
            reports.report_deposit(work, reports.DEPOSIT_REFUSED, peer, now_ms)
            raise

    def take_in_deposit_used(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """Replace the keys of ours that a peer has handed out."""
        deposits.take_in_deposit_used(work, peer, body, self._clock.now_ms())

    def take_in_renewal(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """Give the peer keys that it cannot have handed out."""
        told = payloads.read(DepositRenewTold, body)
        deposits.take_in_renewal(work, peer, told.round, self._clock.now_ms())

    def _verified(self, work: UnitOfWork, peer: ServerName, told: _MembershipTold) -> Event:
        """The membership event, signed by the peer for a user of its own."""
        room = Room(told.room_id, room_version(told.room_version))
        key_at = self._cards.known_keys(work, {peer})
        event = verification.check(told.event, room, key_at)
        if identifiers.server_of(event.sender) != peer:
            raise errors.Forbidden("That user lives on another server.")
        if not access.is_carried(work, event.room_id, peer):
            raise errors.Forbidden("This connection is for another room.")
        if event.type != "m.room.member" or not event.is_state:
            raise errors.BadEvent("That is not a membership.")
        return event


def _drop(_outcome: object) -> None:
    """What came too late or makes no sense is of no consequence."""


def _content(edu: JsonObject) -> JsonObject:
    content = edu.get("content")
    if not isinstance(content, dict):
        raise errors.BadJson("An EDU has content.")
    return content


def _body(item: JsonObject) -> JsonObject:
    body = item.get("body")
    if not isinstance(body, dict):
        raise errors.BadJson("An item has a body.")
    return body
