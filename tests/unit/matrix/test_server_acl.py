"""Which servers a room shuts out."""

import pytest

from homeserver.matrix import server_acl
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName


@pytest.mark.parametrize(
    ("content", "allowed"),
    [
        ({}, False),
        ({"allow": ["*"]}, True),
        ({"allow": "*"}, False),
        ({"allow": [1, "*"]}, True),
        ({"allow": ["*.org"]}, True),
        ({"allow": ["*.com"]}, False),
        ({"allow": ["*"], "deny": ["evil.example.org"]}, False),
        ({"allow": ["*"], "deny": ["EVIL.*"]}, False),
        ({"allow": ["*"], "deny": ["*.evil.example.org"]}, True),
        ({"allow": ["evil.example.or?"]}, True),
        ({"allow": ["*"], "deny": {"evil.example.org": True}}, True),
    ],
)
def test_deny_goes_before_allow_and_silence_is_no(content: JsonObject, *, allowed: bool) -> None:
    for name in ("evil.example.org", "evil.example.org:8448", "Evil.Example.org"):
        assert server_acl.allows(content, ServerName(name)) is allowed


@pytest.mark.parametrize("name", ["192.0.2.1", "192.0.2.1:8448", "[2001:db8::1]", "[::1]:80"])
def test_addresses_may_be_shut_out_as_such(name: str) -> None:
    server = ServerName(name)
    assert server_acl.allows({"allow": ["*"]}, server)
    assert not server_acl.allows({"allow": ["*"], "allow_ip_literals": False}, server)
    assert server_acl.allows({"allow": ["*"], "allow_ip_literals": "no"}, server)
