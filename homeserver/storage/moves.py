"""Who came into or went out of the owner's sight."""

from sqlalchemy import bindparam, select, union

from homeserver.matrix.identifiers import UserId
from homeserver.storage.hiding import stand_ins
from homeserver.storage.rooms import memberships
from homeserver.storage.unit_of_work import View

_mine = memberships.alias("mine")
_MOVED = union(
    select(memberships.c.user_id).where(memberships.c.position > bindparam("after")),
    # Where the owner came or went, everybody did.
    select(memberships.c.user_id)
    .join(_mine, _mine.c.room_id == memberships.c.room_id)
    .where(_mine.c.user_id == bindparam("owner"), _mine.c.position > bindparam("after")),
    select(stand_ins.c.user_id).where(stand_ins.c.position > bindparam("after")),
)


def moved_users(view: View, owner: UserId, after: int) -> set[UserId]:
    """Whose membership of some room, or the owner's of a room with them, changed since."""
    rows = view.all(_MOVED, {"after": after, "owner": owner})
    return {row.user_id for row in rows} - {owner}
