"""What is wrong with a scenario, in sentences that say what was expected."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml
from pydantic_core import ErrorDetails

from homeserver.testing.scenario_parts import Part
from homeserver.testing.scenario_steps import Scenario, Step

Path = tuple[str | int, ...]
# A place, and what is wrong there.
Mistake = tuple[Path, str]

FEATURES = frozenset({"rooms of three", "pause", "revoke", "grants", "repair", "key deposits"})
# What is designed, and nobody has built: a scenario that needs it is skipped.
PLANNED = frozenset({"mailboxes"})

_EXPECTED = {
    "string_type": "must be text; numbers, yes and no need quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must hold names and values",
    "model_type": "must hold names and values, such as {who: alice, in: hall}",
    "model_attributes_type": "must hold names and values, such as {who: alice, in: hall}",
    "tuple_type": "must be two names, such as [alice, bob]",
    "too_long": "must be two names, such as [alice, bob]",
}


def told(error: ErrorDetails) -> str:
    """What pydantic has found, in our words."""
    kind, context = error["type"], error.get("ctx", {})
    name = str(error["loc"][-1]) if error["loc"] else ""
    if kind == "missing":
        return f"`{name}` is missing" if name not in ("0", "1") else _EXPECTED["too_long"]
    if kind == "extra_forbidden":
        return _unknown(error["loc"], name)
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}"
    if kind == "too_short":
        return "must not be empty"
    for bound, words in (("ge", "at least"), ("le", "at most"), ("gt", "more than")):
        if bound in context:
            return f"must be {words} {context[bound]:g}"
    if kind == "value_error":
        return str(context["error"])
    return _EXPECTED.get(kind, str(error["msg"]))


def twice_said(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """The lines with a name that stands in the same place already: YAML drops the first."""
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            yield from twice_said(one)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, f"{key.value}: stands here twice"
            seen.add(key.value)
            yield from twice_said(value)


def mistakes(scenario: Scenario) -> list[Mistake]:
    """What is well formed, and still cannot be: nobody by that name, twice the same one."""
    found = [*_about_people(scenario), *_about_rooms(scenario)]
    for number, step in enumerate(scenario.story):
        found += [(("story", number), words) for words in _about_step(scenario, step)]
    return found


def _unknown(at: Sequence[str | int], name: str) -> str:
    """A name that means nothing: what may stand there, and what was probably meant."""
    if isinstance(at[-2] if len(at) > 1 else None, int) or "while" in at[-2:-1]:
        words = Step.words()
        what = "there is no such step"
    else:
        words = _fields(Scenario, at[:-1])
        what = "means nothing here"
    near = difflib.get_close_matches(name, words, 1)
    meant = f"; did you mean {near[0]}?" if near else "."
    return f"{what}{meant} There may stand: {', '.join(words)}"


def _fields(model: type[Part], at: Sequence[str | int]) -> list[str]:
    """The names that a part takes, by the way that leads to it."""
    for place in at:
        for name, field in model.model_fields.items():
            if place in (name, field.alias):
                model = next(iter(_parts(field.annotation)), model)
                break
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _parts(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _parts(inner)


def _about_people(scenario: Scenario) -> Iterator[Mistake]:
    people, callers = scenario.names(), scenario.callers()
    for twice in _twice(people):
        yield ("people",), f"{twice} stands there twice"
    for need in sorted(set(scenario.needs) - FEATURES - PLANNED):
        known = ", ".join(sorted(FEATURES | PLANNED))
        yield ("needs",), f"there is no feature called {need}. There are: {known}"
    if isinstance(scenario.connections, list):
        yield from _about_connections(scenario.connections, people)
    for one, other in scenario.pairs(people):
        if {one, other} <= callers:
            yield ("people",), f"neither {one} nor {other} is reachable: they cannot connect"


def _about_connections(
    connections: Sequence[tuple[str, str]], people: Sequence[str]
) -> Iterator[Mistake]:
    for number, pair in enumerate(connections):
        for words in _about_pair(pair, people):
            yield ("connections", number), words
    for one, other in _twice([tuple(sorted(pair)) for pair in connections]):
        yield ("connections",), f"{one} and {other} stand there twice"


def _about_rooms(scenario: Scenario) -> Iterator[Mistake]:
    people = set(scenario.names())
    connected = {frozenset(pair) for pair in scenario.pairs(scenario.names())}
    for name, room in scenario.rooms_.items():
        at = ("rooms", name)
        for one in sorted(set(room.persons()) - people):
            yield at, f"there is nobody called {one}"
        for one in _twice(list(room.persons())):
            yield at, f"{one} stands there twice"
        for one in room.members:
            if (
                one in people
                and one != room.owner
                and frozenset((one, room.owner)) not in connected
            ):
                yield at, f"{one} is not connected to {room.owner}, and cannot be invited"


def _about_step(scenario: Scenario, step: Step) -> Iterator[str]:
    people = scenario.names()
    for one in sorted(set(step.persons()) - set(people)):
        yield f"there is nobody called {one}"
    for one in sorted(set(step.rooms()) - set(scenario.rooms_)):
        yield f"there is no room called {one}"
    if step.word == "connect":
        yield from (words for words in _about_pair(step.content, people) if "nobody" not in words)
    elif step.word == "partition":
        everybody = [name for group in step.content for name in group]
        yield from (f"{name} stands in two groups" for name in _twice(everybody))
    elif step.word == "move" and step.content in scenario.callers():
        yield f"nobody can call {step.content}: there is no address that could change"
    elif step.word == "crash_at" and step.content.step is not None:
        yield from _about_step(scenario, step.content.step)
    elif isinstance(step.content, Part):
        named = list(step.content.persons())
        yield from (f"{name} cannot do that with {name}" for name in _twice(named))


def _about_pair(pair: Sequence[str], people: Sequence[str]) -> Iterator[str]:
    for one in pair:
        if one not in people:
            yield f"there is nobody called {one}"
    if len(set(pair)) == 1:
        yield f"{pair[0]} cannot be connected to {pair[0]}"


def _twice(several: Sequence[Any]) -> Iterable[Any]:
    return dict.fromkeys(one for one in several if several.count(one) > 1)
