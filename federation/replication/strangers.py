"""Rooms whose people we are not all connected to: the owner decides before we join.

Connections are pairwise: a room with a stranger in it works only as far as others pass things on.
"""

from collections.abc import Iterable
from typing import Literal

from homeserver import errors
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import peers
from homeserver.storage.unit_of_work import View

Policy = Literal["ask", "accept", "refuse"]
_MOST_NAMED = 10


def check(view: View, own: ServerName, present: Iterable[str], policy: Policy) -> None:
    """Raise Forbidden, naming the strangers, unless the owner's settings accept them."""
    if policy == "accept":
        return
    strangers = sorted(set(present) - peers.connected_servers(view) - {own})
    if strangers:
        named = ", ".join(name[:255] for name in strangers[:_MOST_NAMED])
        raise errors.Forbidden(
            f"There are people in that room whose servers yours is not connected to: {named}."
            " Connect with them first."
        )
