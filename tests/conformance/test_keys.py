"""Keys, cross-signing, key backup, and messages to devices; what they say is not looked at here."""

from collections.abc import Callable
from typing import Any

import pytest

from homeserver.matrix.identifiers import UserId
from homeserver.testing import device_secrets
from tests.checking_proxy import CheckedServer
from tests.conformance.device import Device, part
from tests.encryption import keys

BAD_JSON = (400, "M_BAD_JSON")
INVALID_PARAM = (400, "M_INVALID_PARAM")
NOT_FOUND = (404, "M_NOT_FOUND")
BACKUP: dict[str, Any] = {
    "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
    "auth_data": {"public_key": "x"},
}
KEY: dict[str, Any] = {
    "first_message_index": 5,
    "forwarded_count": 0,
    "is_verified": False,
    "session_data": {"ciphertext": "x"},
}


def device_keys(device: Device) -> dict[str, Any]:
    return device_secrets.device_keys(device.user_id, device.device_id)


def test_keys_are_published_and_claimed_once(
    alice: Device, bob: Device, log_in: Callable[..., Device]
) -> None:
    tablet = log_in(device_id="TABLET")
    since = alice.next_batch()
    # More than what is set aside for the device's peers.
    names = [str(number) for number in range(90)]
    one_time = device_secrets.one_time_keys(tablet.user_id, "TABLET", *names)
    published = {"device_keys": device_keys(tablet), "one_time_keys": one_time}
    counts = tablet.call("POST", "/keys/upload", published)["one_time_key_counts"]
    assert counts["signed_curve25519"] > 2
    assert tablet.call("POST", "/keys/upload", published)["one_time_key_counts"] == counts
    other = {"one_time_keys": one_time | {"signed_curve25519:0": one_time["signed_curve25519:1"]}}
    assert tablet.refused("POST", "/keys/upload", other) == INVALID_PARAM
    told = alice.sync(since)
    assert told["device_lists"]["changed"] == [alice.user_id]
    span = {"from": since, "to": told["next_batch"]}
    assert alice.call("GET", "/keys/changes", **span)["changed"] == [alice.user_id]
    asked = alice.call("POST", "/keys/query", {"device_keys": {alice.user_id: ["TABLET"]}})
    shown = asked["device_keys"][alice.user_id]["TABLET"]
    assert shown["keys"] == published["device_keys"]["keys"]
    wanted = {"one_time_keys": {alice.user_id: {"TABLET": "signed_curve25519"}}}
    claimed = [alice.call("POST", "/keys/claim", wanted)["one_time_keys"] for _ in range(2)]
    keys = [one[alice.user_id]["TABLET"] for one in claimed]
    assert not set(keys[0]) & set(keys[1])
    left = tablet.sync(wanted={"room": {"rooms": []}})["device_one_time_keys_count"][
        "signed_curve25519"
    ]
    assert left == counts["signed_curve25519"] - 2
    tablet.call("POST", "/logout")
    gone = alice.call("POST", "/keys/query", {"device_keys": {alice.user_id: []}})
    assert "TABLET" not in gone["device_keys"][alice.user_id]


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        ("upload", {"device_keys": "x"}, BAD_JSON),
        ("upload", {"one_time_keys": {"x": "x"}}, INVALID_PARAM),
        ("upload", {"device_keys": {"user_id": "@x:y", "device_id": "x"}}, INVALID_PARAM),
        ("query", {}, BAD_JSON),
        ("query", {"device_keys": {"@x:y": "x"}}, BAD_JSON),
        ("query", {"device_keys": {}, "timeout": "x"}, BAD_JSON),
        ("claim", {}, BAD_JSON),
        ("claim", {"one_time_keys": {"@x:y": "x"}}, BAD_JSON),
        ("signatures/upload", {"@x:y": "x"}, BAD_JSON),
        ("device_signing/upload", {"master_key": "x"}, BAD_JSON),
        ("device_signing/upload", {"master_key": {}}, INVALID_PARAM),
    ],
)
def test_what_is_no_key(alice: Device, path: str, body: Any, refusal: tuple[int, str]) -> None:
    assert alice.refused("POST", f"/keys/{path}", body) == refusal


def test_keys_of_strangers_are_failures(alice: Device) -> None:
    asked = alice.call("POST", "/keys/query", {"device_keys": {"@x:elsewhere.org": []}})
    assert set(asked["failures"]) == {"elsewhere.org"}
    wanted = {"one_time_keys": {"@x:elsewhere.org": {"X": "signed_curve25519"}}}
    assert set(alice.call("POST", "/keys/claim", wanted)["failures"]) == {"elsewhere.org"}
    nothing = alice.call("POST", "/keys/signatures/upload", {alice.user_id: {"X": {}}})
    assert nothing["failures"][alice.user_id]["X"]["errcode"] == "M_NOT_FOUND"
    assert alice.refused("GET", "/keys/changes", to="s1") == (400, "M_MISSING_PARAM")
    assert alice.refused("GET", "/keys/changes?from=x&to=s1") == INVALID_PARAM


