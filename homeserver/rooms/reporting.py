"""What the owner reports as inappropriate is written down for the owner. Nobody else is told.

Spec: client-server-api#reporting-content
"""

from homeserver import errors
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.ports import Clock, Requester
from homeserver.rooms import timeline
from homeserver.storage import reports, rooms
from homeserver.storage.database import Database
from homeserver.storage.reports import Report
from homeserver.storage.unit_of_work import UnitOfWork

_LONGEST_REASON = 1_000


class Reporting:
    """Takes reports and shows them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def report_room(self, room_id: RoomId, reason: str) -> None:
        """Write down a room that this server knows.

        Spec: client-server-api#post_matrixclientv3roomsroomidreport
        """
        identifiers.parse_room_id(room_id)

        def save(work: UnitOfWork) -> None:
            if rooms.find_room(work, room_id) is None and not rooms.servers_in_room(work, room_id):
                raise errors.NotFound("There is no such room here.")
            reports.save_report(work, self._report(reason, room_id=room_id))

        await self._database.write(save)

    async def report_event(
        self, requester: Requester, room_id: RoomId, event_id: EventId, reason: str
    ) -> None:
        """Write down an event that the owner sees in a room they are in.

        Spec: client-server-api#post_matrixclientv3roomsroomidreporteventid
        """

        def save(work: UnitOfWork) -> None:
            member = rooms.find_membership(work, room_id, requester.user_id)
            if member is None or member.membership != "join":
                raise errors.NotFound("You are in no such room.")
            timeline.load_visible(work, requester, room_id, event_id)
            reports.save_report(work, self._report(reason, room_id=room_id, event_id=event_id))

        await self._database.write(save)

    async def report_user(self, user_id: UserId, reason: str) -> None:
        """Write down a user. Whether there is one is not said.

        Spec: client-server-api#post_matrixclientv3usersuseridreport
        """
        identifiers.parse_user_id(user_id)
        report = self._report(reason, user_id=user_id)
        await self._database.write(lambda work: reports.save_report(work, report))

    def all(self) -> list[JsonObject]:
        """Every report that is kept, the newest first."""
        kept = self._database.read(reports.load_reports)
        shown = [{name: getattr(one, name) for name in Report.__slots__} for one in kept]
        return [{key: value for key, value in one.items() if value is not None} for one in shown]

    def _report(
        self,
        reason: str,
        *,
        user_id: str | None = None,
        room_id: str | None = None,
        event_id: str | None = None,
    ) -> Report:
        now_ms = self._clock.now_ms()
        return Report(now_ms, reason[:_LONGEST_REASON], user_id, room_id, event_id)
