"""How long messages are kept."""

from pydantic import Field

from homeserver.config.section import Section


class RetentionSettings(Section):
    """How long messages are kept. Rooms are asked only where the owner wants it."""

    max_message_age_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="The age in days at which messages are emptied and leave every timeline; state "
        "stays. null: they are kept.",
    )
    obeys_rooms: bool = Field(
        default=False,
        description="Whether m.room.retention of a room counts where it says less, though never "
        "less than a day. Who may set it decides what you lose; so not unless you want it.",
    )
