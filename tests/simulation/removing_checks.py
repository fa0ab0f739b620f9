"""How the checks that keep the promises are taken away, one at a time."""

from dataclasses import replace
from typing import Any

import pytest

from federation import channel, consent, identity, positions, repair, turning
from federation import handshake_messages as messages
from federation.consent import Ticket, Use
from federation.desk import Desk
from federation.lines import Line, Lines
from federation.reception import Reception
from federation.turn_state import TurnState
from homeserver.encryption import peer_deposits
from homeserver.matrix.identifiers import ServerName
from homeserver.rooms import hiding
from homeserver.storage import channels, frames, invitations, peers
from homeserver.storage.unit_of_work import View

# G1


def answer_who_is_there(patch: pytest.MonkeyPatch) -> None:
    receive = Reception.receive

    async def tell(self: Reception, address: bytes, box: bytes, socket: Any) -> bytes | None:
        answer = await receive(self, address, box, socket)
        is_there = self._doors.find(address).kind != ""
        return b"a bad box" if answer is None and is_there else answer

    patch.setattr(Reception, "receive", tell)


# G3, G4, G5


def agree_without_the_owner(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Desk, "_has_to_ask", lambda *_arguments: False)


def count_one_yes_for_both(patch: pytest.MonkeyPatch) -> None:
    connected = peers.connected_servers

    def agreed(view: View) -> frozenset[ServerName]:
        offered = (one for one in peers.load_peers(view) if one.standing == "offered")
        return connected(view) | {one.server_name for one in offered}

    patch.setattr(peers, "connected_servers", agreed)


def take_a_link_again(patch: pytest.MonkeyPatch) -> None:
    first = consent.INVITATIONS[Ticket.OPEN, Use.FIRST_REQUEST]
    again = {(ticket, Use.OTHER_REQUEST): first for ticket in (Ticket.BOUND, Ticket.SPENT)}
    patch.setattr(consent, "INVITATIONS", {**consent.INVITATIONS, **again})


def take_a_link_at_any_time(patch: pytest.MonkeyPatch) -> None:
    find, load = invitations.find_invitation, invitations.load_invitations
    for_ever = 2**60
    patch.setattr(
        invitations,
        "find_invitation",
        lambda *given: (one := find(*given)) and replace(one, expires_at=for_ever),
    )
    patch.setattr(
        invitations,
        "load_invitations",
        lambda view: [replace(one, expires_at=for_ever) for one in load(view)],
    )


def compare_no_transcripts_and_no_signatures(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(messages, "transcript_of", lambda *_arguments: "0" * 64)
    patch.setattr(
        identity, "verify", lambda _public, _context, signed: identity.from_text(signed["body"])
    )


# G7 to G11


def take_any_sequence(patch: pytest.MonkeyPatch) -> None:
    """And store it: what is in the box counts, whether it came before or not."""
    check = turning._take_frame

    def take_any(state: Any, arrival: Any, note: Any) -> Any:
        if arrival.envelope.olm:
            state.change(received=arrival.envelope.sequence - 1)
        return check(state, arrival, note)

    patch.setattr(turning, "_take_frame", take_any)
    patch.setattr(channel, "_look", lambda *_arguments: None)


def forget_every_fourth(patch: pytest.MonkeyPatch) -> None:
    store, seen = turning._store, []

    def forget(state: Any, frame: Any) -> None:
        seen.append(frame)
        if len(seen) % 4:
            store(state, frame)

    patch.setattr(turning, "_store", forget)


def close_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lines, "_close", lambda _self, _line: None)
    patch.setattr(peers, "is_active", lambda *_arguments: True)


def delete_no_channel(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(channels, "delete_channel", lambda *_arguments: None)
    patch.setattr(frames, "delete_everything", lambda *_arguments: None)


def hide_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hiding, "follow_standing", lambda *_arguments: None)


# G15, G16, G20


def look_at_no_card_in_a_note(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        repair, "_shown", lambda state, _note: identity.verify_proof(state.their_peer().proof)
    )


def go_on_in_any_session(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TurnState, "may_seal", property(lambda self: self.channel.session is not None))


def go_on_with_old_ratchets(patch: pytest.MonkeyPatch) -> None:
    go_on_in_any_session(patch)
    patch.setattr(positions, "_check_receipt", lambda *_arguments: None)
    trust = Lines._open

    def confirmed(self: Lines, *given: Any) -> Line:
        line = trust(self, *given)
        line.is_confirmed = True
        return line

    patch.setattr(Lines, "_open", confirmed)


def believe_every_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(positions, "_is_ours", lambda *_arguments: True)


def keep_to_no_rate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Line, "may_take", lambda *_arguments: True)


def grant_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(peers, "permits", lambda *_arguments: True)


# Encryption between clients


def hand_out_no_deposit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(peer_deposits, "take_from_deposit", lambda *_arguments: {})
