"""What every group of settings has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A group of settings. Unknown names are mistakes; nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _take_an_empty_section_for_defaults(cls, given: Any) -> Any:
        return {} if given is None else given
