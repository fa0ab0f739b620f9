from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.matrix import canonical_json, signing
from homeserver.matrix.redaction import redact
from homeserver.matrix.room_versions import RoomVersion

from .histories import ALL_VERSIONS, V10, V11, V12, pdu
from .test_canonical_json import canonical_values

_types = st.sampled_from(
    [
        "m.room.message",
        "m.room.member",
        "m.room.create",
        "m.room.power_levels",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.redaction",
    ]
)
_contents = st.dictionaries(
    st.sampled_from(["membership", "body", "users", "redacts", "third_party_invite", "creator"]),
    canonical_values,
)
_extra = st.dictionaries(
    st.sampled_from(["origin", "membership", "prev_state", "redacts", "unsigned", "mine"]),
    canonical_values,
)


@given(version=st.sampled_from(ALL_VERSIONS), event_type=_types, content=_contents, extra=_extra)
def test_redacting_an_event_keeps_its_id(
    version: RoomVersion, event_type: str, content: dict[str, Any], extra: dict[str, Any]
) -> None:
    event = pdu(type=event_type, content=content) | extra
    before = canonical_json.encode(event)
    redacted = redact(event, version)
    assert signing.event_id(redacted, version) == signing.event_id(event, version)
    assert redact(redacted, version) == redacted
    assert canonical_json.encode(event) == before, "the original stays as it was"


@pytest.mark.parametrize(
    ("event_type", "content", "v10", "v11"),
    [
        ("m.room.message", {"body": "b"}, {}, {}),
        ("m.room.aliases", {"aliases": []}, {}, {}),
        ("m.room.join_rules", {"join_rule": "r", "allow": [], "x": 1}, None, None),
        ("m.room.history_visibility", {"history_visibility": "v", "x": 1}, None, None),
        ("m.room.create", {"creator": "c", "x": 1}, {"creator": "c"}, {"creator": "c", "x": 1}),
        ("m.room.redaction", {"redacts": "$e", "reason": "r"}, {}, {"redacts": "$e"}),
        (
            "m.room.power_levels",
            {"ban": 1, "invite": 2, "users": {}, "notifications": {}},
            {"ban": 1, "users": {}},
            {"ban": 1, "invite": 2, "users": {}},
        ),
        (
            "m.room.member",
            {"membership": "join", "join_authorised_via_users_server": "@a:b", "displayname": "d"},
            {"membership": "join", "join_authorised_via_users_server": "@a:b"},
            {"membership": "join", "join_authorised_via_users_server": "@a:b"},
        ),
        (
            "m.room.member",
            {
                "membership": "invite",
                "third_party_invite": {"signed": {"t": 1}, "display_name": "d"},
            },
            {"membership": "invite"},
            {"membership": "invite", "third_party_invite": {"signed": {"t": 1}}},
        ),
        (
            "m.room.member",
            {"membership": "invite", "third_party_invite": {"display_name": "d"}},
            {"membership": "invite"},
            {"membership": "invite"},
        ),
    ],
)
def test_what_is_left_of_the_content(
    event_type: str,
    content: dict[str, Any],
    v10: dict[str, Any] | None,
    v11: dict[str, Any] | None,
) -> None:
    without_x = {key: value for key, value in content.items() if key != "x"}
    event = pdu(type=event_type, content=content)
    assert redact(event, V10)["content"] == (without_x if v10 is None else v10)
    for version in (V11, V12):
        assert redact(event, version)["content"] == (without_x if v11 is None else v11)


def test_what_is_left_beside_the_content() -> None:
    older = {"origin": "o", "membership": "join", "prev_state": []}
    event = pdu(state_key="", event_id="$e", redacts="$x", unsigned={}, **older)
    kept = pdu(state_key="", event_id="$e")
    assert redact(event, V10) == kept | older
    assert redact(event, V11) == kept
    assert redact(event, V12) == kept
