"""Read the group messages beside a frame, and put their events where they belong in it.

A session counts for one peer and one room, an index once: those of a session only rise. If one
message cannot be read the frame is not taken; the sender is told so, and says it all in Olm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from federation import group_frames, payloads
from federation.group_frames import GroupKey, GroupMessage, Groups
from federation.payloads import Frame
from federation.ratchets.interface import Undecryptable
from federation.turn_state import TurnState
from homeserver import errors, metrics
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage import groups
from homeserver.storage.groups import InboundGroup


def read_beside(state: TurnState, frame: Frame, ciphertexts: Sequence[bytes]) -> Frame:
    """The frame with its group messages' events in their places; raises `Undecryptable`.

    Nothing is stored unless all of them can be read.
    """
    if frame.kind != "transaction" or "groups" not in frame.body:
        return frame
    try:
        told = payloads.read(Groups, frame.body["groups"])
        reading = _Reading(state, frame.sequence, told.keys, ciphertexts)
        events = [(message.place, reading.read(message)) for message in told.messages]
        pdus = group_frames.weave(frame.body.get("pdus", []), events)
    except (errors.BadJson, TypeError, Undecryptable) as error:
        metrics.bump("federation_group_refusals")
        raise Undecryptable from error
    reading.save()
    rest = {name: part for name, part in frame.body.items() if name != "groups"}
    return frame.model_copy(update={"body": rest | {"pdus": pdus}})


class _Reading:
    """The sessions that one frame uses."""

    def __init__(
        self,
        state: TurnState,
        sequence: int,
        keys: Sequence[GroupKey],
        ciphertexts: Sequence[bytes],
    ) -> None:
        self._state = state
        self._sequence = sequence
        self._keys = {key.session_id: key for key in keys}
        self._ciphertexts: Mapping[str, bytes] = {
            group_frames.hash_of(ciphertext): ciphertext for ciphertext in ciphertexts
        }
        self._known: set[str] = set()
        self._used: dict[str, InboundGroup] = {}

    def read(self, message: GroupMessage) -> JsonObject:
        """The event of one message; its index is used up."""
        ciphertext = self._ciphertexts.get(message.sha256)
        session = self._find(message.session_id)
        if ciphertext is None or session is None or session.session is None:
            raise Undecryptable
        read = self._state.party.sessions.decrypt_group(
            self._state.node_id, session.session_id, session.session, ciphertext
        )
        if read.index < session.next_index:
            raise Undecryptable
        self._used[session.session_id] = replace(
            session, next_index=read.index + 1, used_in=self._sequence
        )
        return group_frames.read_plaintext(read.plaintext, self._state.node_id, session.room_id)

    def save(self) -> None:
        """Keep the sessions that are new, and what was used of each."""
        for session_id, session in self._used.items():
            if session_id in self._known:
                groups.note_index(self._state.work, session)
            else:
                groups.accept_inbound(self._state.work, session)

    def _find(self, session_id: str) -> InboundGroup | None:
        if session_id in self._used:
            return self._used[session_id]
        known = groups.find_inbound(self._state.work, self._state.peer, session_id)
        if known is not None:
            self._known.add(session_id)
            return known
        return self._begin(session_id)

    def _begin(self, session_id: str) -> InboundGroup | None:
        key = self._keys.get(session_id)
        if key is None:
            return None
        pickle = self._state.party.sessions.accept_group(
            self._state.node_id, session_id, key.session_key
        )
        return InboundGroup(self._state.peer, session_id, key.room_id, pickle, 0, self._sequence)
