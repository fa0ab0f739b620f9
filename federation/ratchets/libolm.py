"""The ratchet verbs on python-olm.

Decrypting asks for `surrogateescape`, since the binding returns text and its default destroys
bytes that are no UTF-8.
"""

import base64
import binascii
from typing import Any

import olm as untyped_olm

from federation.ratchets.interface import (
    PRE_KEY,
    AcceptedSession,
    GroupMessage,
    OlmMessage,
    PickleKeys,
    Undecryptable,
)
from homeserver import errors

olm: Any = untyped_olm  # the package has no types

_BROKEN = (
    olm.OlmSessionError,
    olm.OlmAccountError,
    olm.OlmGroupSessionError,
    ValueError,
    binascii.Error,
)


class Libolm:
    """Olm and Megolm by libolm."""

    def create_account(self, key: bytes) -> bytes:
        """Make an account."""
        return _pickled(olm.Account(), key)

    def identity_key(self, account: bytes, key: bytes) -> str:
        """The account's Curve25519 key."""
        return str(_account(account, key).identity_keys["curve25519"])

    def create_one_time_key(self, account: bytes, key: bytes) -> tuple[str, bytes]:
        """Make one one-time key."""
        opened = _account(account, key)
        opened.generate_one_time_keys(1)
        (created,) = opened.one_time_keys["curve25519"].values()
        opened.mark_keys_as_published()
        return str(created), _pickled(opened, key)

    def start_session(
        self, account: bytes, keys: PickleKeys, identity_key: str, one_time_key: str
    ) -> bytes:
        """Start a session with the owner of these keys."""
        try:
            session = olm.OutboundSession(
                _account(account, keys.account), identity_key, one_time_key
            )
        except _BROKEN as error:
            raise errors.InvalidParam("Those Olm keys are not valid.") from error
        return _pickled(session, keys.session)

    def accept_session(
        self, account: bytes, keys: PickleKeys, identity_key: str, message: OlmMessage
    ) -> AcceptedSession:
        """Read the first pre-key message and remove the one-time key it used."""
        opened = _account(account, keys.account)
        try:
            wire = olm.OlmPreKeyMessage(_text(message.body))
            session = olm.InboundSession(opened, wire, identity_key)
            plaintext = _bytes(session.decrypt(wire, "surrogateescape"))
            opened.remove_one_time_keys(session)
        except _BROKEN as error:
            raise Undecryptable from error
        return AcceptedSession(
            _pickled(opened, keys.account), _pickled(session, keys.session), plaintext
        )

    def encrypt(self, session: bytes, key: bytes, plaintext: bytes) -> tuple[OlmMessage, bytes]:
        """Encrypt and step the ratchet."""
        opened = _session(session, key)
        message = opened.encrypt(plaintext)
        wire = OlmMessage(message.message_type, _raw(message.ciphertext))
        return wire, _pickled(opened, key)

    def decrypt(self, session: bytes, key: bytes, message: OlmMessage) -> tuple[bytes, bytes]:
        """Decrypt and step the ratchet."""
        opened = _session(session, key)
        kind = olm.OlmPreKeyMessage if message.kind == PRE_KEY else olm.OlmMessage
        try:
            plaintext = _bytes(opened.decrypt(kind(_text(message.body)), "surrogateescape"))
        except _BROKEN as error:
            raise Undecryptable from error
        return plaintext, _pickled(opened, key)

    def create_group(self, key: bytes) -> bytes:
        """Start an outbound group session."""
        return _pickled(olm.OutboundGroupSession(), key)

    def group_id(self, group: bytes, key: bytes) -> str:
        """The outbound session's ID."""
        return str(olm.OutboundGroupSession.from_pickle(group, key.hex()).id)

    def group_key(self, group: bytes, key: bytes) -> str:
        """The session key to share."""
        return str(olm.OutboundGroupSession.from_pickle(group, key.hex()).session_key)

    def encrypt_group(self, group: bytes, key: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Encrypt once for everyone who holds the session key."""
        opened = olm.OutboundGroupSession.from_pickle(group, key.hex())
        return _raw(opened.encrypt(plaintext)), _pickled(opened, key)

    def accept_group(self, session_key: str, key: bytes) -> bytes:
        """Take a peer's session key in."""
        try:
            return _pickled(olm.InboundGroupSession(session_key), key)
        except _BROKEN as error:
            raise Undecryptable from error

    def decrypt_group(
        self, inbound: bytes, key: bytes, ciphertext: bytes
    ) -> tuple[GroupMessage, bytes]:
        """Decrypt one group message."""
        try:
            opened = olm.InboundGroupSession.from_pickle(inbound, key.hex())
            plaintext, index = opened.decrypt(_text(ciphertext), "surrogateescape")
        except _BROKEN as error:
            raise Undecryptable from error
        return GroupMessage(_bytes(plaintext), index), _pickled(opened, key)


def _account(pickle: bytes, key: bytes) -> Any:
    return olm.Account.from_pickle(pickle, key.hex())


def _session(pickle: bytes, key: bytes) -> Any:
    return olm.Session.from_pickle(pickle, key.hex())


def _pickled(opened: Any, key: bytes) -> bytes:
    pickled: bytes = opened.pickle(key.hex())
    return pickled


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def _raw(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
