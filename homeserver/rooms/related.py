"""Read what relates to an event, and the threads of a room.

Spec: client-server-api#forming-relationships-between-events, client-server-api#threading
"""

from dataclasses import dataclass

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.ports import Clock, Requester
from homeserver.rooms import client_format, filtering, pages, seeing, timeline
from homeserver.storage import relations
from homeserver.storage.database import Database
from homeserver.storage.events import Point
from homeserver.storage.relations import RelationsPage, Thread
from homeserver.storage.unit_of_work import View

# How far relations of relations are followed: an edit of an answer in a thread is two.
_DEEPEST = 3
_LARGEST_PAGE = 100
_MOST_BATCHES = 20
_THREAD = frozenset({"m.thread"})


@dataclass(frozen=True, slots=True)
class RelationsRequest:
    """Which relations of an event a client wants; tokens as it sent them."""

    rel_type: str | None
    event_type: str | None
    limit: int
    is_backwards: bool = True
    start: str | None = None
    stop: str | None = None
    # Whether to follow relations of relations; None where the client did not say.
    is_recursive: bool | None = None


@dataclass(frozen=True, slots=True)
class ThreadsRequest:
    """Which threads of a room a client wants."""

    limit: int
    is_own_only: bool = False
    start: str | None = None


class RelatedEvents:
    """What the owner's clients read of relations."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def relations(
        self, requester: Requester, room_id: RoomId, event_id: EventId, request: RelationsRequest
    ) -> JsonObject:
        """The events that relate to an event.

        Spec: client-server-api#get_matrixclientv1roomsroomidrelationseventid
        """
        now_ms = self._clock.now_ms()
        wanted = RelationsPage(
            request.rel_type,
            request.event_type,
            _point(request.start),
            _point(request.stop),
            max(1, min(request.limit, _LARGEST_PAGE)),
            request.is_backwards,
            _DEEPEST if request.is_recursive else 1,
        )

        def find(view: View) -> JsonObject:
            timeline.load_visible(view, requester, room_id, event_id)
            found = relations.related_events(view, room_id, event_id, wanted)
            here = seeing.heard(view, requester.user_id, found)
            chunk = client_format.client_events(view, here, requester, now_ms)
            answer: JsonObject = {"chunk": chunk}
            if request.start is not None:
                answer["prev_batch"] = request.start
            if request.is_recursive is not None:
                answer["recursion_depth"] = wanted.depth
            if len(found) == wanted.limit:
                last = found[-1]
                end = pages.before(last) if request.is_backwards else last.point
                answer["next_batch"] = pages.token(end)
            return answer

        return await self._database.scan(find)

    async def threads(
        self, requester: Requester, room_id: RoomId, request: ThreadsRequest
    ) -> JsonObject:
        """The events with which threads begin, the thread that was last written in first.

        Spec: client-server-api#get_matrixclientv1roomsroomidthreads
        """
        now_ms = self._clock.now_ms()
        start = _point(request.start) or pages.END
        limit = max(1, min(request.limit, _LARGEST_PAGE))

        def find(view: View) -> JsonObject:
            membership = seeing.load_readable(view, room_id, requester.user_id)
            at = start
            if membership.membership != "join":
                at = min(start, Point(membership.position))
            found, end = _threads(view, room_id, requester, (at, limit, request.is_own_only))
            roots = seeing.heard(view, requester.user_id, [one.root for one in found])
            begun = filtering.targets_of(view, requester.user_id, roots, _THREAD)
            roots = [one for one in roots if one.event.event_id in begun]
            answer: JsonObject = {
                "chunk": client_format.client_events(view, roots, requester, now_ms)
            }
            if end is not None:
                answer["next_batch"] = pages.token(end)
            return answer

        return await self._database.scan(find)


def _threads(
    view: View, room_id: RoomId, requester: Requester, wanted: tuple[Point, int, bool]
) -> tuple[list[Thread], Point | None]:
    """A page of threads, and where the next one begins."""
    point, limit, is_own_only = wanted
    found: list[Thread] = []
    for _ in range(_MOST_BATCHES):
        batch = relations.threads_before(view, room_id, point, limit, requester.user_id)
        for thread in batch:
            point = Point(thread.latest.position, thread.latest.rank - 1)
            found += [thread] if thread.has_reader or not is_own_only else []
            if len(found) == limit:
                return found, point
        if len(batch) < limit:
            return found, None
    return found, point


def _point(token: str | None) -> Point | None:
    return None if token is None else pages.parse_token(token)