def test_what_is_no_user_id_has_no_devices_and_costs_the_others_nothing(alice: Device) -> None:
    alice.call("POST", "/keys/upload", {"device_keys": device_keys(alice)})
    for wrong in ("x", "@no colon", "@x:UPPER space", "@" + "x" * 300 + ":y"):
        asked = alice.call("POST", "/keys/query", {"device_keys": {wrong: [], alice.user_id: []}})
        assert alice.device_id in asked["device_keys"][alice.user_id]
        assert (asked["device_keys"][wrong], asked["failures"]) == ({}, {})
        wanted = {wrong: {"X": "signed_curve25519"}}
        claimed = alice.call("POST", "/keys/claim", {"one_time_keys": wanted})
        assert claimed == {"one_time_keys": {}, "failures": {}}


def test_messages_to_devices_arrive_once(alice: Device, log_in: Callable[..., Device]) -> None:
    tablet = log_in(device_id="TABLET")
    since = tablet.next_batch()

    def send(event_type: str, txn_id: str, to: str, number: int) -> None:
        body = {"messages": {alice.user_id: {to: {"number": number}}}}
        alice.call("PUT", f"/sendToDevice/{event_type}/{txn_id}", body)

    send("org.a", "t", "TABLET", 1)
    send("org.a", "t", "TABLET", 2)  # the same transaction
    send("org.b", "t", "TABLET", 3)  # another path, another transaction
    send("org.a", "u", "*", 4)
    send("org.a", "v", "NOBODY", 5)
    told = tablet.sync(since)
    assert [one["content"]["number"] for one in told["to_device"]["events"]] == [1, 3, 4]
    assert tablet.sync(since)["to_device"] == told["to_device"]  # the answer may have been lost
    assert "to_device" not in tablet.sync(told["next_batch"])
    assert "to_device" not in tablet.sync(since)
    for body, refusal in (
        ({}, BAD_JSON),
        ({"messages": {alice.user_id: "x"}}, BAD_JSON),
        ({"messages": {"x": {"*": {}}}}, INVALID_PARAM),
    ):
        assert alice.refused("PUT", "/sendToDevice/org.a/w", body) == refusal


def test_a_key_backup(alice: Device) -> None:
    while (known := alice.ask("GET", "/room_keys/version")).status == 200:  # of other stories
        alice.call("DELETE", f"/room_keys/version/{known.json['version']}")
    assert alice.refused("GET", "/room_keys/version") == NOT_FOUND
    first = alice.call("POST", "/room_keys/version", BACKUP)["version"]
    version = alice.call("POST", "/room_keys/version", BACKUP)["version"]
    assert alice.call("GET", "/room_keys/version")["version"] == version
    room, query = part("!x:y"), f"?version={version}"
    session = f"/room_keys/keys/{room}/{part('a/b')}{query}"
    assert alice.call("PUT", session, KEY)["count"] == 1
    alice.call("PUT", f"/room_keys/keys/{room}{query}", {"sessions": {"s": KEY}})
    in_rooms = {"rooms": {"!x:y": {"sessions": {"t": KEY}}}}
    etag = alice.call("PUT", f"/room_keys/keys{query}", in_rooms)["etag"]
    worse = KEY | {"first_message_index": 9}
    assert alice.call("PUT", session, worse) == {"count": 3, "etag": etag}
    alice.call("PUT", session, KEY | {"first_message_index": 1})
    assert alice.call("GET", session)["first_message_index"] == 1
    assert set(alice.call("GET", f"/room_keys/keys/{room}{query}")["sessions"]) == {"a/b", "s", "t"}
    assert alice.call("GET", f"/room_keys/keys/nowhere{query}") == {"sessions": {}}
    assert set(alice.call("GET", f"/room_keys/keys{query}")["rooms"]) == {"!x:y"}
    wrong = f"/room_keys/keys/{room}/s?version={first}"
    refusal = alice.ask("PUT", wrong, KEY)
    assert refusal.refusal == (403, "M_WRONG_ROOM_KEYS_VERSION")
    assert refusal.json["current_version"] == version
    same = f"/room_keys/version/{version}"
    renamed = BACKUP | {"auth_data": {"public_key": "x", "signatures": {}}}
    assert alice.call("PUT", same, renamed) == {}
    assert alice.call("GET", same)["auth_data"] == renamed["auth_data"]
    assert alice.call("DELETE", session)["count"] == 2
    assert alice.refused("GET", session) == NOT_FOUND
    assert alice.call("DELETE", f"/room_keys/keys/{room}{query}")["count"] == 0
    assert alice.call("DELETE", f"/room_keys/keys{query}")["count"] == 0
    for method, path, body, refusal_ in (
        ("PUT", f"/room_keys/keys/{room}/s", KEY, (400, "M_MISSING_PARAM")),
        ("PUT", f"/room_keys/keys/{room}/s{query}", {}, BAD_JSON),
        ("GET", "/room_keys/keys?version=99", None, NOT_FOUND),
        ("GET", "/room_keys/version/none", None, NOT_FOUND),
        ("PUT", "/room_keys/version/99", BACKUP, NOT_FOUND),
        ("PUT", f"/room_keys/version/{version}", BACKUP | {"version": "99"}, INVALID_PARAM),
        ("PUT", f"/room_keys/version/{version}", BACKUP | {"algorithm": "x"}, INVALID_PARAM),
        ("POST", "/room_keys/version", BACKUP | {"algorithm": "x"}, INVALID_PARAM),
        ("POST", "/room_keys/version", {}, BAD_JSON),
    ):
        assert alice.refused(method, path, body) == refusal_, path
    for one in (first, version, version):  # deleting twice is no mistake
        alice.call("DELETE", f"/room_keys/version/{one}")
    assert alice.refused("GET", "/room_keys/version") == NOT_FOUND


