"""Find people: those one shares a room with, and the owners of connected servers. Nobody else.

Spec: client-server-api#user-directory
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import UserId, localpart
from homeserver.ports import Requester
from homeserver.rooms import veils
from homeserver.storage import searching
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import View

_MOST = 50


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the directory shows them."""

    user_id: UserId
    display_name: str | None = None
    avatar_url: str | None = None

    def to_json(self) -> JsonObject:
        """As clients want it; what is not known is left out."""
        shown = {
            "user_id": self.user_id,
            "display_name": self.display_name,
            "avatar_url": self.avatar_url,
        }
        return {name: value for name, value in shown.items() if value is not None}

    def closeness(self, term: str) -> int | None:
        """How well a search term fits, the lower the better; None where it does not."""
        names = (localpart(self.user_id).casefold(), (self.display_name or "").casefold())
        if term in names or term == self.user_id.casefold():
            return 0
        if any(name.startswith(term) for name in names):
            return 1
        if any(term in name for name in names) or term in self.user_id.casefold():
            return 2
        return None


# The owners of connected servers, as far as they are known.
Acquainted = Callable[[View], Iterable[Person]]


class PeopleSearch:
    """The owner's own directory."""

    def __init__(self, database: Database, acquainted: Acquainted) -> None:
        self._database = database
        self._acquainted = acquainted

    async def search(self, requester: Requester, term: str, limit: int) -> JsonObject:
        """The people whose name or user ID holds the term, the closest first.

        Spec: client-server-api#post_matrixclientv3user_directorysearch
        """
        folded = term.strip().removeprefix("@").casefold()
        most = max(0, min(limit, _MOST))

        def look(view: View) -> list[Person]:
            people = {one.user_id: one for one in self._acquainted(view)}
            people |= {one.user_id: one for one in _in_rooms(view, requester.user_id)}
            fitting = [
                (closeness, one)
                for one in people.values()
                if folded and (closeness := one.closeness(folded)) is not None
            ]
            return [one for _, one in sorted(fitting, key=lambda pair: (pair[0], pair[1].user_id))]

        found = await self._database.scan(look)
        return {
            "limited": len(found) > most,
            "results": [one.to_json() for one in found[:most]],
        }


def _in_rooms(view: View, owner: UserId) -> Iterable[Person]:
    for one in searching.people_known_to(view, owner):
        if not veils.is_hidden(view, one.room_id, one.user_id):
            yield Person(one.user_id, one.display_name, one.avatar_url)
