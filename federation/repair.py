"""A new Olm session inside the box, so that it works when every ratchet is lost.

Only the side whose node id sorts lower creates sessions; the other gives `keys`, signed, under an
epoch above every one before. The creator's first frame of that epoch repeats the nonce.
"""

import logging

import orjson

from federation import identity, payloads
from federation.envelope import Envelope
from federation.frames import Outgoing
from federation.handshake_payloads import Keys, Opened, Want
from federation.ratchets.interface import PRE_KEY, AcceptedSession, OlmMessage, Undecryptable
from federation.turn_state import TurnState
from homeserver import errors, metrics
from homeserver.encryption import peer_deposits
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage import channels, groups, notices

logger = logging.getLogger(__name__)

_EMPTY = b'{"items":[]}'


def request(state: TurnState) -> None:
    """Our session is of no use: ask for keys, or give them."""
    if state.creates_sessions:
        state.change(wants_repair=True)
    elif state.channel.keys_note is None:
        give_keys(state, state.channel.highest_epoch)


def give_keys(state: TurnState, highest: int) -> None:
    """Make the keys of the next epoch; they are repeated unchanged until they are answered."""
    sessions, channel = state.party.sessions, state.channel
    epoch = max(highest, channel.highest_epoch) + 1
    one_time_key, account = sessions.create_one_time_key(state.node_id, channel.account)
    nonce = identity.to_text(state.party.token())
    document: JsonObject = {
        "node_id": state.node_id,
        "epoch": epoch,
        "olm_key": sessions.identity_key(state.node_id, account),
        "one_time_key": one_time_key,
        "nonce": nonce,
    }
    signed = state.party.own.sign(identity.KEYS, document)
    note = orjson.dumps({"kind": "keys", "epoch": epoch, "signed": signed})
    state.change(account=account, highest_epoch=epoch, keys_note=note, keys_nonce=nonce)


def note_for(state: TurnState) -> bytes:
    """What has to be said in the box beside the frame."""
    channel = state.channel
    if channel.keys_note is not None:
        return channel.keys_note
    if channel.wants_repair:
        return orjson.dumps({"kind": "want", "epoch": channel.highest_epoch})
    if channel.answer_nonce is not None:
        document = {
            "node_id": state.node_id,
            "epoch": channel.epoch,
            "olm_key": state.party.sessions.identity_key(state.node_id, channel.account),
            "nonce": channel.answer_nonce,
        }
        signed = state.party.own.sign(identity.OPENED, document)
        return orjson.dumps({"kind": "opened", "signed": signed})
    return b""


def take_note(state: TurnState, note: JsonObject) -> None:
    """Act on `keys` or `want` from a fresh box; anything else is left alone."""
    try:
        if note.get("kind") == "keys" and state.creates_sessions:
            _start_session(state, _read_keys(state, note.get("signed")))
        elif note.get("kind") == "want" and not state.creates_sessions:
            wanted = payloads.read(Want, note)
            if state.channel.keys_note is None:
                give_keys(state, wanted.epoch)
    except (errors.BadJson, errors.BadSignature, errors.InvalidParam):
        metrics.bump("federation_bad_notes")


def _read_keys(state: TurnState, signed: object) -> Keys:
    public = identity.card_key(state.their_identity())
    document = identity.read_document(identity.verify(public, identity.KEYS, signed))
    keys = payloads.read(Keys, document)
    if keys.node_id != state.party.own.node_id:
        raise identity.BadIdentity
    return keys


def _start_session(state: TurnState, keys: Keys) -> None:
    """Answer keys that were not answered yet; the session before still reads for a while."""
    channel = state.channel
    if keys.epoch <= channel.highest_epoch:
        return
    session = state.party.sessions.start(
        state.node_id, keys.epoch, channel.account, keys.olm_key, keys.one_time_key
    )
    keeps = channel.previous_session is None and channel.session is not None
    state.change(
        session=session,
        epoch=keys.epoch,
        highest_epoch=keys.epoch,
        previous_session=channel.session if keeps else channel.previous_session,
        previous_epoch=channel.epoch if keeps else channel.previous_epoch,
        their_olm_key=keys.olm_key,
        answer_nonce=keys.nonce,
        wants_repair=False,
    )
    metrics.bump("federation_rekeys")
    if state.in_flight is None:
        state.seal(Outgoing("control", state.party.clock.now_ms(), _EMPTY))
    else:
        state.seal_anew()


