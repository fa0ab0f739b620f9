"""The room itself: made on first need, local for ever, the owner in it whatever he left."""

import unicodedata
from dataclasses import dataclass

from federation.connections_room.answers import Answer
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.matrix.room_versions import DEFAULT, room_version
from homeserver.rooms import creating, drafting, inviting
from homeserver.rooms.creating import RoomCreator, Wish
from homeserver.rooms.drafting import Intent
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import account_data, notices, rooms
from homeserver.storage.notices import NoticeRoom
from homeserver.storage.unit_of_work import UnitOfWork

_NAME = "Connections"
_TOPIC = "Who asks to connect with you, and what became of it. Write help for what you can do here."
_TAG = "m.server_notice"
_MOST_BYTES = 16_000
# Control characters, which JSON writes at six times their length, and halves of characters.
_UNSAID = frozenset({"Cc", "Cs"})
_LOCALPART, _OTHERWISE = "connections", "server-connections"

# The server alone speaks for the room; the owner may write and react, and invite nobody.
_POWER: JsonObject = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 100,
    "invite": 100,
    "kick": 100,
    "ban": 100,
    "redact": 100,
    "events": {},
}


@dataclass(frozen=True, slots=True)
class OwnersRoom:
    """Writes into the one room in which this server speaks to its owner."""

    local: LocalServer
    owner: UserId
    creator: RoomCreator

    @property
    def speaker(self) -> UserId:
        """Who writes there: nobody can log in under this name."""
        name = _LOCALPART if identifiers.localpart(self.owner) != _LOCALPART else _OTHERWISE
        return UserId(f"@{name}:{self.local.server_name}")

    def say(self, work: UnitOfWork, text: str, now_ms: int, *, is_quiet: bool = False) -> EventId:
        """Write to the owner; quietly as a notice, of which clients and gateways make no sound."""
        content: JsonObject = {
            "msgtype": "m.notice" if is_quiet else "m.text",
            "body": fitting(text),
            "m.mentions": {},  # a stranger's name mentions nobody
        }
        return self._write(work, content, now_ms)

    def answer(self, work: UnitOfWork, answer: Answer, now_ms: int) -> None:
        """Write what an order gave, and show the picture that belongs to it."""
        self.say(work, answer.text, now_ms, is_quiet=True)
        if answer.picture is not None:
            self._write(work, answer.picture.content("invitation.png"), now_ms)

    def _write(self, work: UnitOfWork, content: JsonObject, now_ms: int) -> EventId:
        room_id = self._ready(work, now_ms)
        intent = Intent(self.speaker, "m.room.message", content)
        room = drafting.load_room(work, room_id)
        return drafting.say(work, self.local, room, intent, now_ms)[0].event_id

    def _ready(self, work: UnitOfWork, now_ms: int) -> RoomId:
        known = notices.find_room(work, self.owner)
        if known is None or rooms.find_room(work, known.room_id) is None:
            return self._make(work, now_ms)
        membership = rooms.find_membership(work, known.room_id, self.owner)
        if membership is None or membership.membership != "join":
            self._bring_in(work, known.room_id, now_ms)
        return known.room_id

    def _make(self, work: UnitOfWork, now_ms: int) -> RoomId:
        wish = Wish(
            creation_content={"m.federate": False},
            power_level_override=_POWER,
            name=_NAME,
            topic=_TOPIC,
        )
        creation = self.creator.begin(self.speaker, room_version(DEFAULT))
        room_id = creation.run(work, wish, creating.PRESETS[wish.preset])
        self._bring_in(work, room_id, now_ms)
        tags: JsonObject = {"tags": {_TAG: {}}}
        account_data.save_account_data(work, self.owner, room_id, "m.tag", tags)
        notices.save_room(work, NoticeRoom(self.owner, room_id, work.position))
        return room_id

    def _bring_in(self, work: UnitOfWork, room_id: RoomId, now_ms: int) -> None:
        room = drafting.load_room(work, room_id)
        profile = inviting.profile_of(work, self.owner)
        steps = (
            drafting.membership(self.speaker, self.owner, "invite", profile),
            drafting.membership(self.owner, self.owner, "join", profile),
        )
        for step in steps:
            room = inviting.change_membership(work, self.local, room, step, now_ms)[1]


def fitting(text: str) -> str:
    """A text that fits into an event whatever its characters: an event has 65,536 bytes."""
    shown = "".join(one for one in text if one == "\n" or unicodedata.category(one) not in _UNSAID)
    encoded = shown.encode()
    if len(encoded) <= _MOST_BYTES:
        return shown
    return encoded[:_MOST_BYTES].decode(errors="ignore") + "\u2026"
