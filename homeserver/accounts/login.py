"""Log in with the password or with a token that a client inside got; change the password.

Spec: client-server-api#login
"""

from collections.abc import Callable
from dataclasses import dataclass

from homeserver import errors
from homeserver.accounts.passwords import Passwords
from homeserver.accounts.rate_limits import RateLimit, source_key
from homeserver.accounts.sessions import Issued, Sessions
from homeserver.accounts.short_tokens import LOG_IN, ShortTokens
from homeserver.matrix import canonical_json
from homeserver.matrix.identifiers import DeviceId, UserId, localpart, parse_device_id
from homeserver.ports import Requester
from homeserver.storage import accounts, encryption, short_tokens
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

_NAME_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody shows who wants in: name and password, or a token of a client inside."""

    user: str | None = None
    password: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the session shall be like."""

    device_id: str | None = None
    device_name: str | None = None
    can_refresh: bool = False


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A new session."""

    requester: Requester
    issued: Issued


class LogIn:
    """The door to the owner's account."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        passwords: Passwords,
        rate_limit: RateLimit,
        tokens: ShortTokens,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._passwords = passwords
        self._rate_limit = rate_limit
        self._tokens = tokens
        # What else happens in the unit of work in which a device is seen for the first time.
        self.when_new_device: list[Callable[[UnitOfWork, Requester, str | None], None]] = []

    async def log_in(self, proof: Proof, wish: Wish, source: str | None) -> LoggedIn:
        """Check what is shown and start a session, on a known device or a fresh one.

        Spec: client-server-api#post_matrixclientv3login
        """
        self._rate_limit.spend(source_key(source))
        checked = None if proof.token is not None else await self._check_password(proof)
        device_id = (
            self._sessions.make_device_id()
            if wish.device_id is None
            else parse_device_id(wish.device_id)
        )

        def start(work: UnitOfWork) -> LoggedIn:
            requester = Requester(self._admit(work, proof, checked), device_id)
            _check_no_key_has_that_name(work, requester)
            name = wish.device_name[:_NAME_LIMIT] if wish.device_name else None
            if accounts.find_device(work, requester.user_id, device_id) is None:
                for tell in self.when_new_device:
                    tell(work, requester, name)
            issued = self._sessions.begin(work, requester, name, can_refresh=wish.can_refresh)
            return LoggedIn(requester, issued)

        return await self._database.write(start)

    async def change_password(
        self, requester: Requester, password: str, *, ends_other_sessions: bool
    ) -> None:
        """Set a new password; the session that asks for it stays.

        Spec: client-server-api#post_matrixclientv3accountpassword
        """
        await self._set_password(
            requester.user_id, requester.device_id, password, ends_sessions=ends_other_sessions
        )

    async def reset_password(self, user_id: UserId, password: str, *, ends_sessions: bool) -> None:
        """Set a new password for whoever has the machine; an ended account is open again."""
        await self._set_password(user_id, None, password, ends_sessions=ends_sessions)

    async def _set_password(
        self, user_id: UserId, stays: DeviceId | None, password: str, *, ends_sessions: bool
    ) -> None:
        password_hash = await self._passwords.hash(password)

        def save(work: UnitOfWork) -> None:
            accounts.save_password_hash(work, user_id, password_hash)
            if ends_sessions:
                # A token to log in with is a session that has not begun yet.
                short_tokens.delete_tokens_of(work, user_id)
                dehydrated = encryption.find_dehydrated(work, user_id)
                kept = {stays, dehydrated.device_id if dehydrated else None}
                devices = [device.device_id for device in accounts.list_devices(work, user_id)]
                others = [device_id for device_id in devices if device_id not in kept]
                self._sessions.end_within(work, user_id, others)

        await self._database.write(save)

    def _admit(self, work: UnitOfWork, proof: Proof, checked: "_Checked | None") -> UserId:
        """Whose account this opens, in the unit of work that opens it.

        The password may have changed since it was checked: hashing takes its time.
        """
        if checked is not None:
            now = accounts.find_password_hash(work, checked.user_id)
            if now != checked.password_hash:
                raise errors.WrongPassword
            return checked.user_id
        user_id = self._tokens.spend(work, proof.token or "", LOG_IN)
        if user_id is None:
            raise errors.WrongPassword("That login token is not valid, or not any more.")
        return user_id

    async def _check_password(self, proof: Proof) -> "_Checked":
        """The user whose password this is. An unknown user takes as long as a wrong password."""
        user, password = proof.user or "", proof.password or ""

        def find(view: View) -> tuple[UserId | None, str | None]:
            owner = accounts.find_owner(view)
            if owner is None or not is_called(owner, user):
                return None, None
            return owner, accounts.find_password_hash(view, owner)

        user_id, password_hash = self._database.read(find)
        is_right = await self._passwords.is_right(password, password_hash)
        if user_id is None or password_hash is None or not is_right:
            raise errors.WrongPassword
        return _Checked(user_id, password_hash)


@dataclass(frozen=True, slots=True)
class _Checked:
    """Whose password was right, and what it was compared with."""

    user_id: UserId
    password_hash: str


def is_called(user_id: UserId, name: str) -> bool:
    """Whether somebody means this user by that name: short or whole, however it is capitalised."""
    given = name.strip().lower()
    if ":" in given:
        return f"@{given.removeprefix('@')}" == user_id.lower()
    return given.removeprefix("@") == localpart(user_id).lower()


def _check_no_key_has_that_name(work: UnitOfWork, requester: Requester) -> None:
    # A device named like a cross-signing key could pass its keys off as that key.
    keys = encryption.find_cross_signing_keys(work, [requester.user_id])
    for raw in keys.get(requester.user_id, {}).values():
        if requester.device_id in canonical_json.decode(raw)["keys"].values():
            raise errors.Forbidden("A key has that device's ID.")
