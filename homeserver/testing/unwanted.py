"""Whether an owner's clients are shown anything that its sender may not send.

Judged from one look to the next: what was not granted at either, and not edited between, may not
have come between.
"""

from collections.abc import Iterator
from typing import Any

from homeserver.testing.person import Person

_FLEETING = {"m.typing": "typing", "m.receipt": "receipts"}
_OFF = (False, 0, "none", None)


class Unwanted(AssertionError):
    """Somebody was shown what they do not let its sender send."""


def check(person: Person, answer: dict[str, Any], peers: list[dict[str, Any]], edits: int) -> None:
    """Look through what a sync brought since the last look. `edits` counts the audit trail."""
    refused = {
        (str(peer["server_name"]), grant)
        for peer in peers
        for grant in ("messages", "typing", "receipts", "room_invites")
        if peer["grants_given"].get(grant) in _OFF
    }
    before, person.refused = person.refused, (edits, refused)
    if before is None or before[0] != edits:
        return
    for sender, grant in _brought(answer):
        if (sender.partition(":")[2], grant) in refused & before[1]:
            raise Unwanted(f"{person.name} was shown {grant} of {sender}, which is not granted")


def _brought(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Who is shown to have sent what, by the grant that it takes."""
    rooms = answer.get("rooms", {})
    for room in rooms.get("join", {}).values():
        yield from _in_a_room(room)
    for room in rooms.get("invite", {}).values():
        for event in room["invite_state"]["events"]:
            if event["type"] == "m.room.member" and event["content"].get("membership") == "invite":
                yield event["sender"], "room_invites"
    for event in answer.get("to_device", {}).get("events", ()):
        yield event["sender"], "messages"


def _in_a_room(room: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for event in room.get("ephemeral", {}).get("events", ()):
        if event["type"] in _FLEETING:
            yield from ((user, _FLEETING[event["type"]]) for user in _users(event))
    for event in room["timeline"]["events"]:
        if "state_key" not in event:
            yield event["sender"], "messages"


def _users(event: dict[str, Any]) -> list[str]:
    """Whom something fleeting is about."""
    content = event["content"]
    if event["type"] == "m.typing":
        return list(content["user_ids"])
    return [user for kinds in content.values() for users in kinds.values() for user in users]
