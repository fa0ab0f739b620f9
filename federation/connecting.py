"""The invitee's side of a handshake: REQUEST until ACCEPT comes, PROVE until READY comes.

Each message is stored before it is sent and repeated unchanged, with back-off, across restarts.
"""

import asyncio
import contextlib
import logging
from dataclasses import replace
from functools import partial

import orjson

from federation import (
    activating,
    alarms,
    doors,
    envelope,
    heeding,
    identity,
    odd_names,
    opening,
    patience,
    reach,
    shown_names,
)
from federation import handshake_messages as messages
from federation.consent import Breach
from federation.consent_steps import Doing
from federation.desk import DONE, Terms
from federation.envelope import BadEnvelope, Envelope
from federation.handshake_messages import Secrets
from federation.handshake_payloads import AcceptInside, Prove
from federation.invitation_links import Link
from federation.lines import Lines
from federation.opening import REQUESTING, Choice
from federation.payloads import INVITATION
from federation.ratchets.interface import PRE_KEY, OlmMessage, Undecryptable
from federation.transport import along_routes
from federation.transport.interface import Refused, Transport
from federation.turn_state import ChannelClosed, Party
from homeserver import crash_points, errors
from homeserver.crash_points import Point
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import invitations, notices, peers
from homeserver.storage.database import Database
from homeserver.storage.invitations import INVITEE, Handshake
from homeserver.storage.unit_of_work import UnitOfWork, View

logger = logging.getLogger(__name__)

PROVING = "proving"
_REFUSALS_TOLD = 3  # in a row, so that a restart over there raises no alarm
_DELIVERY_SECONDS = 30
_WAIT = "wait"
_UNREAL = (errors.BadJson, errors.BadSignature, errors.InvalidParam, Undecryptable, BadEnvelope)


class UnfitName(messages.BadHandshake):
    """They call themselves something that holds hidden characters."""


