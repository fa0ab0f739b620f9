"""How long messages are kept."""

from pydantic import Field

from homeserver.config.section import Section


class RetentionSettings(Section):
    """How long messages are kept. A room's `m.room.retention` may say less."""

    max_message_age_days: int | None = Field(
        None,
        ge=1,
        le=36_500,
        description="The age in days at which messages are emptied and leave every timeline; state "
        "stays. null: they are kept, unless their room says otherwise.",
    )
