"""What a device asks for with one sync."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from homeserver.ephemeral import Presences, TypingBoard
from homeserver.ephemeral.reading import Read
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.ports import Requester
from homeserver.rooms.ignoring import IgnoredUsers
from homeserver.storage.unit_of_work import View
from homeserver.sync.filters import EVERYTHING, Filter
from homeserver.sync.tokens import SyncToken
from homeserver.sync.told_members import ToldMembers


class Counts(Protocol):
    """How much of a room is unread."""

    @property
    def notifications(self) -> int:
        """Events that notify."""
        ...

    @property
    def highlights(self) -> int:
        """Events that notify loudly."""
        ...


class Unread(Protocol):
    """How much of a room is unread: outside threads, in each thread, and in all."""

    @property
    def main(self) -> Counts:
        """What stands in no thread."""
        ...

    @property
    def threads(self) -> Mapping[EventId, Counts]:
        """What stands in threads, by their roots."""
        ...

    @property
    def total(self) -> Counts:
        """All of it."""
        ...


class CountUnread(Protocol):
    """Counts a room's unread events; push knows how."""

    def __call__(
        self, view: View, user_id: UserId, room_id: RoomId, read: Read, until: int, rules_at: int
    ) -> Unread:
        """Count the events after what is read and up to a position.

        `rules_at` is the position of the newest change of account data.
        """
        ...


@dataclass(frozen=True, slots=True)
class SyncSources:
    """What syncs look at besides the database."""

    typing: TypingBoard
    presences: Presences
    count_unread: CountUnread
    ignored: IgnoredUsers = field(default_factory=IgnoredUsers)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client sets in its request."""

    since: SyncToken | None = None
    filter: Filter = EVERYTHING
    is_full_state: bool = False
    uses_state_after: bool = False
    state_after_name: str = "state_after"


@dataclass(frozen=True, slots=True)
class Asked:
    """A wish, who has it, and up to where it is answered now."""

    requester: Requester
    wish: Wish
    until: int
    typing_until: int  # where typing stood; taken beforehand, so that nothing is told too late
    now_ms: int
    sources: SyncSources
    told_members: ToldMembers = field(default_factory=ToldMembers)

    @property
    def after(self) -> int:
        """The position up to which the device knows everything; 0 where it knows nothing."""
        return self.wish.since.position if self.wish.since is not None else 0

    @property
    def typing(self) -> TypingBoard:
        """Who types now."""
        return self.sources.typing

    def ignored(self, view: View, newest: int) -> frozenset[UserId]:
        """Whom the user ignores, given the position of the newest change of account data."""
        return self.sources.ignored.load(view, self.user_id, newest)

    @property
    def is_initial(self) -> bool:
        """Whether the device knows nothing yet, though it may have had messages to it."""
        since = self.wish.since
        return since is None or (since.position == 0 and since.to_device is not None)

    @property
    def user_id(self) -> UserId:
        """Whose device it is."""
        return self.requester.user_id
