"""What a device asks for with one sync."""

from dataclasses import dataclass, field
from typing import Protocol

from homeserver.ephemeral import Presences, TypingBoard
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.ports import Requester
from homeserver.storage.unit_of_work import View
from homeserver.sync.filters import EVERYTHING, Filter
from homeserver.sync.ignoring import IgnoredUsers
from homeserver.sync.tokens import SyncToken


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


class CountUnread(Protocol):
    """Counts a room's unread events; push knows how."""

    def __call__(
        self, view: View, user_id: UserId, room_id: RoomId, read_up_to: int, until: int
    ) -> Counts:
        """Count the events after one position and up to another."""
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


@dataclass(frozen=True, slots=True)
class Asked:
    """A wish, who has it, and up to where it is answered now."""

    requester: Requester
    wish: Wish
    until: int
    typing_until: int  # where typing stood; taken beforehand, so that nothing is told too late
    now_ms: int
    sources: SyncSources

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
        """Whether the device knows nothing yet."""
        return self.wish.since is None

    @property
    def user_id(self) -> UserId:
        """Whose device it is."""
        return self.requester.user_id
