"""What the four messages of a handshake say, and the three of a repair. Pure."""

from pydantic import Field

from federation.payloads import (
    CONNECTION,
    HEX,
    INVITATION,
    KEY,
    MOST_ROUTES,
    NAME_CHARACTERS,
    Payload,
    ToldGrants,
    register,
)
from homeserver.matrix.canonical_json import JsonObject

# The highest sequence that the one who signs knows to be acknowledged by the other.
SETTLED = Field(ge=0, lt=2**62)


@register("note.request")
class Request(Payload):
    """REQUEST, as signed: who asks, with which keys, for which invitation."""

    grant = INVITATION

    identity: JsonObject
    olm_key: str = KEY
    one_time_key: str = KEY
    name: str = Field(max_length=NAME_CHARACTERS)
    grants: ToldGrants
    is_connected: bool
    epoch: int = Field(ge=0, lt=2**31)
    node_id: str = Field(max_length=64)
    intake: str = HEX


@register("note.accept")
class Accept(Payload):
    """ACCEPT, as signed: who answers, with which key, to which REQUEST."""

    grant = INVITATION

    identity: JsonObject
    olm_key: str = KEY
    name: str = Field(max_length=NAME_CHARACTERS)
    is_connected: bool  # the one who answers still has a channel with the one who asks
    request_hash: str = Field(min_length=64, max_length=64)
    epoch: int = Field(ge=1, lt=2**31)


@register("note.wait")
class Wait(Payload):
    """REQUEST was taken, and the owner has not decided yet."""

    grant = INVITATION


class Place(Payload):
    """An address made for one party, and where to find it."""

    address: str = HEX
    door_key: str = KEY
    routes: list[str] = Field(max_length=MOST_ROUTES)


@register("handshake.accept")
class AcceptInside(Place):
    """What ACCEPT says inside Olm."""

    grant = INVITATION

    transcript: str = Field(min_length=64, max_length=64)
    grants: ToldGrants


@register("handshake.prove")
class Prove(Place):
    """PROVE: the asker holds the keys it named."""

    grant = INVITATION

    transcript: str = Field(min_length=64, max_length=64)


@register("handshake.ready")
class Ready(Payload):
    """READY: both sides saw the same handshake."""

    grant = INVITATION

    transcript: str = Field(min_length=64, max_length=64)


@register("note.keys")
class Keys(Payload):
    """`keys`, as signed: what the other side makes the session of the next epoch from."""

    grant = CONNECTION

    node_id: str = Field(max_length=64)  # for whom
    epoch: int = Field(ge=1, lt=2**31)
    olm_key: str = KEY
    one_time_key: str = KEY
    nonce: str = Field(min_length=32, max_length=64)
    settled: int = SETTLED


@register("note.opened")
class Opened(Payload):
    """What the creator of a session says about it, signed: it answers these keys."""

    grant = CONNECTION

    node_id: str = Field(max_length=64)
    epoch: int = Field(ge=1, lt=2**31)
    olm_key: str = KEY
    nonce: str = Field(min_length=32, max_length=64)
    settled: int = SETTLED


@register("note.want")
class Want(Payload):
    """The side that creates sessions asks for `keys`, signed: above every epoch it knows."""

    grant = CONNECTION

    node_id: str = Field(max_length=64)
    epoch: int = Field(ge=0, lt=2**31)
