"""An invitation as a link: what one person hands to another, by any means they trust."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from federation import identity
from homeserver import errors
from homeserver.keyring import hkdf
from homeserver.matrix import canonical_json
from homeserver.matrix.identifiers import ServerName

PREFIX = "homeserver://connect#"
VERSION = 1
MOST_ROUTES = 5
_MOST_CHARACTERS = 4_000
_ROUTE_CHARACTERS = 500
_CHECK_BYTES = 4  # at the end, so that a link that was damaged on its way is noticed here
_BASE64 = re.compile(r"[A-Za-z0-9_-]+")
_NODE_ID = re.compile(r"[a-z2-7]{52}")
_INTAKE = re.compile(r"[0-9a-f]{32}")


class BadLink(errors.InvalidParam):
    """That is not an invitation link."""


_UNREADABLE = (
    *(KeyError, TypeError, ValueError, binascii.Error),
    *(errors.BadJson, identity.BadIdentity),
)


@dataclass(frozen=True, slots=True)
class Link:
    """Everything somebody needs to ask us. The secret itself is never sent."""

    node_id: str
    server_name: ServerName
    routes: tuple[str, ...]
    intake: str
    secret: bytes
    expires_at: int

    @property
    def door_key(self) -> bytes:
        """The door key of the intake address."""
        return intake_door_key(self.secret, self.node_id)


def intake_door_key(secret: bytes, node_id: str) -> bytes:
    """Derive an intake's door key, so that the link's secret never leaves either side."""
    return hkdf(secret, f"homeserver/intake/{VERSION}\0{node_id}".encode())


def write(link: Link) -> str:
    """The link as text, for a message or a QR code."""
    content = {
        "v": VERSION,
        "n": link.node_id,
        "s": link.server_name,
        "r": list(link.routes),
        "i": link.intake,
        "k": base64.urlsafe_b64encode(link.secret).decode().rstrip("="),
        "e": link.expires_at,
    }
    return PREFIX + written(canonical_json.encode(content))


def written(content: bytes) -> str:
    """What stands behind the prefix: the content and its check bytes, as base64."""
    return base64.urlsafe_b64encode(content + _check(content)).decode().rstrip("=")


def read(text: str) -> Link:
    """Parse what `write` wrote."""
    text = text.strip()
    if not text.startswith(PREFIX) or len(text) > _MOST_CHARACTERS:
        raise BadLink
    try:
        content = canonical_json.decode(_undamaged(_decode(text.removeprefix(PREFIX))))
        _check_version(_number(content["v"]))
        node_id = _matching(_NODE_ID, content["n"])
        return Link(
            node_id,
            identity.checked_name(content["s"], node_id),
            checked_routes(content["r"]),
            _matching(_INTAKE, content["i"]),
            _secret(content["k"]),
            _number(content["e"]),
        )
    except _UNREADABLE as error:
        raise BadLink from error


def checked_routes(routes: object) -> tuple[str, ...]:
    """Refuse what is not a short list of plain http(s) URLs."""
    if not isinstance(routes, list) or len(routes) > MOST_ROUTES:
        raise BadLink("That is not a list of at most five addresses.")
    return tuple(_route(route) for route in routes)


def _route(route: object) -> str:
    if not isinstance(route, str) or len(route) > _ROUTE_CHARACTERS:
        raise BadLink
    try:
        parts = urlsplit(route)
        is_plain = parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise BadLink from error
    if parts.scheme not in ("http", "https") or not is_plain or not route.isascii():
        raise BadLink
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadLink
    return route.rstrip("/")


def _check(content: bytes) -> bytes:
    return hashlib.sha256(b"homeserver/link\0" + content).digest()[:_CHECK_BYTES]


def _undamaged(raw: bytes) -> bytes:
    content = raw[:-_CHECK_BYTES]
    if raw[-_CHECK_BYTES:] != _check(content):
        raise BadLink("That invitation link is damaged: copy the whole of it again.")
    return content


def _check_version(version: int) -> None:
    if version > VERSION:
        raise BadLink("That link needs a newer version of this program.")
    if version != VERSION:
        raise BadLink


def _decode(text: str) -> bytes:
    if not _BASE64.fullmatch(text):
        raise BadLink
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _secret(text: object) -> bytes:
    secret = _decode(_text(text))
    if len(secret) != 32:  # noqa: PLR2004 - bytes of a secret
        raise BadLink
    return secret


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadLink
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadLink
    return value


def _matching(pattern: re.Pattern[str], value: object) -> str:
    text = _text(value)
    if not pattern.fullmatch(text):
        raise BadLink
    return text
