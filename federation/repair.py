"""A new Olm session inside the box, so that it works when every ratchet is lost.

Only the side whose node id sorts lower creates sessions; the other gives `keys` under an epoch
above every one before. The creator's first frame of that epoch repeats the nonce. All notes are
signed by the card's key, and bring the card along where it is not the first.
"""

import orjson

from federation import alarms, envelope, identity, payloads
from federation.envelope import Envelope
from federation.handshake_payloads import Keys, Opened, Want
from federation.identity import Identity
from federation.ratchets.interface import PRE_KEY, OlmMessage, Undecryptable
from federation.turn_state import ChannelClosed, Party, TurnState
from homeserver import errors, metrics
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage.channels import Channel, InFlight
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

# What a box holds beside the note and the Olm message; more than headers and padding need.
_ROOM_FOR_THE_REST = 2_048


def request(state: TurnState) -> None:
    """There is no session to go on with: ask for keys, or give them."""
    if state.creates_sessions:
        state.change(wants_repair=True)
    elif state.channel.keys_note is None:
        give_keys(state, state.channel.highest_epoch)


def note_unreadable(state: TurnState, epoch: int) -> None:
    """A fresh frame could not be read.

    One of before a session that we have begun says nothing: it is sealed anew when that is taken.
    """
    if state.channel.answer_nonce is None or epoch >= state.channel.epoch:
        request(state)


def is_under_way(channel: Channel) -> bool:
    """Whether we wait for the other side to do its part."""
    return channel.wants_repair or channel.keys_note is not None


def is_stuck(channel: Channel, flying: InFlight | None) -> bool:
    """Whether a repair is under way that the peer's next box should bring further."""
    return is_under_way(channel) or (channel.answer_nonce is not None and flying is not None)


def begin_anew(state: TurnState) -> None:
    """Destroy whatever could encrypt or read as this connection, and ask for other keys.

    The frame in flight stays: its bytes are out, and it is sealed anew when there is a session.
    """
    account, _ = state.party.sessions.create_account(state.node_id)
    state.change(
        account=account,
        session=None,
        session_run=None,
        previous_session=None,
        previous_epoch=None,
        keys_note=None,
        keys_nonce=None,
        answer_nonce=None,
    )
    request(state)


def begin_anew_with(work: UnitOfWork, party: Party, peer: Peer, *, is_restored: bool) -> None:
    """The same for any peer; if we know ourselves to be an old copy of what it saw, it is told."""
    try:
        state = TurnState(work, party, peer.server_name, peer.node_id, even_if_paused=True)
    except ChannelClosed:
        return
    begin_anew(state)
    state.change(is_restored=state.channel.is_restored or is_restored)
    state.save()


def give_keys(state: TurnState, highest: int) -> None:
    """Make the keys of the next epoch; they are repeated until they are answered."""
    sessions, channel = state.party.sessions, state.channel
    epoch = max(highest, channel.highest_epoch) + 1
    one_time_key, account = sessions.create_one_time_key(state.node_id, channel.account)
    nonce = identity.to_text(state.party.token())
    keys = {
        "epoch": epoch,
        "olm_key": sessions.identity_key(state.node_id, account),
        "one_time_key": one_time_key,
        "nonce": nonce,
    }
    note = orjson.dumps(keys)
    state.change(account=account, highest_epoch=epoch, keys_note=note, keys_nonce=nonce)


def note_for(state: TurnState) -> bytes:
    """What has to be said in the box beside the frame."""
    channel = state.channel
    if channel.keys_note is not None:
        return _signed(state, "keys", identity.KEYS, orjson.loads(channel.keys_note))
    if channel.wants_repair:
        return _signed(state, "want", identity.WANT, {"epoch": channel.highest_epoch})
    if channel.answer_nonce is not None and state.in_flight is not None:
        olm_key = state.party.sessions.identity_key(state.node_id, channel.account)
        opened = {"epoch": channel.epoch, "olm_key": olm_key, "nonce": channel.answer_nonce}
        return _signed(state, "opened", identity.OPENED, opened)
    return b""


def _signed(state: TurnState, kind: str, context: bytes, said: JsonObject) -> bytes:
    """A note under the present card, which may be newer than what the peer knows, or remembers."""
    own, flying = state.party.own, state.in_flight
    document = said | {"node_id": state.node_id, "settled": state.channel.acknowledged}
    note: JsonObject = {"kind": kind, "signed": own.sign(context, document)}
    if own.identity.card.sequence == 1:
        return orjson.dumps(note)
    proved = orjson.dumps(note | {"identity": own.proof})
    taken = 0 if flying is None else len(flying.olm) + len(flying.group_messages)
    fits = len(proved) + taken + _ROOM_FOR_THE_REST <= envelope.SIZES[-1]
    return proved if fits else orjson.dumps(note)


