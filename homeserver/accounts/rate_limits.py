"""How often somebody may try something: token buckets in memory, a bounded number of them."""

import ipaddress
from collections import OrderedDict

from homeserver import errors
from homeserver.ports import Clock

_BUCKETS_LIMIT = 4_096
_IPV6_PREFIX = 64


class RateLimit:
    """At most so many tries a minute for each key; a burst may use them all at once."""

    def __init__(self, per_minute: int, clock: Clock, *, is_enabled: bool = True) -> None:
        self._capacity = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._is_enabled = is_enabled
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, key: str) -> None:
        """Use up one try; raises LimitExceeded where there is none left."""
        if not self._is_enabled:
            return
        now = self._clock.monotonic()
        left, counted_at = self._buckets.pop(key, (self._capacity, now))
        left = min(self._capacity, left + (now - counted_at) * self._per_second)
        is_allowed = left >= 1
        self._buckets[key] = (left - 1 if is_allowed else left, now)
        if len(self._buckets) > _BUCKETS_LIMIT:
            self._buckets.popitem(last=False)
        if not is_allowed:
            raise errors.LimitExceeded(int((1 - left) / self._per_second * 1_000) + 1)


def source_key(address: str | None) -> str:
    """One key for whoever shares an address; an IPv6 source has a whole /64 to itself."""
    if address is None:
        return "unknown"
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))
    return str(parsed)
