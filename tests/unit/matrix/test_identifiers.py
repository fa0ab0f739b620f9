from collections.abc import Callable

import pytest

from homeserver.errors import InvalidParam
from homeserver.matrix import identifiers
from homeserver.matrix.identifiers import MxcUri, ServerName

_HASH = "abcdefghijklmnopqrstuvwxyz-_ABCDEFGHIJKLMNO"


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (identifiers.parse_user_id, "@alice:example.org"),
        (identifiers.parse_user_id, "@a.b_c=d-e/f+g:example.org:8448"),
        (identifiers.parse_user_id, "@Historical ünd odd:1.2.3.4"),
        (identifiers.parse_user_id, "@:example.org"),
        (identifiers.parse_user_id, "@alice:[2001:db8::1]:8448"),
        (identifiers.parse_room_id, "!opaque:example.org"),
        (identifiers.parse_room_id, "!" + _HASH),
        (identifiers.parse_event_id, "$" + _HASH),
        (identifiers.parse_room_alias, "#cafe é:example.org"),
        (identifiers.parse_server_name, "matrix.org"),
        (identifiers.parse_server_name, "matrix.org:8888"),
        (identifiers.parse_server_name, "1.2.3.4:1234"),
        (identifiers.parse_server_name, "[1234:5678::abcd]:5678"),
        (identifiers.parse_device_id, "AB cd é"),
        (identifiers.parse_opaque_id, "A-z.0_~"),
        (identifiers.parse_strict_localpart, "a-z0.9_=/+"),
    ],
)
def test_valid_identifiers_come_back_as_they_are(parse: Callable[[str], str], text: str) -> None:
    assert parse(text) == text


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (identifiers.parse_user_id, ""),
        (identifiers.parse_user_id, "alice:example.org"),
        (identifiers.parse_user_id, "@alice"),
        (identifiers.parse_user_id, "@alice:"),
        (identifiers.parse_user_id, "@al\x00ice:example.org"),
        (identifiers.parse_user_id, "@al\ud800ice:example.org"),
        (identifiers.parse_user_id, "@alice:exam ple.org"),
        (identifiers.parse_user_id, "@alice:example.org:123456"),
        (identifiers.parse_user_id, "@alice:example.org\n"),
        (identifiers.parse_user_id, "@" + "a" * 243 + ":example.org"),
        (identifiers.parse_user_id, "@" + "é" * 122 + ":example.org"),
        (identifiers.parse_room_id, "!tooshort"),
        (identifiers.parse_room_id, "!" + "a" * 255 + ":example.org"),
        (identifiers.parse_event_id, "$opaque:example.org"),
        (identifiers.parse_room_alias, "#:example.org"),
        (identifiers.parse_room_alias, "#" + "a" * 255 + ":example.org"),
        (identifiers.parse_server_name, ""),
        (identifiers.parse_server_name, "exam_ple.org"),
        (identifiers.parse_server_name, "a" * 256),
        (identifiers.parse_device_id, ""),
        (identifiers.parse_device_id, "a\n"),
        (identifiers.parse_device_id, "a" * 256),
        (identifiers.parse_opaque_id, "a/b"),
        (identifiers.parse_strict_localpart, "Alice"),
        (identifiers.parse_mxc_uri, "mxc://example.org"),
        (identifiers.parse_mxc_uri, "mxc://example.org/../secret"),
        (identifiers.parse_mxc_uri, "https://example.org/a"),
        (identifiers.server_of, "@alice"),
        (identifiers.server_of, "@alice:"),
    ],
)
def test_invalid_identifiers_are_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(InvalidParam):
        parse(text)


def test_an_mxc_uri_names_server_and_file() -> None:
    uri = identifiers.parse_mxc_uri("mxc://example.org:8448/aBc_1-2")
    assert uri == MxcUri(ServerName("example.org:8448"), "aBc_1-2")
    assert str(uri) == "mxc://example.org:8448/aBc_1-2"


@pytest.mark.parametrize(
    ("identifier", "server"),
    [
        ("@alice:example.org", "example.org"),
        ("@alice:example.org:8448", "example.org:8448"),
        ("#cafe:[::1]:8448", "[::1]:8448"),
        ("mxc://example.org/file", "example.org"),
    ],
)
def test_the_server_is_everything_after_the_first_colon(identifier: str, server: str) -> None:
    assert identifiers.server_of(identifier) == server


def test_the_localpart_is_what_stands_between_sigil_and_server() -> None:
    assert identifiers.localpart("@alice:example.org:8448") == "alice"
    assert identifiers.localpart("#cafe:example.org") == "cafe"
