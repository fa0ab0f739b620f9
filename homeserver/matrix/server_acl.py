"""Which servers a room's `m.room.server_acl` shuts out.

Spec: client-server-api#server-access-control-lists-acls-for-rooms
"""

import ipaddress
import re
from typing import Any

from homeserver.matrix import globs
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName

_PORT = re.compile(r":[0-9]{1,5}$")


def allows(content: JsonObject, server: ServerName) -> bool:
    """Whether a server may take part; the port does not count.

    Spec: client-server-api#mroomserver_acl
    """
    host = _PORT.sub("", server).lower()
    if content.get("allow_ip_literals", True) is False and _is_ip_literal(host):
        return False
    return not _matches(content.get("deny"), host) and _matches(content.get("allow"), host)


def _matches(patterns: Any, host: str) -> bool:
    return isinstance(patterns, list) and any(
        isinstance(pattern, str) and globs.matches_whole(pattern.lower(), host)
        for pattern in patterns
    )


def _is_ip_literal(host: str) -> bool:
    if host.startswith("["):
        return True
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
