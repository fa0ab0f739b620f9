"""What may stand inside an envelope, and the grant each thing needs. Pure.

Nothing is taken in or handed out without a grant's name: `register` refuses a payload that names
none, and a test walks all of them. `CONNECTION` is what every active connection has.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject

CONNECTION = "connection"
INVITATION = "invitation"  # what an unspent invitation of ours allows: to ask, and no more
GRANTS = frozenset(
    {
        CONNECTION,
        INVITATION,
        "messages",
        "room_invites",
        "media",
        "typing",
        "receipts",
        "presence",
        "profile",
        "route",
        "introduce",
    }
)
MOST_ROUTES = 5
NAME_CHARACTERS = 64
MOST_ASKS = 8
OPERATION_CHARACTERS = 64

Model = TypeVar("Model", bound="Payload")
HEX = Field(pattern=r"^[0-9a-f]{32}$")
KEY = Field(min_length=43, max_length=43)


class Payload(BaseModel):
    """Something that came from outside. Unknown fields are left out, for what comes later."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    grant: ClassVar[str] = ""


REGISTRY: dict[str, type[Payload]] = {}


def register(name: str) -> Callable[[type[Model]], type[Model]]:
    """Enter a payload under its name; one that does not name a known grant does not start."""

    def enter(model: type[Model]) -> type[Model]:
        if model.grant not in GRANTS:
            raise TypeError(f"The payload {name} does not name the grant it needs.")
        if name in REGISTRY:
            raise TypeError(f"There are two payloads named {name}.")
        REGISTRY[name] = model
        return model

    return enter


def read(model: type[Model], value: object) -> Model:
    """Check what came; raises `BadJson` in one way for everything that is wrong with it."""
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        raise errors.BadJson from error


class Frame(Payload):
    """The head of what an Olm message holds; the body follows as JSON in the same object."""

    direction: str = Field(max_length=64)  # the node id of the sender
    epoch: int = Field(ge=1)
    sequence: int = Field(ge=0)
    sent_at: int = Field(ge=0, lt=2**53)
    kind: Literal["control", "ask", "answer", "transaction", "handshake"]
    nonce: str | None = Field(None, max_length=64)
    receipt: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    body: JsonObject


class ControlItem(Payload):
    """One control message."""

    kind: str = Field(max_length=64)
    body: JsonObject


@register("frame.control")
class Control(Payload):
    """Control messages in order; none at all where only the ratchet had to be healed."""

    grant = CONNECTION

    items: list[ControlItem] = Field(default=[], max_length=1_000)


class OneAsk(Payload):
    """One question."""

    id: str = Field(min_length=1, max_length=32)
    operation: str = Field(max_length=OPERATION_CHARACTERS)
    lifetime_ms: int = Field(ge=0, le=120_000)
    body: JsonObject


@register("frame.ask")
class Asks(Payload):
    """Questions that are answered beside the queue."""

    grant = CONNECTION

    asks: list[OneAsk] = Field(max_length=MOST_ASKS)


class OneAnswer(Payload):
    """One answer: a body, or the name of what went wrong."""

    id: str = Field(min_length=1, max_length=32)
    body: JsonObject | None = None
    errcode: str | None = Field(None, max_length=64)
    error: str | None = Field(None, max_length=1_000)
    attached: int = Field(0, ge=0)  # how many bytes after the JSON belong to it


@register("frame.answer")
class Answers(Payload):
    """Answers, in any order."""

    grant = CONNECTION

    answers: list[OneAnswer] = Field(max_length=MOST_ASKS)


@register("frame.transaction")
class Transaction(Payload):
    """Room events, EDUs and to-device items. Each part is checked for its own grant."""

    grant = CONNECTION

    pdus: list[JsonObject] = Field(default=[], max_length=1_000)
    edus: list[JsonObject] = Field(default=[], max_length=1_000)
    items: list[JsonObject] = Field(default=[], max_length=1_000)