def test_ten_thousand_keys_are_backed_up_at_once(checked: CheckedServer, stranger: Device) -> None:
    # Not through the proxy, which looks at each key.
    alice = stranger.log_in("alice", checked.server.password)
    version = alice.call("POST", "/room_keys/version", BACKUP)["version"]
    session = KEY | {"session_data": {"ciphertext": "x" * 700}}
    in_room = {"sessions": {f"session {number}": session for number in range(10_000)}}
    path = f"/room_keys/keys?version={version}"
    assert alice.call("PUT", path, {"rooms": {"!x:y": in_room}})["count"] == 10_000
    assert len(alice.call("GET", path)["rooms"]["!x:y"]["sessions"]) == 10_000
    too_many = {"rooms": {"!x:y": in_room, "!y:y": in_room, "!z:y": in_room}}
    assert alice.refused("PUT", path, too_many) == (413, "M_TOO_LARGE")
    elsewhere = {"device_keys": {}, "unknown": "x" * (1 << 20)}
    assert alice.refused("POST", "/keys/query", elsewhere) == (413, "M_TOO_LARGE")


def cross_signing_set(user_id: str, name: str) -> dict[str, Any]:
    user = UserId(user_id)
    master = f"{name} master"
    return {
        "master_key": keys.cross_signing_key("master", master, user),
        **{
            f"{usage}_key": keys.signed_by(
                master, keys.cross_signing_key(usage, f"{name} {usage}", user), user
            )
            for usage in ("self_signing", "user_signing")
        },
    }


def test_cross_signing_keys(alice: Device, checked: CheckedServer) -> None:
    first, second = (cross_signing_set(alice.user_id, name) for name in ("first", "second"))
    path = "/keys/device_signing/upload"
    alice.call("POST", path, first)  # the first ones are free
    alice.call("POST", path, first)
    asked = alice.ask("POST", path, second)
    assert asked.status == 401
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": alice.user_id},
        "password": checked.server.password,
        "session": asked.json["session"],
    }
    alice.call("POST", path, second | {"auth": auth})
    own = device_keys(alice)
    alice.call("POST", "/keys/upload", {"device_keys": own})
    signed = keys.signed_by("second self_signing", own, UserId(alice.user_id))
    answer = alice.call(
        "POST", "/keys/signatures/upload", {alice.user_id: {alice.device_id: signed}}
    )
    assert answer["failures"] == {}
    told = alice.call("POST", "/keys/query", {"device_keys": {alice.user_id: []}})
    for usage in ("master", "self_signing", "user_signing"):
        assert told[f"{usage}_keys"][alice.user_id] == second[f"{usage}_key"]
    shown = told["device_keys"][alice.user_id][alice.device_id]["signatures"]
    assert shown == signed["signatures"]


def test_who_came_near_and_who_went_away_is_told_between_two_tokens(
    alice: Device, bob: Device
) -> None:
    start = alice.next_batch()
    room_id = alice.create_room(preset="private_chat", invite=[bob.user_id])
    for _ in range(60):
        if room_id in bob.sync().get("rooms", {}).get("invite", {}):
            break
    bob.call("POST", f"/join/{part(room_id)}", {})
    for _ in range(60):
        together = alice.next_batch()
        members = alice.call("GET", f"/rooms/{part(room_id)}/joined_members")["joined"]
        if bob.user_id in members:
            break
    together = alice.next_batch()
    span = {"from": start, "to": together}
    assert bob.user_id in alice.call("GET", "/keys/changes", **span)["changed"]
    for other in alice.call("GET", "/joined_rooms")["joined_rooms"]:
        if bob.user_id in alice.call("GET", f"/rooms/{part(other)}/joined_members")["joined"]:
            alice.call("POST", f"/rooms/{part(other)}/leave", {})
    span = {"from": together, "to": alice.next_batch()}
    changes = alice.call("GET", "/keys/changes", **span)
    assert bob.user_id in changes["left"]
    assert bob.user_id not in changes["changed"]
