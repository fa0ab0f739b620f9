"""Invitation links, grants and payloads: what is read, what is refused."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation import grants, handshake_payloads, invitation_links, payloads
from federation.grants import Grants
from federation.invitation_links import BadLink, Link
from federation.payloads import Payload, Transaction
from homeserver import errors
from homeserver.config import DefaultGrants
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import peers

LINK = Link(
    "a" * 52, ServerName("x.example"), ("http://192.0.2.1:8008",), "0f" * 16, b"s" * 32, 12345
)


def test_a_link_is_read_as_it_was_written() -> None:
    assert invitation_links.read(f"  {invitation_links.write(LINK)}\n") == LINK


def test_the_door_key_depends_on_secret_and_node() -> None:
    keys = {
        LINK.door_key,
        dataclasses.replace(LINK, secret=b"t" * 32).door_key,
        dataclasses.replace(LINK, node_id="b" * 52).door_key,
    }
    assert len(keys) == 3
    assert LINK.secret not in keys


@given(text=st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.hex()))
def test_any_other_text_is_no_link(text: str) -> None:
    for written in (text, invitation_links.PREFIX + text):
        with pytest.raises(BadLink):
            invitation_links.read(written)


@pytest.mark.parametrize(
    "route",
    [
        "ftp://host",
        "http://",
        "http://user@host",
        "http://host/?q",
        "http://host/#f",
        7,
        "http://host:99999",
        "http://" + "h" * 600,
        "javascript:x",
        "http://[::1",
    ],
)
def test_only_plain_urls_are_routes(route: object) -> None:
    with pytest.raises(BadLink):
        invitation_links.checked_routes([route])
    with pytest.raises(BadLink):
        invitation_links.checked_routes(["http://host"] * 6)


def test_every_payload_names_a_grant() -> None:
    assert payloads.REGISTRY["note.request"] is handshake_payloads.Request
    for name, model in payloads.REGISTRY.items():
        assert model.grant in payloads.GRANTS, name
    named = {*payloads.OPERATIONS.values(), *payloads.EDUS.values(), *payloads.ITEMS.values()}
    assert named <= payloads.GRANTS


def test_a_payload_without_a_grant_does_not_start() -> None:
    class Careless(Payload):
        text: str

    with pytest.raises(TypeError):
        payloads.register("frame.careless")(Careless)
    with pytest.raises(TypeError):
        payloads.register("frame.control")(payloads.Control)


def test_the_grants_of_a_peer_are_those_that_payloads_need() -> None:
    given_ = Grants().model_dump()
    own = {"rate", "expires_at", "note", "media_max_bytes"}
    assert {*given_} - own == payloads.GRANTS - {"connection", "invitation", "media"}
    for grant in payloads.GRANTS - {"invitation"}:
        peers.permits(given_, grant)


def test_grants_by_default_follow_the_settings() -> None:
    settings = DefaultGrants(presence=True, profile="name")
    assert grants.by_default(settings).presence
    assert grants.by_default(settings).profile == "name"


@pytest.mark.parametrize(
    "changes", [{"typing": "yes"}, {"unknown": True}, {"rate": 0}, {"profile": "some"}]
)
def test_a_wrong_edit_changes_nothing(changes: dict[str, object]) -> None:
    with pytest.raises(errors.InvalidParam):
        grants.edit(Grants().model_dump(), changes)


def test_a_note_never_leaves() -> None:
    edited = grants.edit(Grants().model_dump(), {"note": "met at the lake"})
    assert "note" not in grants.as_told(edited.model_dump())


@pytest.mark.parametrize(("value", "is_permitted"), [(0, False), (1, True)])
def test_media_is_granted_by_its_size(value: int, is_permitted: bool) -> None:
    assert peers.permits({"media_max_bytes": value}, "media") is is_permitted


def test_a_transaction_is_cut_to_the_grants() -> None:
    transaction = Transaction(
        pdus=[{"type": "m.room.message"}],
        edus=[{"edu_type": "m.typing"}, {"edu_type": "m.receipt"}, {"edu_type": 7}],
        items=[{"kind": "m.direct_to_device"}],
    )
    cut = payloads.permitted(transaction, lambda grant: grant == "receipts")
    assert cut == {
        "pdus": [],
        "hidden_pdus": [{"type": "m.room.message"}],
        "edus": [{"edu_type": "m.receipt"}],
        "items": [],
    }
    whole = payloads.permitted(transaction, lambda _grant: True)
    assert whole["pdus"] == transaction.pdus
    assert len(whole["edus"]) == 2


def test_what_does_not_fit_its_model_is_bad_json() -> None:
    wrongs: list[object] = [None, [], {"items": 7}, {"items": [{"kind": 1, "body": {}}]}]
    for wrong in wrongs:
        with pytest.raises(errors.BadJson):
            payloads.read(payloads.Control, wrong)


def test_unknown_control_messages_need_messages() -> None:
    assert payloads.control_grant("routes") == payloads.CONNECTION
    assert payloads.control_grant("from the future") == "messages"
