"""The threads that the owner's clients notify about: subscribed by hand or by what was said there.

Spec: MSC4306, MSC4308
"""

from collections.abc import Sequence

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.ports import Requester
from homeserver.rooms import consequences, timeline
from homeserver.storage import thread_subscriptions
from homeserver.storage.database import Database
from homeserver.storage.thread_subscriptions import ThreadSubscription
from homeserver.storage.unit_of_work import UnitOfWork, View

LARGEST_PAGE = 500
_THREAD = "m.thread"


class NotInThread(errors.HomeserverError):
    """That event does not stand in this thread."""

    errcode = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"


class UnsubscribedSince(errors.Conflict):
    """This thread was unsubscribed from after that event."""

    errcode = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"


class ThreadSubscriptions:
    """What the owner's clients say and ask of threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_automatic(self, requester: Requester, room_id: RoomId, root: EventId) -> bool:
        """Whether a subscription was made by a client alone; `NotFound` where there is none."""

        def find(view: View) -> ThreadSubscription | None:
            timeline.load_visible(view, requester, room_id, root)
            return thread_subscriptions.find(view, requester.user_id, room_id, root)

        found = self._database.read(find)
        if found is None or not found.is_subscribed:
            raise errors.NotFound("You have not subscribed to that thread.")
        return found.is_automatic

    async def subscribe(
        self, requester: Requester, room_id: RoomId, root: EventId, cause: EventId | None
    ) -> None:
        """Hear of a thread. `cause` is the event for which a client does so by itself.

        A client alone changes nothing of what the owner said, before or after that event.
        """
        thread = (requester.user_id, room_id, root)

        def subscribe(work: UnitOfWork) -> None:
            timeline.load_visible(work, requester, room_id, root)
            before = thread_subscriptions.find(work, *thread)
            if cause is not None:
                _check_cause(work, requester, (room_id, root, cause), before)
            is_automatic = cause is not None
            if before is None or not before.is_subscribed or before.is_automatic > is_automatic:
                thread_subscriptions.save(work, thread, subscribed=True, automatic=is_automatic)

        await self._database.write(subscribe)

    async def unsubscribe(self, requester: Requester, room_id: RoomId, root: EventId) -> None:
        """Hear of a thread no more, whatever was said in it before."""
        thread = (requester.user_id, room_id, root)

        def unsubscribe(work: UnitOfWork) -> None:
            timeline.load_visible(work, requester, room_id, root)
            before = thread_subscriptions.find(work, *thread)
            if before is None or before.is_subscribed:
                thread_subscriptions.save(work, thread, subscribed=False, automatic=False)

        await self._database.write(unsubscribe)

    def page(self, requester: Requester, start: int | None, stop: int, limit: int) -> JsonObject:
        """The newest changes up to `start` and after `stop`; `end` leads on to older ones."""
        until = self._database.position if start is None else start
        limit = max(1, min(limit, LARGEST_PAGE))
        found = self._database.read(
            lambda view: thread_subscriptions.changed_between(
                view, requester.user_id, (stop, until), limit
            )
        )
        end = {"end": before_oldest(found)} if len(found) == limit else {}
        return told(found) | end


def told(changes: Sequence[ThreadSubscription]) -> JsonObject:
    """Changes as clients read them: by room and root, apart what was subscribed to and what not."""
    answer: JsonObject = {}
    for one in changes:
        stamp = {"bump_stamp": one.position}
        if one.is_subscribed:
            part, content = "subscribed", {"automatic": one.is_automatic} | stamp
        else:
            part, content = "unsubscribed", stamp
        answer.setdefault(part, {}).setdefault(one.room_id, {})[one.root] = content
    return answer


def before_oldest(changes: Sequence[ThreadSubscription]) -> str:
    """Where the page before these changes ends."""
    return str(changes[-1].position - 1)


def _check_cause(
    view: View,
    requester: Requester,
    named: tuple[RoomId, EventId, EventId],
    before: ThreadSubscription | None,
) -> None:
    room_id, root, cause = named
    stored = timeline.load_visible(view, requester, room_id, cause)
    relation = consequences.relation_of(stored.event)
    if relation is None or (relation.rel_type, relation.relates_to) != (_THREAD, root):
        raise NotInThread
    if before is None or before.is_subscribed:
        return
    if stored.position is None or stored.position < before.position:
        raise UnsubscribedSince
