"""Adversaries as ready-made actors, for tests of what they must not achieve.

- `Stranger`: valid keys, no connection; tries every address and every kind of box and request.
- `FormerPeer`: remembers everything a peer knows, and goes on trying after the revoke.
- `HostilePeer`: a connected peer whose server sends what no honest one sends.
- `Wire`: sits between servers; records, replays, reorders, substitutes.
- `MiddleMan`: a wire that also holds somebody's invitation link, and rewrites the handshake.
- `Forwarder`: a third member of a room who passes on to another what is said in it.
"""

from homeserver.testing.adversaries.former_peer import FormerPeer
from homeserver.testing.adversaries.forwarder import Forwarder
from homeserver.testing.adversaries.hostile_peer import HostilePeer
from homeserver.testing.adversaries.middle_man import MiddleMan
from homeserver.testing.adversaries.stranger import Stranger
from homeserver.testing.adversaries.wire import Wire

__all__ = ["FormerPeer", "Forwarder", "HostilePeer", "MiddleMan", "Stranger", "Wire"]
