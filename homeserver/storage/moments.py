"""Events by the time at which their senders say they were made."""

from sqlalchemy import bindparam, select

from homeserver.matrix.identifiers import RoomId
from homeserver.storage import events
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import View

_table = events.events
_IN_TIMELINE = (_table.c.room_id == bindparam("room_id"), _table.c.position.is_not(None))
_PLACE = (_table.c.position, _table.c.rank)
_SINCE = (
    select(_table.c.event_id)
    .where(*_IN_TIMELINE, _table.c.origin_server_ts >= bindparam("moment"))
    .order_by(_table.c.origin_server_ts, *_PLACE)
    .limit(bindparam("limit"))
    .offset(bindparam("skipped"))
)
_UNTIL = (
    select(_table.c.event_id)
    .where(*_IN_TIMELINE, _table.c.origin_server_ts <= bindparam("moment"))
    .order_by(_table.c.origin_server_ts.desc(), *(one.desc() for one in _PLACE))
    .limit(bindparam("limit"))
    .offset(bindparam("skipped"))
)


def events_near(
    view: View, room_id: RoomId, moment: int, page: tuple[int, int], *, is_backwards: bool
) -> list[StoredEvent]:
    """Events at a moment and before (or after) it, the nearest first; `page`: limit, skipped."""
    limit, skipped = page
    key = {"room_id": room_id, "moment": moment, "limit": limit, "skipped": skipped}
    rows = view.all(_UNTIL if is_backwards else _SINCE, key)
    found = events.load_events(view, [row.event_id for row in rows])
    return [found[row.event_id] for row in rows]
