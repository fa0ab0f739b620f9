"""Every step of sending, receiving, shaking hands, revoking and saying goodbye, by name.

A server may lose power at any of them; a simulation makes it. A mark costs one comparison.
"""

from collections.abc import Callable
from enum import StrEnum


class Point(StrEnum):
    """A place in the code. What is marked inside a unit of work is not committed yet."""

    # Send.
    EVENT_APPENDED = "an event is appended to its room"
    EVENT_KEPT = "an event of the owner's is kept, and the client does not know"
    FRAME_FILLED = "a frame is filled"
    FRAME_SEALED = "a frame is sealed"
    BOX_READY = "a box is ready to go"
    ANSWER_BROUGHT = "the answer to a box is here"
    FRAME_SETTLED = "a frame is acknowledged"
    ANSWER_TAKEN = "the answer to a box is taken"
    # Receive.
    BOX_CAME = "a box came and opened"
    FRAME_READ = "a frame is decrypted"
    FRAME_STORED = "a frame is stored"
    BOX_TAKEN = "a box is taken, and the peer does not know"
    FRAME_BEGUN = "a stored frame is about to be worked off"
    ITEMS_TAKEN = "the messages to devices of a frame are taken in, and its events are not"
    FRAME_LET_GO = "a frame is let go with its effect"
    FRAME_DONE = "a frame is worked off"
    # Handshake, in its order.
    INVITATION_KEPT = "an invitation is kept, and the owner has no link"
    REQUEST_KEPT = "REQUEST is kept"
    REQUEST_CAME = "REQUEST came"
    ACCEPT_SEALED = "ACCEPT is sealed"
    ACCEPT_KEPT = "ACCEPT is kept, and the other side does not know"
    ACCEPT_CAME = "ACCEPT came"
    PROVE_SEALED = "PROVE is sealed"
    PROVE_KEPT = "PROVE is kept"
    PROVE_CAME = "PROVE came"
    READY_SEALED = "READY is sealed"
    CHANNEL_MADE = "a handshake makes the channel"
    READY_KEPT = "READY is kept, and the other side does not know"
    READY_CAME = "READY came"
    # Revoke.
    REVOKE_BEGUN = "the owner ends a connection"
    STANDING_MOVED = "a standing has moved"
    PEER_FORGOTTEN = "what was kept of a peer is deleted"
    REVOKE_KEPT = "the end is kept, and the line still open"
    REVOKE_DONE = "the line is closed"
    # The goodbye of a revoke, in its order; the last is passed by the one who is told.
    GOODBYE_SEALED = "a goodbye is sealed"
    GOODBYE_READY = "a goodbye is about to go"
    GOODBYE_GONE = "a goodbye has arrived, and nothing of it is left"
    GOODBYE_TAKEN = "a goodbye is taken in"


SEND = tuple(Point)[: tuple(Point).index(Point.BOX_CAME)]
RECEIVE = tuple(Point)[len(SEND) : tuple(Point).index(Point.INVITATION_KEPT)]
HANDSHAKE = tuple(Point)[len(SEND) + len(RECEIVE) : tuple(Point).index(Point.REVOKE_BEGUN)]
GOODBYE = tuple(Point)[tuple(Point).index(Point.GOODBYE_SEALED) :]
REVOKE = tuple(Point)[tuple(Point).index(Point.REVOKE_BEGUN) : -len(GOODBYE)]

_watch: Callable[[Point], None] | None = None


def reach(point: Point) -> None:
    """Mark a place."""
    if _watch is not None:
        _watch(point)


def arm(watch: Callable[[Point], None]) -> None:
    """Tell somebody of every place that is reached in this process. For simulations."""
    global _watch  # noqa: PLW0603 - one process, one watch
    _watch = watch
