"""End the account: nobody can log in, nothing is exchanged, and everything stays on the disk.

Whoever has the machine can open the account again by setting a password. What clients ask for with
`erase` holds for everybody who deactivates: nobody who comes later is served what the owner said.

Spec: client-server-api#account-deactivation
"""

from collections.abc import Awaitable, Callable

from homeserver.accounts.sessions import Sessions
from homeserver.ports import Requester
from homeserver.storage import accounts, short_tokens
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork

# No password has this hash.
_LOCKED = ""


class Deactivation:
    """The last thing an owner does."""

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions
        # What has to have ended before: what is exchanged with peers.
        self.before: list[Callable[[], Awaitable[None]]] = []

    async def deactivate(self, requester: Requester) -> None:
        """Pause every connection, log every client out and lock the account.

        Spec: client-server-api#post_matrixclientv3accountdeactivate
        """

        def end(work: UnitOfWork) -> None:
            owner = requester.user_id
            accounts.save_password_hash(work, owner, _LOCKED)
            short_tokens.delete_tokens_of(work, owner)
            devices = [device.device_id for device in accounts.list_devices(work, owner)]
            self._sessions.end_within(work, owner, devices)

        for stop in self.before:
            await stop()
        await self._database.write(end)