def decrypt(state: TurnState, envelope: Envelope, note: JsonObject) -> bytes:
    """Read the Olm message of an envelope and step the ratchet it belongs to.

    The changes stay in the state: leave the state unsaved and nothing has happened.
    """
    channel, sessions = state.channel, state.party.sessions
    message = OlmMessage(envelope.olm_kind, envelope.olm)
    if envelope.epoch == channel.epoch and channel.session is not None:
        plaintext, session = sessions.decrypt(
            state.node_id, channel.epoch, channel.session, message
        )
        # Reading the new session ends the one before.
        state.change(
            session=session,
            previous_session=None,
            previous_epoch=None,
            answer_nonce=None,
            is_restored=False,
        )
        return plaintext
    if envelope.epoch == channel.previous_epoch and channel.previous_session is not None:
        plaintext, session = sessions.decrypt(
            state.node_id, envelope.epoch, channel.previous_session, message
        )
        state.change(previous_session=session)
        return plaintext
    if channel.keys_nonce is not None and message.kind == PRE_KEY:
        return _accept_session(state, envelope.epoch, message, note)
    raise Undecryptable


def _accept_session(state: TurnState, epoch: int, message: OlmMessage, note: JsonObject) -> bytes:
    """The creator's answer to our keys: signed with its card's key, and repeating our nonce."""
    if epoch != state.channel.highest_epoch:
        raise Undecryptable
    try:
        public = identity.card_key(state.their_identity())
        signed = identity.verify(public, identity.OPENED, note.get("signed"))
        opened = payloads.read(Opened, identity.read_document(signed))
    except (errors.BadJson, errors.BadSignature) as error:
        raise Undecryptable from error
    expected = (state.party.own.node_id, epoch, state.channel.keys_nonce)
    if (opened.node_id, opened.epoch, opened.nonce) != expected:
        raise Undecryptable
    accepted: AcceptedSession = state.party.sessions.accept(
        state.node_id, epoch, state.channel.account, opened.olm_key, message
    )
    state.change(
        account=accepted.account,
        session=accepted.session,
        epoch=epoch,
        previous_session=None,
        previous_epoch=None,
        their_olm_key=opened.olm_key,
        keys_note=None,
        keys_nonce=None,
        is_restored=False,
    )
    metrics.bump("federation_rekeys")
    return accepted.plaintext


def start_over(state: TurnState, envelope: Envelope) -> None:
    """This database is an old copy: the peer has seen more of us than we remember.

    No key may be used twice, so every session and account is destroyed; our sequences go on above
    what the peer has seen.
    """
    groups.forget_everything(state.work)
    peer_deposits.forget_after_restore(state.work, identity.to_text(state.party.token()))
    account, _ = state.party.sessions.create_account(state.node_id)
    channels.delete_in_flight(state.work, state.peer)
    state.in_flight = None
    state.change(
        account=account,
        session=None,
        previous_session=None,
        previous_epoch=None,
        keys_note=None,
        keys_nonce=None,
        answer_nonce=None,
        is_restored=True,
        sent=max(state.channel.sent, envelope.acknowledged),
        acknowledged=max(state.channel.sent, envelope.acknowledged),
        received=max(state.channel.received, envelope.settled),
        highest_epoch=max(state.channel.highest_epoch, envelope.epoch),
        epoch=max(state.channel.epoch, envelope.epoch),
    )
    request(state)
    metrics.bump("federation_old_copies")
    logger.warning("this database is an old copy, as peer=%s shows", state.peer)
    notices.tell_owner(
        state.work,
        state.party.clock.now_ms(),
        "old_copy",
        state.node_id,
        {"server_name": state.peer},
    )
