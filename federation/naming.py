"""Which peer a person means: by server name, node id, user ID, the peer's own name. Pure."""

from collections.abc import Callable, Sequence

from federation import fingerprints, shown_names
from homeserver import errors
from homeserver.storage.peers import Peer

# A server name's beginning is enough where it fits one peer alone, if it is not too short.
_LEAST_BEGINNING = 4
_MOST_NAMED = 10


def find(known: Sequence[Peer], name: str) -> Peer:
    """The one peer that is meant. Raises `NotFound`, or `Conflict` where several could be."""
    meant = name.strip()
    for fits in _ways(meant):
        found = [peer for peer in known if fits(peer)]
        if len(found) > 1:
            servers = ", ".join(shown_names.safe(peer.server_name) for peer in found[:_MOST_NAMED])
            raise errors.Conflict(f"{shown_names.safe(meant)} could be any of these: {servers}.")
        if found:
            return found[0]
    raise errors.NotFound(f"There is no connection with {shown_names.safe(meant)}.")


def _ways(name: str) -> Sequence[Callable[[Peer], bool]]:
    server = name.partition(":")[2] if name.startswith("@") else name
    node_id = _node_id(name)
    folded = name.casefold()
    return (
        lambda peer: peer.server_name == server,
        lambda peer: peer.node_id == node_id,
        lambda peer: peer.name == name,
        lambda peer: peer.name.casefold() == folded,
        lambda peer: len(name) >= _LEAST_BEGINNING and peer.server_name.startswith(name),
    )


def _node_id(name: str) -> str:
    try:
        return fingerprints.from_groups(name)
    except errors.InvalidParam:
        return name
