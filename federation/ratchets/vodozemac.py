"""The ratchet verbs on vodozemac."""

from typing import Any

import vodozemac

from federation.ratchets.interface import (
    AcceptedSession,
    GroupMessage,
    OlmMessage,
    PickleKeys,
    Undecryptable,
)
from homeserver import errors

# Every error of the binding is a ValueError.
_BROKEN = ValueError


class Vodozemac:
    """Olm and Megolm by vodozemac."""

    def create_account(self, key: bytes) -> bytes:
        """Make an account."""
        return _pickled(vodozemac.Account(), key)

    def identity_key(self, account: bytes, key: bytes) -> str:
        """The account's Curve25519 key."""
        return str(_account(account, key).curve25519_key.to_base64())

    def create_one_time_key(self, account: bytes, key: bytes) -> tuple[str, bytes]:
        """Make one one-time key."""
        opened = _account(account, key)
        opened.generate_one_time_keys(1)
        (created,) = opened.one_time_keys.values()
        opened.mark_keys_as_published()
        return str(created.to_base64()), _pickled(opened, key)

    def start_session(
        self, account: bytes, keys: PickleKeys, identity_key: str, one_time_key: str
    ) -> bytes:
        """Start a session with the owner of these keys."""
        try:
            session = _account(account, keys.account).create_outbound_session(
                vodozemac.Curve25519PublicKey.from_base64(identity_key),
                vodozemac.Curve25519PublicKey.from_base64(one_time_key),
            )
        except _BROKEN as error:
            raise errors.InvalidParam("Those Olm keys are not valid.") from error
        return _pickled(session, keys.session)

    def accept_session(
        self, account: bytes, keys: PickleKeys, identity_key: str, message: OlmMessage
    ) -> AcceptedSession:
        """Read the first pre-key message; the library removes the one-time key it used."""
        opened = _account(account, keys.account)
        try:
            wire = vodozemac.AnyOlmMessage.from_parts(message.kind, message.body).to_pre_key()
            if wire is None:
                raise Undecryptable
            session, plaintext = opened.create_inbound_session(
                vodozemac.Curve25519PublicKey.from_base64(identity_key), wire
            )
        except _BROKEN as error:
            raise Undecryptable from error
        return AcceptedSession(
            _pickled(opened, keys.account), _pickled(session, keys.session), bytes(plaintext)
        )

    def encrypt(self, session: bytes, key: bytes, plaintext: bytes) -> tuple[OlmMessage, bytes]:
        """Encrypt and step the ratchet."""
        opened = _session(session, key)
        kind, body = opened.encrypt(plaintext).to_parts()
        return OlmMessage(kind, bytes(body)), _pickled(opened, key)

    def decrypt(self, session: bytes, key: bytes, message: OlmMessage) -> tuple[bytes, bytes]:
        """Decrypt and step the ratchet."""
        opened = _session(session, key)
        try:
            wire = vodozemac.AnyOlmMessage.from_parts(message.kind, message.body)
            plaintext = bytes(opened.decrypt(wire))
        except _BROKEN as error:
            raise Undecryptable from error
        return plaintext, _pickled(opened, key)

    def create_group(self, key: bytes) -> bytes:
        """Start an outbound group session."""
        return _pickled(vodozemac.GroupSession(), key)

    def group_id(self, group: bytes, key: bytes) -> str:
        """The outbound session's ID."""
        return str(vodozemac.GroupSession.from_pickle(group.decode(), key).session_id)

    def group_key(self, group: bytes, key: bytes) -> str:
        """The session key to share."""
        opened = vodozemac.GroupSession.from_pickle(group.decode(), key)
        return str(opened.session_key.to_base64())

    def encrypt_group(self, group: bytes, key: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Encrypt once for everyone who holds the session key."""
        opened = vodozemac.GroupSession.from_pickle(group.decode(), key)
        return bytes(opened.encrypt(plaintext).to_bytes()), _pickled(opened, key)

    def accept_group(self, session_key: str, key: bytes) -> bytes:
        """Take a peer's session key in."""
        try:
            opened = vodozemac.InboundGroupSession(vodozemac.SessionKey(session_key))
        except _BROKEN as error:
            raise Undecryptable from error
        return _pickled(opened, key)

    def decrypt_group(
        self, inbound: bytes, key: bytes, ciphertext: bytes
    ) -> tuple[GroupMessage, bytes]:
        """Decrypt one group message."""
        try:
            opened = _unpickled(vodozemac.InboundGroupSession, inbound, key)
            read = opened.decrypt(vodozemac.MegolmMessage.from_bytes(ciphertext))
        except _BROKEN as error:
            raise Undecryptable from error
        return GroupMessage(bytes(read.plaintext), read.message_index), _pickled(opened, key)


def _account(pickle: bytes, key: bytes) -> Any:
    return _unpickled(vodozemac.Account, pickle, key)


def _session(pickle: bytes, key: bytes) -> Any:
    return _unpickled(vodozemac.Session, pickle, key)


def _unpickled(kind: Any, pickle: bytes, key: bytes) -> Any:
    """Open a pickle; one that python-olm left behind is taken over."""
    try:
        return kind.from_pickle(pickle.decode(), key)
    except _BROKEN:
        return kind.from_libolm_pickle(pickle.decode(), key.hex().encode())


def _pickled(opened: Any, key: bytes) -> bytes:
    pickled: str = opened.pickle(key)
    return pickled.encode()
