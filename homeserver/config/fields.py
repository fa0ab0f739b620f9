"""Say in words what a setting may be. For the example file and for the sentences about mistakes."""

import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    tuple: "a list",
}


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a type is, or that a list of it holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (section_of(argument) for argument in typing.get_args(annotation))
    return next((section for section in inner if section is not None), None)


def is_list(annotation: Any) -> bool:
    """Whether a setting takes several values."""
    return typing.get_origin(annotation) is tuple


def is_mapping(annotation: Any) -> bool:
    """Whether a setting holds sections under names of the owner's choice."""
    return typing.get_origin(annotation) is dict


def find(model: type[BaseModel], path: typing.Sequence[str | int]) -> FieldInfo | None:
    """The field at a path such as `("listeners", 0, "port")`; None where there is none."""
    field: FieldInfo | None = None
    section: type[BaseModel] | None = model
    is_name_next = False
    for step in path:
        if isinstance(step, int) or is_name_next:
            is_name_next = False
            continue
        field = section.model_fields.get(step) if section else None
        if field is None:
            return None
        section, is_name_next = section_of(field.annotation), is_mapping(field.annotation)
    return field


def allowed(field: FieldInfo) -> str:
    """What may stand there: `a whole number from 1 to 65535`."""
    return _words(field.annotation, is_element=False) + _limits(field)


def allowed_element(field: FieldInfo) -> str:
    """What may stand in a list's place."""
    return _words(field.annotation, is_element=True)


def _words(annotation: Any, *, is_element: bool) -> str:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return " or ".join(_words(kind, is_element=is_element) for kind in kinds) + " or null"
    if typing.get_origin(annotation) is typing.Annotated:
        return _words(typing.get_args(annotation)[0], is_element=is_element)
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(annotation)))
    if is_list(annotation):
        element = _words(typing.get_args(annotation)[0], is_element=False)
        return element if is_element else f"a list, each {element}"
    return _WORDS.get(annotation, "a section of settings")


def _limits(field: FieldInfo) -> str:
    limits = {
        name: getattr(limit, name)
        for limit in field.metadata
        for name in ("ge", "gt", "le", "max_length", "min_length")
        if getattr(limit, name, None) is not None
    }
    return _range(limits) + _length(limits, is_text=not is_list(field.annotation))


def _range(limits: dict[str, Any]) -> str:
    if "ge" in limits and "le" in limits:
        return f" from {limits['ge']} to {limits['le']}"
    words = {"ge": " of at least ", "gt": " above ", "le": " up to "}
    return "".join(f"{word}{limits[name]:g}" for name, word in words.items() if name in limits)


def _length(limits: dict[str, Any], *, is_text: bool) -> str:
    unit = "characters" if is_text else "entries"
    words = {"min_length": f", at least {{}} {unit}", "max_length": f", at most {{}} {unit}"}
    return "".join(word.format(limits[name]) for name, word in words.items() if name in limits)
