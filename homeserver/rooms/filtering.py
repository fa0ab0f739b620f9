"""Which events a filter lets through, once it is known which of them somebody may see.

Spec: client-server-api#filtering
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.rooms import seeing
from homeserver.storage import events, relations
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import View


class Wanted(Protocol):
    """Which events a client asked for; see the filters of the specification."""

    @property
    def lazy_load_members(self) -> bool:
        """Whether to tell the members that speak on the page."""
        ...

    @property
    def related_by_rel_types(self) -> Collection[str] | None:
        """How something has to relate to an event; None: nothing needs to."""
        ...

    @property
    def related_by_senders(self) -> Collection[str] | None:
        """Who has to have sent what relates to an event; None: nobody needs to."""
        ...

    def allows_room(self, room_id: RoomId) -> bool:
        """Whether anything of this room passes."""
        ...

    def allows(self, event_type: str, sender: str | None = None) -> bool:
        """Whether an event of this type and sender passes."""
        ...

    def allows_content(self, content: JsonObject) -> bool:
        """Whether an event with this content passes."""
        ...


def passing(
    view: View, user_id: UserId, wanted: Wanted, several: Iterable[StoredEvent]
) -> list[StoredEvent]:
    """Those events of one room that a filter lets through."""
    passed = [
        stored
        for stored in several
        if wanted.allows(stored.event.type, stored.event.sender)
        and wanted.allows_content(stored.event.content)
    ]
    return related(view, user_id, wanted, passed)


def related(
    view: View, user_id: UserId, wanted: Wanted, several: Sequence[StoredEvent]
) -> list[StoredEvent]:
    """Those events that are related to as a filter wants it."""
    rel_types, senders = wanted.related_by_rel_types, wanted.related_by_senders
    if rel_types is None and senders is None:
        return list(several)
    targets = targets_of(view, user_id, several, rel_types, senders)
    return [one for one in several if one.event.event_id in targets]


def targets_of(
    view: View,
    user_id: UserId,
    several: Iterable[StoredEvent],
    rel_types: Collection[str] | None,
    senders: Collection[str] | None = None,
) -> set[EventId]:
    """Those events of one room to which something relates that the user is shown.

    Spec: MSC3440, filters by relating events
    """
    relating = {
        one.event_id: one.relates_to
        for one in relations.relating_to(view, [stored.event.event_id for stored in several])
        if (rel_types is None or one.rel_type in rel_types)
        and (senders is None or one.sender in senders)
    }
    heard = seeing.heard(view, user_id, events.load_events(view, relating.keys()).values())
    return {relating[one.event.event_id] for one in heard}
