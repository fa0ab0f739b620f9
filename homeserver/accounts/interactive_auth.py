"""User-interactive authentication: the password again, before something that matters.

Spec: client-server-api#user-interactive-authentication-api
"""

from base64 import urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from homeserver import errors
from homeserver.accounts.login import is_called
from homeserver.accounts.passwords import Passwords
from homeserver.accounts.rate_limits import RateLimit
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Clock, Entropy, Requester
from homeserver.storage import accounts
from homeserver.storage.database import Database

_STAGE = "m.login.password"
_SESSIONS_LIMIT = 100
_LIFETIME_S = 15 * 60
_SECRET_BYTES = 18


@dataclass(frozen=True, slots=True)
class _Pending:
    """An operation that waits for the password; it can be confirmed for nothing else."""

    requester: Requester
    operation: str
    began_at: float


class InteractiveAuth:
    """Asks the owner for the password. Sessions live in memory, few and not for long."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        rate_limit: RateLimit,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._rate_limit = rate_limit
        self._clock = clock
        self._entropy = entropy
        self._pending: OrderedDict[str, _Pending] = OrderedDict()

    async def confirm(self, requester: Requester, operation: str, auth: JsonObject | None) -> None:
        """Return if the password came along; raises UserInteractionRequired otherwise.

        `operation` names what is asked for with everything that matters about it, so that a
        session begun for one thing confirms no other.
        """
        session = self._find_session(requester, operation, auth)
        if auth is None or "type" not in auth:
            raise self._challenge(session or self._begin(requester, operation))
        if session is None and "session" in auth:
            raise self._challenge(self._begin(requester, operation))
        if auth["type"] != _STAGE:
            raise errors.InvalidParam("Only m.login.password is possible here.")
        if not await self._is_right(requester, auth):
            raise self._challenge(
                session or self._begin(requester, operation),
                errcode="M_FORBIDDEN",
                error="Wrong password.",
            )
        if session is not None:
            self._pending.pop(session, None)

    async def _is_right(self, requester: Requester, auth: JsonObject) -> bool:
        password = auth.get("password")
        if not isinstance(password, str):
            raise errors.MissingParam("password is missing.")
        if not is_called(requester.user_id, name_in(auth)):
            return False
        self._rate_limit.spend(f"confirm:{requester.user_id}")
        password_hash = self._database.read(
            lambda view: accounts.find_password_hash(view, requester.user_id)
        )
        return await self._passwords.is_right(password, password_hash)

    def _find_session(
        self, requester: Requester, operation: str, auth: JsonObject | None
    ) -> str | None:
        session = auth.get("session") if auth else None
        if not isinstance(session, str):
            return None
        pending = self._pending.get(session)
        if pending is None or (pending.requester, pending.operation) != (requester, operation):
            return None
        return session if self._is_fresh(pending) else None

    def _begin(self, requester: Requester, operation: str) -> str:
        while self._pending and (
            len(self._pending) >= _SESSIONS_LIMIT
            or not self._is_fresh(next(iter(self._pending.values())))
        ):
            self._pending.popitem(last=False)
        session = urlsafe_b64encode(self._entropy.token_bytes(_SECRET_BYTES)).decode()
        self._pending[session] = _Pending(requester, operation, self._clock.monotonic())
        return session

    def _is_fresh(self, pending: _Pending) -> bool:
        return self._clock.monotonic() - pending.began_at < _LIFETIME_S

    def _challenge(self, session: str, **mistake: str) -> errors.UserInteractionRequired:
        return errors.UserInteractionRequired(
            None,
            flows=[{"stages": [_STAGE]}],
            params={},
            session=session,
            completed=[],
            **mistake,
        )


def name_in(body: JsonObject) -> str:
    """The user name in an `identifier`, or where older clients put it.

    Spec: client-server-api#identifier-types
    """
    identifier: Any = body.get("identifier")
    if identifier is None:
        identifier = {"type": "m.id.user", "user": body.get("user")}
    if not isinstance(identifier, dict) or identifier.get("type") != "m.id.user":
        raise errors.InvalidParam("Only identifiers of type m.id.user are known here.")
    user = identifier.get("user")
    if not isinstance(user, str):
        raise errors.MissingParam("The user name is missing.")
    return user
