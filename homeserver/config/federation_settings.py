"""The settings of connections with peers: what they may do, how long things wait."""

from typing import Literal, Self

from pydantic import Field, model_validator

from homeserver.config.section import Section

_MEBIBYTE = 1 << 20


class DefaultGrants(Section):
    """What a new connection starts with. Each can be changed for each peer later."""

    messages: bool = Field(default=True, description="May send events into rooms we share.")
    room_invites: bool = Field(default=True, description="May invite me into rooms.")
    media_max_bytes: int = Field(
        25 * _MEBIBYTE, ge=0, description="Largest file that is fetched from them, in bytes."
    )
    typing: bool = Field(default=True, description="May show me when they type, and see when I do.")
    receipts: bool = Field(
        default=True, description="May show me what they have read, and see what I have."
    )
    presence: bool = Field(default=False, description="They may see whether I am here.")
    profile: Literal["all", "name", "none"] = Field(
        "all", description="What they may see of my profile."
    )
    route: bool = Field(
        default=True, description="May learn where this server can be reached directly."
    )
    introduce: bool = Field(default=False, description="May introduce me to people they know.")
    rate: int = Field(
        30_000, ge=1, description="Most events, notices and questions they may send, per minute."
    )


class GrantSet(Section):
    """A named choice of grants; what it leaves out is as in `default_grants`."""

    messages: bool | None = Field(None, description="May send events into rooms we share.")
    room_invites: bool | None = Field(None, description="May invite me into rooms.")
    media_max_bytes: int | None = Field(
        None, ge=0, description="Largest file that is fetched from them, in bytes."
    )
    typing: bool | None = Field(None, description="Typing, both ways.")
    receipts: bool | None = Field(None, description="What was read, both ways.")
    presence: bool | None = Field(None, description="They may see whether I am here.")
    profile: Literal["all", "name", "none"] | None = Field(
        None, description="What they may see of my profile."
    )
    route: bool | None = Field(None, description="May learn where this server is reached directly.")
    introduce: bool | None = Field(None, description="May introduce me to people they know.")
    rate: int | None = Field(None, ge=1, description="Most items they may send, per minute.")


class FederationSettings(Section):
    """How this server deals with peers."""

    default_grants: DefaultGrants = Field(
        DefaultGrants(), description="What a new connection starts with."
    )
    grant_sets: dict[str, GrantSet] = Field(
        {},
        max_length=50,
        description="Sets of grants to choose from by name when inviting or connecting, such as "
        "{colleague: {presence: true, media_max_bytes: 0}}; what a set leaves out is as in "
        "default_grants.",
    )
    strangers_in_rooms: Literal["ask", "accept", "refuse"] = Field(
        "ask",
        description="When a room holds people I am not connected to: ask me, connect for that "
        "room, or do not join.",
    )
    knock_link: bool = Field(
        default=False,
        description="Whether people may ask for a connection with a link that is not spent.",
    )
    knocks_waiting_max: int = Field(
        20,
        ge=1,
        le=1000,
        description="Most people who may wait for an answer, at all knock links together.",
    )
    invitation_lifetime_days: float = Field(
        7, gt=0, le=365, description="How long an invitation can be used, in days."
    )
    handshake_lifetime_days: float = Field(
        14, gt=0, le=365, description="How long a half-made connection waits, in days."
    )
    ratchets: Literal["python-olm", "vodozemac"] = Field(
        "python-olm", description="The library that encrypts between servers."
    )
    poll_seconds: float = Field(
        60, gt=0, le=300, description="How long a peer may hold a poll open, in seconds."
    )
    retry_min_seconds: float = Field(
        1, gt=0, description="The first pause after a delivery failed, in seconds."
    )
    retry_max_seconds: float = Field(
        3600, gt=0, description="The longest pause between two deliveries, in seconds."
    )
    outbox_max_items: int = Field(
        10_000, ge=1, description="Most key messages and notices kept for a peer who is away."
    )
    outbox_max_days: float = Field(
        90, gt=0, description="How long they are kept for a peer who is away, in days."
    )
    catch_up_events: int = Field(
        500,
        ge=100,  # as many go in one frame, in order
        description="Most room events missed that all go in order; of more the newest go first.",
    )
    catch_up_newest: int = Field(
        50, ge=1, description="How many of the newest per room go first then."
    )

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if self.retry_min_seconds > self.retry_max_seconds:
            raise ValueError("retry_min_seconds must not be more than retry_max_seconds")
        if self.catch_up_newest > self.catch_up_events:
            raise ValueError("catch_up_newest must not be more than catch_up_events")
        return self
