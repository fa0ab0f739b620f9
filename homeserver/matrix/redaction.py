"""What is left of an event after redaction."""

from typing import Any

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.room_versions import RoomVersion


def redact(pdu: JsonObject, version: RoomVersion) -> JsonObject:
    """Keep what the room needs of an event; the result shares its values with the original.

    Spec: client-server-api#redactions, rooms/v11#redactions
    """
    kept_keys = version.kept_keys
    kept = {key: value for key, value in pdu.items() if key in kept_keys}
    content = pdu.get("content")
    if content:
        kept["content"] = _redact_content(pdu["type"], content, version)
    return kept


def _redact_content(event_type: str, content: JsonObject, version: RoomVersion) -> JsonObject:
    if event_type == "m.room.create" and version.redaction_keeps_create:
        return content
    kept_keys = version.kept_content.get(event_type)
    if kept_keys is None:
        return {}
    kept = {key: value for key, value in content.items() if key in kept_keys}
    if event_type == "m.room.member" and version.redaction_keeps_signed_invite:
        kept |= _redact_third_party_invite(content.get("third_party_invite"))
    return kept


def _redact_third_party_invite(invite: Any) -> JsonObject:
    if isinstance(invite, dict) and "signed" in invite:
        return {"third_party_invite": {"signed": invite["signed"]}}
    return {}
