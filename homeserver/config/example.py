"""Write every setting with its meaning, limits and default: `config.example.yaml`."""

import textwrap
from typing import Any

import yaml
from pydantic import BaseModel

from homeserver.config import fields
from homeserver.config.settings import Config

_WIDTH = 100
_HEAD = """\
# Every setting of a homeserver, with its default. `homeserver init` writes a config.yaml that holds
# only what differs; copy from here what you want to change.
#
# Each can also be set in the environment: HOMESERVER__FEDERATION__POLL_SECONDS=30, lists as JSON.
# Written by `homeserver init --print`.
"""


def example_yaml() -> str:
    """The whole file. Loading it gives the defaults."""
    return _HEAD + "\n".join(_lines(Config(), indent=0)) + "\n"


def _lines(section: BaseModel, indent: int) -> list[str]:
    lines: list[str] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        is_group = fields.section_of(field.annotation) is not None
        text = field.description or ""
        if indent == 0:
            lines.append("")
        lines += _comment(text if is_group else f"{text} ({fields.allowed(field)})", indent)
        lines += _entry(name, value, indent)
    return lines


def _entry(name: str, value: Any, indent: int) -> list[str]:
    space = " " * indent
    if isinstance(value, BaseModel):
        return [f"{space}{name}:", *_lines(value, indent + 2)]
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        elements = [line for one in value for line in (f"{space}  -", *_lines(one, indent + 4))]
        return [f"{space}{name}:", *elements]
    return [f"{space}{name}: {_scalar(value)}"]


def _comment(text: str, indent: int) -> list[str]:
    space = " " * indent + "# "
    return textwrap.wrap(text, _WIDTH, initial_indent=space, subsequent_indent=space)


def _scalar(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    if not isinstance(plain, bool | int | float | list | dict | None):
        plain = str(plain)
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=_WIDTH)
    return text.splitlines()[0]
