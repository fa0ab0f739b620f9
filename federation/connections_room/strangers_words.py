"""Orders about strangers in rooms, and what is answered."""

from collections.abc import Sequence

from federation import shown_names
from federation.introductions import deciding
from federation.introductions.strangers import Strangers
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage.notices import Notice

# Notices that are about strangers in a room.
STRANGERS = frozenset({deciding.NEWCOMER, deciding.ROOM_REQUEST})
_HOW = "Connections room"
_MOST_LISTED = 50


async def react(strangers: Strangers, notice: Notice, meaning: str) -> str | None:
    """A reaction to a question about a room."""
    if meaning not in ("yes", "no", "never"):
        return None
    server = notice.content.get("server_name")
    words = [str(notice.content["room_id"]), *([] if server is None else [str(server)])]
    return await say(strangers, words, is_yes=meaning == "yes")


async def say(strangers: Strangers, words: Sequence[str], *, is_yes: bool) -> str:
    """Agree to a stranger of a room, or to all, or keep away."""
    if not 1 <= len(words) <= 2:  # noqa: PLR2004 - a room, perhaps a server
        return "Say where: meet ROOM [SERVER], or avoid ROOM [SERVER]."
    room_id, server = RoomId(words[0]), ServerName(words[1]) if words[1:] else None
    if is_yes:
        await strangers.agree(room_id, server, _HOW)
        return "Agreed, for that room; you will be told when you are introduced."
    await strangers.refuse(room_id, server, _HOW)
    return "You will not meet them in that room."


def listed(strangers: Strangers) -> str:
    """Every room with strangers, a line for each of them."""
    lines = [
        f"{shown_names.safe(room['room_id'])}: {shown_names.safe(one['server_name'])}, "
        f"{'connected' if one['is_connected'] else one['said']}"
        for room in strangers.all()
        for one in room["servers"]
    ]
    return "\n".join(lines[:_MOST_LISTED]) or "There are no strangers in your rooms."
