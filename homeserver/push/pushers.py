"""The owner's pushers: to which gateways it is told that something happened.

Only gateways that the owner allowed in the settings can be named: each learns when the owner is
written to.

Spec: client-server-api#post_matrixclientv3pushersset
"""

from dataclasses import dataclass

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Clock, Requester
from homeserver.storage import pushers
from homeserver.storage.database import Database
from homeserver.storage.pushers import Pusher
from homeserver.storage.unit_of_work import UnitOfWork

_MOST = 50


@dataclass(frozen=True, slots=True)
class Address:
    """Which pusher: an application, and its key at the gateway."""

    app_id: str
    pushkey: str


class Pushers:
    """Set, list, delete."""

    def __init__(self, database: Database, clock: Clock, gateways: tuple[str, ...]) -> None:
        self._database = database
        self._clock = clock
        self._gateways = frozenset(gateways)

    def list_all(self, requester: Requester) -> list[JsonObject]:
        """Every pusher as its client set it.

        Spec: client-server-api#get_matrixclientv3pushers
        """
        return [
            {"app_id": one.app_id, "pushkey": one.pushkey, **one.shown}
            for one in self._database.read(pushers.load_pushers)
            if one.user_id == requester.user_id
        ]

    async def put(self, requester: Requester, address: Address, shown: JsonObject) -> None:
        """Add or change one. Raises Forbidden for a gateway that the owner has not allowed."""
        url = shown["data"].get("url")
        if url not in self._gateways:
            raise errors.Forbidden(
                "That push gateway is not allowed here. Add its URL to push.gateways in the"
                " settings of the server."
            )

        def save(work: UnitOfWork) -> None:
            known = {Address(one.app_id, one.pushkey): one for one in pushers.load_pushers(work)}
            before = known.get(address)
            if len(known) >= _MOST and before is None:
                raise errors.LimitExceeded(60_000)
            pushers.save_pusher(
                work,
                Pusher(
                    requester.user_id,
                    address.app_id,
                    address.pushkey,
                    requester.device_id,
                    shown,
                    self._clock.now_ms(),
                    # Clients set theirs at every start: what waits for the gateway stays.
                    work.position if before is None else before.told_until,
                ),
            )
            work.wake(pushers.CHANGED)

        await self._database.write(save)

    async def delete(self, requester: Requester, address: Address) -> None:
        """Tell a gateway nothing more; one that is not known is no mistake."""

        def forget(work: UnitOfWork) -> None:
            pushers.delete_pusher(work, requester.user_id, address.app_id, address.pushkey)
            work.wake(pushers.CHANGED)

        await self._database.write(forget)
