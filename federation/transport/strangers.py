"""How often a source may deliver what opens no box, or ask, before no invitation answers it."""

from collections import OrderedDict
from ipaddress import ip_address

from homeserver.ports import Clock

_MOST_SOURCES = 4_096
_V6_PREFIX_BITS = 64


class Strangers:
    """Counts by source, never by address: an address must not show whether it exists.

    This machine itself is never counted: a proxy in front of us would make everybody one source.
    What opens at the address of a peer, or of a handshake under way, is never limited.
    """

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def may_try(self, remote: str | None) -> bool:
        """Whether the source has tries left."""
        source = _source(remote)
        return source is None or self._now_spent(source) < self._per_minute

    def note_try(self, remote: str | None) -> None:
        """The source delivered something that opened no box, or asked at an invitation."""
        source = _source(remote)
        if source is None:
            return
        self._spent[source] = (self._now_spent(source) + 1, self._clock.monotonic())
        self._spent.move_to_end(source)
        if len(self._spent) > _MOST_SOURCES:
            self._spent.popitem(last=False)

    def _now_spent(self, source: str) -> float:
        spent, at = self._spent.get(source, (0.0, 0.0))
        return max(0.0, spent - (self._clock.monotonic() - at) * self._per_minute / 60.0)


def _source(remote: str | None) -> str | None:
    """One IPv4 address, or the IPv6 network that one customer usually has."""
    if remote is None:
        return None
    try:
        address = ip_address(remote.partition("%")[0])
    except ValueError:
        return None
    if address.is_loopback:
        return None
    if address.version == 4:  # noqa: PLR2004 - IPv4
        return str(address)
    return str(int(address) >> (128 - _V6_PREFIX_BITS))
