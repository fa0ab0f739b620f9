"""Access tokens: from a token to who is asking, refresh, and the end of a session.

A token that was seen before costs one hash and one look into a dictionary.

Spec: client-server-api#using-access-tokens, client-server-api#refreshing-access-tokens
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from homeserver import errors
from homeserver.accounts import secret_tokens
from homeserver.encryption import device_keys
from homeserver.matrix.identifiers import DeviceId, UserId
from homeserver.ports import Clock, Entropy, Requester
from homeserver.storage import accounts, pushers, sync_connections
from homeserver.storage.accounts import Device, Token
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork

# How long an access token lives that a refresh token can renew.
_LIFETIME_MS = 60 * 60 * 1_000
_REMEMBERED = 1_000


@dataclass(slots=True)
class _Session:
    """A token in use. `seen_at` changes with every request and is never stored."""

    requester: Requester
    expires_at: int | None
    seen_at: int


@dataclass(frozen=True, slots=True)
class Issued:
    """What a client is told of its new tokens; the only place where they stand in the clear."""

    access_token: str
    refresh_token: str | None = None
    expires_in_ms: int | None = None


class Sessions:
    """Who is logged in."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._known: OrderedDict[bytes, _Session] = OrderedDict()
        self._retiring: set[asyncio.Task[None]] = set()

    def authenticate(self, token: str) -> Requester:
        """Who is asking. Raises UnknownToken, softly where the token can be refreshed."""
        access_hash = secret_tokens.hashed(token)
        session = self._known.get(access_hash) or self._remember(access_hash)
        now_ms = self._clock.now_ms()
        if session.expires_at is not None and session.expires_at <= now_ms:
            raise errors.UnknownToken("The access token has expired.", soft_logout=True)
        session.seen_at = now_ms
        self._known.move_to_end(access_hash)
        return session.requester

    def last_seen_at(self, user_id: UserId, device_id: DeviceId) -> int | None:
        """When the device last asked for something, as far as it is remembered."""
        requester = Requester(user_id, device_id)
        seen = [one.seen_at for one in self._known.values() if one.requester == requester]
        return max(seen, default=None)

    def begin(
        self, work: UnitOfWork, requester: Requester, name: str | None, *, can_refresh: bool
    ) -> Issued:
        """Start a session on a device; what was logged in there is logged out."""
        user_id, device_id = requester.user_id, requester.device_id
        accounts.delete_tokens_of_device(work, user_id, device_id)
        self.forget_tokens(work, user_id, [device_id])
        known = accounts.find_device(work, user_id, device_id)
        shown = known.display_name if known else name
        accounts.save_device(work, user_id, Device(device_id, shown, self._clock.now_ms()))
        return self.issue(work, requester, can_refresh=can_refresh, replaces=None)

    def issue(
        self, work: UnitOfWork, requester: Requester, *, can_refresh: bool, replaces: bytes | None
    ) -> Issued:
        """Store new tokens for a device. `replaces` is the hash of the token they renew."""
        access_token = secret_tokens.make(self._entropy)
        refresh_token = secret_tokens.make(self._entropy) if can_refresh else None
        accounts.save_token(
            work,
            Token(
                access_hash=secret_tokens.hashed(access_token),
                refresh_hash=None if refresh_token is None else secret_tokens.hashed(refresh_token),
                user_id=requester.user_id,
                device_id=requester.device_id,
                expires_at=self._clock.now_ms() + _LIFETIME_MS if can_refresh else None,
                replaces=replaces,
            ),
        )
        return Issued(access_token, refresh_token, _LIFETIME_MS if can_refresh else None)

    async def refresh(self, refresh_token: str) -> Issued:
        """New tokens for old; the old ones work until the new ones are used.

        Spec: client-server-api#post_matrixclientv3refresh
        """
        refresh_hash = secret_tokens.hashed(refresh_token)

        def renew(work: UnitOfWork) -> Issued:
            token = accounts.find_refresh_token(work, refresh_hash)
            if token is None:
                raise errors.UnknownToken("The refresh token is not known.")
            if token.replaces is not None:
                self._retire(work, token)
            accounts.delete_unused_successors(work, token.access_hash)
            requester = Requester(token.user_id, token.device_id)
            return self.issue(work, requester, can_refresh=True, replaces=token.access_hash)

        return await self._database.write(renew)

    async def end(self, user_id: UserId, device_ids: Sequence[DeviceId]) -> None:
        """Log devices out: they, their keys and all their tokens are gone.

        Spec: client-server-api#post_matrixclientv3logout
        """
        await self._database.write(lambda work: self.end_within(work, user_id, device_ids))

    def end_within(self, work: UnitOfWork, user_id: UserId, device_ids: Sequence[DeviceId]) -> None:
        """`end` as a part of something larger."""
        accounts.delete_devices(work, user_id, device_ids)
        pushers.delete_pushers_of_devices(work, user_id, device_ids)
        device_keys.forget_devices(work, user_id, device_ids)
        sync_connections.delete_connections_of_devices(work, user_id, device_ids)
        self.forget_tokens(work, user_id, device_ids)

    def forget_tokens(
        self, work: UnitOfWork, user_id: UserId, device_ids: Collection[DeviceId]
    ) -> None:
        """Forget devices' tokens in memory once their rows are gone for good."""
        gone = {Requester(user_id, device_id) for device_id in device_ids}

        def forget() -> None:
            for access_hash in [
                access_hash
                for access_hash, session in self._known.items()
                if session.requester in gone
            ]:
                del self._known[access_hash]

        work.after_commit(forget)

    def make_device_id(self) -> DeviceId:
        """An ID for a device that brought none."""
        letters = (chr(ord("A") + byte % 26) for byte in self._entropy.token_bytes(10))
        return DeviceId("".join(letters))

    def _remember(self, access_hash: bytes) -> _Session:
        token = self._database.read(lambda view: accounts.find_token(view, access_hash))
        if token is None:
            raise errors.UnknownToken
        session = _Session(Requester(token.user_id, token.device_id), token.expires_at, 0)
        self._known[access_hash] = session
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        if token.replaces is not None:
            self._retire_later(token)
        return session

    def _retire_later(self, token: Token) -> None:
        """The client has its new token, so the one before it ends. Requests do not wait for it."""

        async def retire() -> None:
            await self._database.write(lambda work: self._retire(work, token))

        task = asyncio.get_running_loop().create_task(retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _retire(self, work: UnitOfWork, token: Token) -> None:
        accounts.delete_predecessor(work, token)

        def forget() -> None:
            if token.replaces is not None:
                self._known.pop(token.replaces, None)

        work.after_commit(forget)
