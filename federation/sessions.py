"""The ratchets of this server's connections, each pickle under a key of its own row."""

from dataclasses import dataclass

from federation.ratchets.interface import (
    AcceptedSession,
    GroupMessage,
    OlmMessage,
    PickleKeys,
    Ratchets,
)
from homeserver.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Sessions:
    """Olm for one peer at a time; peers are named by node id, sessions by epoch."""

    ratchets: Ratchets
    keyring: Keyring

    def create_account(self, node_id: str) -> tuple[bytes, str]:
        """An account for one connection, and its identity key."""
        key = self._account_key(node_id)
        account = self.ratchets.create_account(key)
        return account, self.ratchets.identity_key(account, key)

    def identity_key(self, node_id: str, account: bytes) -> str:
        """The Olm key that this connection's account has."""
        return self.ratchets.identity_key(account, self._account_key(node_id))

    def create_one_time_key(self, node_id: str, account: bytes) -> tuple[str, bytes]:
        """A one-time key, and the account that holds it."""
        return self.ratchets.create_one_time_key(account, self._account_key(node_id))

    def start(
        self, node_id: str, epoch: int, account: bytes, identity_key: str, one_time_key: str
    ) -> bytes:
        """The session of an epoch, begun by us."""
        keys = self._keys(node_id, epoch)
        return self.ratchets.start_session(account, keys, identity_key, one_time_key)

    def accept(
        self, node_id: str, epoch: int, account: bytes, identity_key: str, message: OlmMessage
    ) -> AcceptedSession:
        """The session of an epoch, begun by the other side."""
        keys = self._keys(node_id, epoch)
        return self.ratchets.accept_session(account, keys, identity_key, message)

    def encrypt(
        self, node_id: str, epoch: int, session: bytes, plaintext: bytes
    ) -> tuple[OlmMessage, bytes]:
        """Encrypt in the session of an epoch."""
        return self.ratchets.encrypt(session, self._session_key(node_id, epoch), plaintext)

    def decrypt(
        self, node_id: str, epoch: int, session: bytes, message: OlmMessage
    ) -> tuple[bytes, bytes]:
        """Decrypt in the session of an epoch."""
        return self.ratchets.decrypt(session, self._session_key(node_id, epoch), message)

    def create_group(self, row: str) -> tuple[bytes, str, bytes]:
        """A group session of ours, its ID, and the key to share, sealed for storing."""
        key = self._group_key(row)
        group = self.ratchets.create_group(key)
        session_key = self.ratchets.group_key(group, key).encode()
        sealed = self.keyring.seal("group session key", row, session_key)
        return group, self.ratchets.group_id(group, key), sealed

    def group_key(self, row: str, sealed: bytes) -> str:
        """The key to share of a group session of ours."""
        return self.keyring.open("group session key", row, sealed).decode()

    def encrypt_group(self, row: str, group: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Encrypt once for everybody who has the key."""
        return self.ratchets.encrypt_group(group, self._group_key(row), plaintext)

    def accept_group(self, node_id: str, session_id: str, session_key: str) -> bytes:
        """A group session of a peer, from its key."""
        return self.ratchets.accept_group(session_key, self._inbound_key(node_id, session_id))

    def decrypt_group(
        self, node_id: str, session_id: str, inbound: bytes, ciphertext: bytes
    ) -> GroupMessage:
        """Read one group message of a peer. The session reads on from where it began."""
        key = self._inbound_key(node_id, session_id)
        message, _ = self.ratchets.decrypt_group(inbound, key, ciphertext)
        return message

    def _group_key(self, row: str) -> bytes:
        return self.keyring.derive("group session", row)

    def _inbound_key(self, node_id: str, session_id: str) -> bytes:
        return self.keyring.derive("inbound group session", f"{node_id}/{session_id}")

    def _keys(self, node_id: str, epoch: int) -> PickleKeys:
        return PickleKeys(self._account_key(node_id), self._session_key(node_id, epoch))

    def _account_key(self, node_id: str) -> bytes:
        return self.keyring.derive("olm account", node_id)

    def _session_key(self, node_id: str, epoch: int) -> bytes:
        return self.keyring.derive("olm session", f"{node_id}/{epoch}")
