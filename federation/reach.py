"""Which of our routes lead anywhere from where a peer is. Pure."""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit


def is_loopback(route: str) -> bool:
    """Whether a route leads nowhere but to the machine it is used on."""
    host = urlsplit(route).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def towards(ours: Sequence[str], theirs: Sequence[str]) -> tuple[str, ...]:
    """Our routes as far as they mean anything to somebody who is found at `theirs`.

    A loopback address is of use on the same machine only; of somebody without a route we do not
    know where that is.
    """
    is_here = not theirs or any(is_loopback(route) for route in theirs)
    return tuple(route for route in ours if is_here or not is_loopback(route))
