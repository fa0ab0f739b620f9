"""Tokens for a moment: one logs the owner's next client in, one shows a widget who the owner is.

Spec: client-server-api#post_matrixclientv1loginget_token, client-server-api#openid
"""

from dataclasses import dataclass

from homeserver import errors
from homeserver.accounts import secret_tokens
from homeserver.matrix.identifiers import UserId
from homeserver.ports import Clock, Entropy
from homeserver.storage import short_tokens
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork

LOG_IN, OPENID = "log in", "openid"

# The specification asks for two minutes; OpenID tokens are shown to programs of others.
_LIFETIMES_MS = {LOG_IN: 120_000, OPENID: 3_600_000}


@dataclass(frozen=True, slots=True)
class ShortToken:
    """A token, in the clear for the only time."""

    token: str
    expires_in_ms: int


class ShortTokens:
    """Gives tokens that count for a while."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy

    async def issue(self, user_id: UserId, purpose: str) -> ShortToken:
        """Make a token. Raises LimitExceeded where too many wait to be used."""
        secret = secret_tokens.make(self._entropy)
        now_ms, lifetime = self._clock.now_ms(), _LIFETIMES_MS[purpose]

        def save(work: UnitOfWork) -> None:
            short_tokens.delete_expired(work, now_ms)
            if short_tokens.count_tokens(work) >= short_tokens.MOST_TOKENS:
                raise errors.LimitExceeded(60_000)
            short_tokens.save_token(
                work, secret_tokens.hashed(secret), purpose, user_id, now_ms + lifetime
            )

        await self._database.write(save)
        return ShortToken(secret, lifetime)

    def spend(self, work: UnitOfWork, token: str, purpose: str) -> UserId | None:
        """Whose token this is; it counts no more after that."""
        user_id = short_tokens.find_user(
            work, secret_tokens.hashed(token), purpose, self._clock.now_ms()
        )
        if user_id is not None:
            short_tokens.delete_token(work, secret_tokens.hashed(token))
        return user_id

    def user_of(self, token: str, purpose: str) -> UserId | None:
        """Whose token this is, if it still counts."""
        now_ms = self._clock.now_ms()
        return self._database.read(
            lambda view: short_tokens.find_user(view, secret_tokens.hashed(token), purpose, now_ms)
        )
