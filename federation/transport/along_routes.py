"""Try one route after another, until one leads to the other side."""

from collections.abc import Awaitable, Callable, Iterable

from federation.transport.interface import Refused
from homeserver import errors


async def first_answer(deliver: Callable[[str], Awaitable[bytes]], routes: Iterable[str]) -> bytes:
    """What the first reachable route answers. A refusal is an answer, too: the others lead there.

    Raises `PeerUnreachable` or `Refused`.
    """
    failure = errors.PeerUnreachable()
    for route in routes:
        try:
            return await deliver(route)
        except Refused:
            raise
        except errors.PeerUnreachable as error:
            failure = error
    raise failure