class Connecting:
    """Opens links, and keeps asking until the other side has answered."""

    def __init__(
        self, database: Database, party: Party, transport: Transport, lines: Lines, terms: Terms
    ) -> None:
        self._database = database
        self._party = party
        self._transport = transport
        self._lines = lines
        self._terms = terms
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._refusals: dict[str, int] = {}

    def load(self) -> None:
        """Go on with what was under way before the start."""
        for handshake in self._database.read(invitations.load_handshakes):
            if handshake.role == INVITEE and handshake.state != DONE:
                self.pursue(handshake.key)

    async def close(self) -> None:
        """Stop asking; what is stored goes on after the next start."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def open_link(self, work: UnitOfWork, link: Link, choice: Choice) -> Handshake:
        """The owner's yes: store REQUEST. `pursue` sends it once this is committed."""
        return opening.open_link(work, self._party, self._terms, link, choice)

    def is_refused(self, node_id: str) -> bool:
        """Whether each link of a node that was opened gets the answer that says nothing."""
        under_way = [
            one.key
            for one in self._database.read(lambda view: invitations.handshakes_with(view, node_id))
            if one.role == INVITEE and one.state != DONE
        ]
        return bool(under_way) and all(
            self._refusals.get(key, 0) >= _REFUSALS_TOLD for key in under_way
        )

    def pursue(self, key: str) -> None:
        """Ask, and go on asking, beside everything else."""
        task = self._tasks.get(key)
        if task is None or task.done():
            self._refusals.pop(key, None)
            asking = self._pursue_until_given_up(key)
            self._tasks[key] = asyncio.get_running_loop().create_task(asking)

    def give_up(self, key: str) -> None:
        """Stop asking: the owner thought better of it, or it took too long."""
        self._refusals.pop(key, None)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    def begin_anew(self, server_name: ServerName | None = None) -> None:
        """A pause of one server or of everything begins or ends: break off what is on its way.

        What may be asked then is asked at once; a knock waits on.
        """
        for handshake in self._database.read(invitations.load_handshakes):
            if handshake.key in self._tasks and server_name in (None, handshake.server_name):
                self.give_up(handshake.key)
                self.pursue(handshake.key)

    async def _pursue_until_given_up(self, key: str) -> None:
        handshake = self._under_way(key)
        try:
            await self._pursue(key)
        except asyncio.CancelledError:
            if handshake is not None:
                await self._transport.hang_up(handshake.server_name)
            raise

    async def _pursue(self, key: str) -> None:
        pause, has_warned = patience.START, False
        await self._wait_as_before(key)
        while True:
            handshake = self._under_way(key)
            if handshake is None:
                return
            try:
                is_held = self._database.read(partial(_is_held, handshake=handshake))
                if not is_held and await self._advance(handshake) != _WAIT:
                    pause = patience.START
                    continue
            except (errors.PeerUnreachable, errors.StorageFull, Breach, ChannelClosed) as error:
                await self._note_refusal(handshake, error)
            except _UNREAL as error:
                if not has_warned:
                    has_warned = True
                    await self._warn(handshake, error)
            pause = await self._pause(key, pause)

    async def _wait_as_before(self, key: str) -> None:
        """After a restart, end the pause that was begun before it."""
        handshake = self._under_way(key)
        if handshake is not None and handshake.state == REQUESTING:
            left = patience.left_of(patience.word_of(handshake), self._party.clock.now_ms())
            if left > 0:
                await self._party.clock.sleep(left)

    async def _pause(self, key: str, pause: float) -> float:
        """Wait before the next repeat; returns how long, without the chance in it."""
        handshake = self._under_way(key)
        if handshake is not None:
            is_asking = handshake.state == REQUESTING
            word, now = patience.word_of(handshake), self._party.clock.now_ms()
            pause = patience.next_pause(handshake, word if is_asking else None, now, pause)
        await self._party.clock.sleep(pause * (1 + self._party.entropy.random() / 4))
        return pause

    def _under_way(self, key: str) -> Handshake | None:
        found = self._database.read(lambda view: invitations.find_handshake(view, key))
        if found is None or found.state == DONE:
            return None
        return found if found.expires_at >= self._party.clock.now_ms() else None

    async def _note_refusal(self, handshake: Handshake, error: Exception) -> None:
        """A link that is spent, expired or withdrawn is refused like anything else; say so once."""
        if not isinstance(error, Refused):
            return
        count = self._refusals[handshake.key] = self._refusals.get(handshake.key, 0) + 1
        if count == _REFUSALS_TOLD:
            await self._tell(handshake, "link_refused")

    async def _advance(self, handshake: Handshake) -> str:
        """Send the message that is due and take its answer."""
        secrets = messages.open_secrets(self._party.sessions.keyring, handshake)
        if handshake.state == REQUESTING:
            keys = envelope.door_keys(secrets.link_door_key)
            content = Envelope(note=handshake.request)
            address = bytes.fromhex(handshake.intake)
        else:
            keys = envelope.door_keys(secrets.their_door_key)
            content = messages.unpack(handshake.prove, envelope.NO_NONCE)
            address = secrets.their_address
        box = envelope.seal(keys.request, self._party.token(), content)
        send = partial(self._transport.deliver, handshake.server_name, grant=INVITATION)
        answer = await along_routes.first_answer(
            lambda route: send(route, address, box, _DELIVERY_SECONDS), secrets.routes
        )
        self._refusals.pop(handshake.key, None)
        came = envelope.open_box(keys.answer, answer)
        if handshake.state == PROVING:
            await self._take_ready(handshake, came)
        elif messages.note_kind(came.note) == _WAIT:
            await self._keep_waiting(handshake, came.note)
            return _WAIT
        else:
            crash_points.reach(Point.ACCEPT_CAME)
            await self._database.write(lambda work: self._take_accept(work, handshake, came))
            crash_points.reach(Point.PROVE_KEPT)
        return "moved"

    async def _keep_waiting(self, before: Handshake, note: bytes) -> None:
        """Remember that the other owner decides, so that a restart is no reason to ask faster."""
        word = patience.heard(before, note, self._party.clock.now_ms())

        def keep(work: UnitOfWork) -> None:
            handshake = invitations.find_handshake(work, before.key)
            if handshake is not None and handshake.state == REQUESTING:
                invitations.save_handshake(work, replace(handshake, accept=word))

        if word != before.accept:
            await self._database.write(keep)

    def _take_accept(self, work: UnitOfWork, before: Handshake, came: Envelope) -> None:
        """Check who answered, and store PROVE."""
        handshake = invitations.find_handshake(work, before.key)
        if handshake is None or handshake.state != REQUESTING or _is_held(work, handshake):
            return
        sessions, own = self._party.sessions, self._party.own
        secrets = messages.open_secrets(sessions.keyring, handshake)
        accepted = messages.read_accept(came.note, handshake)
        known = peers.find_node(work, handshake.node_id)
        if known is not None:
            alarms.check(known, accepted.identity)
        epoch, node_id = accepted.accept.epoch, handshake.node_id
        if not shown_names.is_fit(accepted.accept.name):
            raise UnfitName
        message = OlmMessage(came.olm_kind, came.olm)
        if message.kind != PRE_KEY or epoch < secrets.epoch:
            raise messages.BadHandshake
        begun = sessions.accept(node_id, epoch, secrets.account, accepted.accept.olm_key, message)
        transcript = messages.transcript_of(handshake.request, came.note)
        body = messages.read_inside(begun.plaintext, node_id, epoch)
        place, routes = messages.check_place(body, AcceptInside, transcript)
        secrets = replace(
            secrets,
            account=begun.account,
            session=begun.session,
            epoch=epoch,
            our_address=self._party.entropy.token_bytes(doors.ADDRESS_BYTES),
            our_door_key=self._party.entropy.token_bytes(32),
            their_address=bytes.fromhex(place.address),
            their_door_key=identity.from_text(place.door_key, 32),
            their_olm_key=accepted.accept.olm_key,
            their_proof=orjson.dumps(accepted.identity.proof),
            their_name=accepted.accept.name,
            their_grants=orjson.dumps(_told(place)),
            routes=tuple(dict.fromkeys((*routes, *secrets.routes)))[:5],
            transcript=transcript,
            restarts=handshake.is_repair != accepted.accept.is_connected,
        )
        is_repair = handshake.is_repair or accepted.accept.is_connected
        self._save_prove(work, replace(handshake, is_repair=is_repair), secrets, own.node_id)

    def _save_prove(
        self, work: UnitOfWork, handshake: Handshake, secrets: Secrets, own: str
    ) -> None:
        sessions = self._party.sessions
        peer = peers.find_peer(work, ServerName(handshake.server_name))
        may_learn = peer is not None and peers.permits(peer.grants, "route")
        told = reach.towards(self._terms.routes, secrets.routes) if may_learn else ()
        body = {
            "transcript": secrets.transcript,
            "address": secrets.our_address.hex(),
            "door_key": identity.to_text(secrets.our_door_key),
            "routes": list(told),
        }
        secrets = replace(secrets, told_routes=told)
        now = self._party.clock.now_ms()
        inside = messages.write_inside(own, secrets.epoch, now, body)
        prove, session = sessions.encrypt(handshake.node_id, secrets.epoch, secrets.session, inside)
        note = orjson.dumps({"kind": "prove", "intake": handshake.intake})
        sealed = messages.seal_secrets(
            sessions.keyring, handshake.key, replace(secrets, session=session)
        )
        packed = messages.pack(note, prove, secrets.epoch)
        crash_points.reach(Point.PROVE_SEALED)
        invitations.save_handshake(
            work, replace(handshake, state=PROVING, prove=packed, secrets=sealed)
        )

    async def _take_ready(self, handshake: Handshake, came: Envelope) -> None:
        crash_points.reach(Point.READY_CAME)
        await self._database.write(lambda work: self._activate(work, handshake, came))
        self._lines.refresh(ServerName(handshake.server_name), anew=True)

    def _activate(self, work: UnitOfWork, before: Handshake, came: Envelope) -> None:
        handshake = invitations.find_handshake(work, before.key)
        if handshake is None or handshake.state != PROVING or _is_held(work, handshake):
            return
        sessions, now = self._party.sessions, self._party.clock.now_ms()
        secrets = messages.open_secrets(sessions.keyring, handshake)
        message = OlmMessage(came.olm_kind, came.olm)
        plaintext, session = sessions.decrypt(
            handshake.node_id, secrets.epoch, secrets.session, message
        )
        body = messages.read_inside(plaintext, handshake.node_id, secrets.epoch)
        messages.check_ready(body, secrets.transcript)
        peer = peers.find_node(work, handshake.node_id)
        doing = Doing(now, "peer", "link" if peer is None else peer.how)
        secrets = replace(secrets, session=session)
        activating.activate(work, self._party, handshake, secrets, doing)
        invitations.save_handshake(work, replace(handshake, state=DONE, secrets=b""))

    async def _warn(self, handshake: Handshake, error: Exception) -> None:
        """What came back was not made by the one who gave the link."""
        logger.warning("a handshake was answered by somebody else peer=%s", handshake.server_name)
        if isinstance(error, alarms.ForeignKeys):
            now, peer = self._party.clock.now_ms(), error.peer
            await self._database.write(lambda work: alarms.sound(work, peer, now))
            self._lines.refresh(peer.server_name)
        kind = odd_names.UNFIT if isinstance(error, UnfitName) else "handshake_failed"
        await self._tell(handshake, kind)

    async def _tell(self, handshake: Handshake, kind: str) -> None:
        now, content = self._party.clock.now_ms(), {"server_name": handshake.server_name}
        with contextlib.suppress(errors.StorageFull):
            await self._database.write(
                lambda work: notices.tell_owner(work, now, kind, handshake.node_id, content)
            )


def _told(place: AcceptInside | Prove) -> JsonObject:
    return place.grants.as_told() if isinstance(place, AcceptInside) else {}


def _is_held(view: View, handshake: Handshake) -> bool:
    return heeding.is_held(view, handshake.server_name)
