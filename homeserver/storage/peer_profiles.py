"""What people on peers say about themselves, as we last heard it, for while their servers sleep."""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    select,
)

from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName, UserId, server_of
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# A server has one owner; more names than these only a hostile one has.
_MOST_OF_SERVER = 100

peer_profiles = Table(
    "peer_profiles",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("server", String, nullable=False),
    Column("profile", LargeBinary, nullable=False),  # JSON
    Column("heard_at", BigInteger, nullable=False),
)
# What do we know of this server's users?
Index("ix_peer_profiles_server", peer_profiles.c.server)

_KEPT = (
    select(peer_profiles.c.user_id)
    .where(peer_profiles.c.server == bindparam("of_server"))
    .order_by(peer_profiles.c.heard_at.desc())
    .limit(_MOST_OF_SERVER)
)
_DELETE_OLDEST = delete(peer_profiles).where(
    peer_profiles.c.server == bindparam("of_server"), peer_profiles.c.user_id.not_in(_KEPT)
)
_FIND = select(peer_profiles.c.profile, peer_profiles.c.heard_at).where(
    peer_profiles.c.user_id == bindparam("user_id")
)


@dataclass(frozen=True, slots=True)
class HeardProfile:
    """A profile, and when its server told it."""

    profile: JsonObject
    heard_at: int


def find_profile(view: View, user_id: UserId) -> HeardProfile | None:
    """What was heard last of somebody."""
    row = view.one_or_none(_FIND, {"user_id": user_id})
    return None if row is None else HeardProfile(canonical_json.decode(row.profile), row.heard_at)


def save_profile(work: UnitOfWork, user_id: UserId, profile: bytes, heard_at: int) -> None:
    """Keep what somebody's server told of them, and no more of one server than belongs there."""
    server = server_of(user_id)
    row = {"user_id": user_id, "server": server, "profile": profile, "heard_at": heard_at}
    work.upsert(peer_profiles, row)
    work.execute(_DELETE_OLDEST, {"of_server": server})


def delete_profile(work: UnitOfWork, user_id: UserId) -> None:
    """Its server tells it no more."""
    work.execute(delete(peer_profiles).where(peer_profiles.c.user_id == user_id))


def delete_profiles_of(work: UnitOfWork, server: ServerName) -> None:
    """Forget what a server's users say about themselves."""
    work.execute(delete(peer_profiles).where(peer_profiles.c.server == server))