class ToldGrants(Payload):
    """What the sender lets us do. A wrong kind of value is refused, an unknown name left out."""

    messages: bool = False
    room_invites: bool = False
    takes_invites: bool = True
    media_max_bytes: int = Field(0, ge=0, lt=2**53)
    typing: bool = False
    receipts: bool = False
    presence: bool = False
    profile: Literal["all", "name", "none"] = "none"
    route: bool = False
    introduce: bool = False
    rate: int = Field(1, ge=1, lt=2**53)
    expires_at: int | None = Field(None, ge=0, lt=2**53)

    def as_told(self) -> JsonObject:
        """What was said, and no more."""
        return self.model_dump(exclude_unset=True)


@register("control.grants")
class GrantsTold(Payload):
    """What the sender lets us do from now on."""

    grant = CONNECTION

    grants: ToldGrants


@register("control.routes")
class RoutesTold(Payload):
    """Where the sender can be reached from now on; a higher sequence wins."""

    grant = CONNECTION

    sequence: int = Field(ge=1)
    routes: list[str] = Field(max_length=MOST_ROUTES)


@register("control.card")
class CardTold(Payload):
    """A newer card or a succession."""

    grant = CONNECTION

    identity: JsonObject


@register("control.goodbye")
class Goodbye(Payload):
    """The sender ended the connection, and says so."""

    grant = CONNECTION


# The grant each question needs; the names are the specification's where it has one.
OPERATIONS: Mapping[str, str] = {
    "ping": CONNECTION,
    "cards": CONNECTION,
    "make_join": "messages",
    "send_join": "messages",
    "make_knock": "messages",
    "send_knock": "messages",
    "make_leave": CONNECTION,
    "send_leave": CONNECTION,
    "invite": "room_invites",
    "backfill": "messages",
    "get_missing_events": "messages",
    "state_ids": "messages",
    "state": "messages",
    "event": "messages",
    "event_auth": "messages",
    "timestamp_to_event": "messages",
    "hierarchy": "messages",
    "query/profile": "profile",
    "query/directory": "messages",
    "publicRooms": "messages",
    "user/keys/query": CONNECTION,
    "user/keys/claim": CONNECTION,
    "user/devices": CONNECTION,
    "media/download": CONNECTION,  # what we fetch from them is bounded by their `media` grant
    "introduce": "introduce",
}

# What a connection made for rooms is not for, beside what needs a grant it never has.
BEYOND_ROOMS = frozenset(
    {"publicRooms", "hierarchy", "query/directory", "query/profile", "invite", "introduce"}
)

EDUS: Mapping[str, str] = {
    "m.typing": "typing",
    "m.receipt": "receipts",
    "m.presence": CONNECTION,  # theirs to give; ours is withheld by the `presence` grant
    "m.direct_to_device": "messages",
    "m.device_list_update": CONNECTION,
    "m.signing_key_update": CONNECTION,
}

# Stored to-device and control items are named by whoever queues them; what is not listed needs
# `messages`.
ITEMS: Mapping[str, str] = {"m.direct_to_device": "messages", "m.device_list_update": CONNECTION}


def permitted(transaction: Transaction, may: Callable[[str], bool]) -> JsonObject:
    """Leave out what the peer has no grant for. Events come back under `hidden_pdus`.

    They are kept out as a hidden sender's are, yet may be needed for the room's graph.
    """
    has_messages = may("messages")
    return {
        "pdus": transaction.pdus if has_messages else [],
        "hidden_pdus": [] if has_messages else transaction.pdus,
        "edus": permitted_edus(transaction.edus, may),
        "items": permitted_items(transaction.items, may),
    }


def permitted_edus(edus: Sequence[JsonObject], may: Callable[[str], bool]) -> list[JsonObject]:
    """Those EDUs that the peer has a grant for."""
    return [edu for edu in edus if _is_permitted(EDUS, edu, "edu_type", may)]


def permitted_items(items: Sequence[JsonObject], may: Callable[[str], bool]) -> list[JsonObject]:
    """Those messages to devices that the peer has a grant for."""
    return [item for item in items if _is_permitted(ITEMS, item, "kind", may)]


def _is_permitted(
    grants: Mapping[str, str], entry: JsonObject, name: str, may: Callable[[str], bool]
) -> bool:
    kind: Any = entry.get(name)
    return isinstance(kind, str) and may(grants.get(kind, "messages"))


def control_grant(kind: str) -> str:
    """The grant a kind of control message needs; unknown ones need `messages`."""
    model = REGISTRY.get(f"control.{kind}")
    return model.grant if model is not None else "messages"