def take_note(state: TurnState, note: JsonObject) -> None:
    """Act on a note from a fresh box; what is not for us, or not signed by the peer, is nothing."""
    kind = note.get("kind")
    try:
        if kind == "keys" and state.creates_sessions:
            keys = payloads.read(Keys, _verified(state, identity.KEYS, note))
            _take_keys(state, keys)
        elif kind == "want" and not state.creates_sessions:
            _take_want(state, payloads.read(Want, _verified(state, identity.WANT, note)))
        elif kind == "opened" and state.channel.keys_nonce is not None:
            _look_at_opened(state, payloads.read(Opened, _verified(state, identity.OPENED, note)))
    except (errors.BadJson, errors.BadSignature, errors.InvalidParam):
        metrics.bump("federation_bad_notes")


def _verified(state: TurnState, context: bytes, note: JsonObject) -> JsonObject:
    public = identity.card_key(_shown(state, note))
    document = identity.read_document(identity.verify(public, context, note.get("signed")))
    if document.get("node_id") != state.party.own.node_id:
        raise identity.BadIdentity
    return document


def _shown(state: TurnState, note: JsonObject) -> Identity:
    """Who signs a note: the peer as we know it, or as newer keys of its that follow show it.

    Keys of the peer that contradict those we know stop the traffic. Older ones say nothing: they
    are public, and whoever holds the door key could repeat them.
    """
    known = state.their_peer()
    remembered = identity.verify_proof(known.proof)
    if "identity" not in note:
        return remembered
    shown = identity.verify_proof(note["identity"])
    if shown.node_id != state.node_id:
        raise identity.BadIdentity
    now = state.party.clock.now_ms()
    try:
        alarms.check_hearsay(known, shown)
    except alarms.ForeignKeys:
        alarms.sound(state.work, known, now)
        state.is_stopped = True
        raise
    if not identity.may_replace(remembered, shown):
        return remembered
    alarms.adopt(state.work, known, shown, now)
    return shown


def _take_keys(state: TurnState, keys: Keys) -> None:
    channel = state.channel
    if keys.epoch > channel.highest_epoch:
        _start_session(state, keys)
    elif channel.answer_nonce is not None:
        # An answer stands. If the frame that was sealed anew in it had been taken before, another
        # has to bring it.
        state.owes_frame = state.in_flight is None
    else:
        # They were answered before, or an old copy of the peer gives them: ask for others above.
        state.change(wants_repair=True)


def _take_want(state: TurnState, wanted: Want) -> None:
    """Give keys, or other ones if those that we repeat are not above what the creator has seen."""
    if state.channel.keys_note is None or wanted.epoch >= state.channel.highest_epoch:
        give_keys(state, wanted.epoch)


def _look_at_opened(state: TurnState, opened: Opened) -> None:
    """A session that was not taken, because of its frame's number, or as it answers other keys."""
    if opened.nonce == state.channel.keys_nonce:
        _catch_up(state, opened.settled)
    elif opened.epoch >= state.channel.highest_epoch:
        give_keys(state, opened.epoch)


def _catch_up(state: TurnState, settled: int) -> None:
    """Take as received what the peer knows to be: an old copy does not remember it."""
    if settled > state.channel.received:
        state.change(received=settled, receipt=None)


def _start_session(state: TurnState, keys: Keys) -> None:
    """Answer keys; the session before still reads for a while."""
    channel = state.channel
    session = state.party.sessions.start(
        state.node_id, keys.epoch, channel.account, keys.olm_key, keys.one_time_key
    )
    keeps = channel.previous_session is None and channel.session is not None
    state.change(
        session=session,
        session_run=state.party.run,
        epoch=keys.epoch,
        highest_epoch=keys.epoch,
        previous_session=channel.session if keeps else channel.previous_session,
        previous_epoch=channel.epoch if keeps else channel.previous_epoch,
        their_olm_key=keys.olm_key,
        answer_nonce=keys.nonce,
        wants_repair=False,
    )
    metrics.bump("federation_rekeys")
    _catch_up(state, keys.settled)
    state.begin_session()


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
        opened = payloads.read(Opened, _verified(state, identity.OPENED, note))
    except (errors.BadJson, errors.BadSignature) as error:
        raise Undecryptable from error
    if (opened.epoch, opened.nonce) != (epoch, state.channel.keys_nonce):
        raise Undecryptable
    accepted = state.party.sessions.accept(
        state.node_id, epoch, state.channel.account, opened.olm_key, message
    )
    state.change(
        account=accepted.account,
        session=accepted.session,
        session_run=state.party.run,
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
