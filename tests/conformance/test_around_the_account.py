"""What is beside rooms: pushers, notifications, tokens for widgets, what is refused politely."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from api.client.tables import all_routes
from tests.checking_proxy import CheckedServer
from tests.conformance.conftest import GATEWAY, LIVEKIT
from tests.conformance.device import Device, part

V1 = "/_matrix/client/v1"
UNSTABLE = "/_matrix/client/unstable"
VERSIONS = "/_matrix/client/versions"
USERINFO = "/_matrix/federation/v1/openid/userinfo"
PUSHER = {
    "app_id": "org.example.app",
    "pushkey": "key",
    "kind": "http",
    "app_display_name": "App",
    "device_display_name": "Phone",
    "lang": "en",
    "data": {"url": GATEWAY, "format": "event_id_only"},
}


def proof(device: Device, checked: CheckedServer, method: str, path: str, body: Any) -> Any:
    """What confirms a request: the password, in the session of the challenge."""
    asked = device.ask(method, path, body)
    assert asked.status == 401
    assert asked.json["flows"] == [{"stages": ["m.login.password"]}]
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": device.user_id},
        "password": checked.server.password,
        "session": asked.json["session"],
    }


def test_a_pusher_comes_and_goes(alice: Device) -> None:
    alice.call("POST", "/pushers/set", PUSHER)
    assert alice.call("GET", "/pushers") == {"pushers": [PUSHER]}
    alice.call("POST", "/pushers/set", PUSHER | {"kind": None})
    assert alice.call("GET", "/pushers") == {"pushers": []}


def test_a_pusher_is_whole_and_for_a_gateway_that_is_allowed(alice: Device) -> None:
    elsewhere = PUSHER | {"data": {"url": "https://elsewhere.example/_matrix/push/v1/notify"}}
    assert alice.refused("POST", "/pushers/set", elsewhere) == (403, "M_FORBIDDEN")
    nameless = {name: value for name, value in PUSHER.items() if name != "app_display_name"}
    assert alice.refused("POST", "/pushers/set", nameless) == (400, "M_MISSING_PARAM")
    assert alice.refused("POST", "/pushers/set", {"kind": "http"}) == (400, "M_BAD_JSON")


def test_notifications_come_in_pages(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(invite=[bob.user_id])
    until(lambda: room_id in bob.sync()["rooms"].get("invite", {}))
    bob.call("POST", f"/rooms/{part(room_id)}/join", {})
    said = [bob.say(room_id, f"number {number}") for number in range(3)]
    until(lambda: said[-1] in notified(alice, limit="10"))
    assert notified(alice, limit="3") == said[::-1]
    first = alice.call("GET", "/notifications", None, limit="2")
    assert [one["event"]["event_id"] for one in first["notifications"]] == [said[2], said[1]]
    rest = alice.call("GET", "/notifications", None, limit="1", from_=first["next_token"])
    assert rest["notifications"][0]["event"]["event_id"] == said[0]
    assert not any(one["read"] for one in first["notifications"])
    alice.call("POST", f"/rooms/{part(room_id)}/receipt/m.read/{part(said[1])}", {})
    again = alice.call("GET", "/notifications", None, limit="3")["notifications"]
    assert [one["read"] for one in again] == [False, True, True]
    assert alice.refused("GET", "/notifications", None, from_="x")[0] == 400


def test_a_thread_that_is_read_leaves_the_rest_unread(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(invite=[bob.user_id])
    until(lambda: room_id in bob.sync()["rooms"].get("invite", {}))
    bob.call("POST", f"/rooms/{part(room_id)}/join", {})
    root = bob.say(room_id, "root")
    relation = {"rel_type": "m.thread", "event_id": root}
    reply = bob.send(
        room_id,
        "m.room.message",
        {"msgtype": "m.text", "body": "reply", "m.relates_to": relation},
    )
    until(lambda: reply in notified(alice, limit="10"))
    receipt = f"/rooms/{part(room_id)}/receipt/m.read/{part(reply)}"
    alice.call("POST", receipt, {"thread_id": root})
    shown = alice.call("GET", "/notifications", None, limit="2")["notifications"]
    assert [(one["event"]["event_id"], one["read"]) for one in shown] == [
        (reply, True),
        (root, False),
    ]


def test_a_token_logs_the_next_client_in(
    alice: Device, checked: CheckedServer, log_in: Callable[..., Device], stranger: Device
) -> None:
    path = f"{V1}/login/get_token"
    given = alice.call("POST", path, {"auth": proof(alice, checked, "POST", path, {})})
    body = {"type": "m.login.token", "token": given["login_token"]}
    answer = stranger.call("POST", "/login", body)
    assert answer["user_id"] == alice.user_id
    assert stranger.refused("POST", "/login", body) == (403, "M_FORBIDDEN")


def test_a_widget_learns_who_the_owner_is(alice: Device, stranger: Device) -> None:
    given = alice.call("POST", f"/user/{alice.me}/openid/request_token", {})
    shown = stranger.call("GET", USERINFO, access_token=given["access_token"])
    assert shown == {"sub": alice.user_id}


def test_whoami_and_whois(alice: Device) -> None:
    assert alice.call("GET", "/account/whoami")["device_id"] == "PHONE"
    shown = alice.call("GET", f"/admin/whois/{alice.me}")
    assert "PHONE" in shown["devices"]
    assert alice.call("GET", f"{V1}/admin/lock/{alice.me}") == {"locked": False}
    assert alice.call("GET", f"{V1}/admin/suspend/{alice.me}") == {"suspended": False}
    body = {"locked": True}
    assert alice.refused("PUT", f"{V1}/admin/lock/{alice.me}", body) == (403, "M_FORBIDDEN")


def test_addresses_bridges_and_single_sign_on_are_answered(alice: Device) -> None:
    assert alice.call("GET", "/account/3pid") == {"threepids": []}
    address = {"medium": "email", "address": "alice@example.org"}
    for verb in ("delete", "unbind"):
        unbound = alice.call("POST", f"/account/3pid/{verb}", address)
        assert unbound == {"id_server_unbind_result": "no-support"}
    mail = {"client_secret": "x", "email": "alice@example.org", "send_attempt": 1}
    denied = alice.refused("POST", "/account/3pid/email/requestToken", mail)
    assert denied == (403, "M_THREEPID_DENIED")
    assert alice.call("GET", "/thirdparty/protocols") == {}
    assert alice.call("GET", "/thirdparty/user") == []
    assert alice.call("GET", "/thirdparty/location") == []
    assert alice.refused("GET", "/thirdparty/protocol/irc") == (404, "M_NOT_FOUND")
    assert alice.refused("GET", f"{V1}/auth_metadata") == (404, "M_UNRECOGNIZED")
    assert alice.refused("GET", "/voip/turnServer") == (404, "M_NOT_FOUND")
    assert alice.refused("GET", "/login/sso/redirect", redirectUrl="x") == (404, "M_NOT_FOUND")


def test_older_names_answer_as_the_present_ones(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(invite=[bob.user_id])
    stable = alice.call("GET", f"{V1}/room_summary/{part(room_id)}")
    summaries = f"{UNSTABLE}/im.nheko.summary"
    assert alice.call("GET", f"{summaries}/summary/{part(room_id)}") == stable
    assert alice.call("GET", f"{summaries}/rooms/{part(room_id)}/summary") == stable
    until(lambda: room_id in bob.sync()["rooms"].get("invite", {}))
    bob.call("POST", f"/rooms/{part(room_id)}/join", {})
    mutual = f"{UNSTABLE}/uk.half-shot.msc2666/user/mutual_rooms"
    until(lambda: room_id in alice.call("GET", mutual, None, user_id=bob.user_id)["joined"])
    bad = alice.refused("GET", mutual, None, user_id=bob.user_id, batch_token="x")
    assert bad == (400, "M_INVALID_PARAM")


def test_the_state_after_the_timeline_has_its_older_name_where_it_is_asked_for(
    alice: Device,
) -> None:
    room_id = alice.create_room(name="Kitchen")
    older = "org.matrix.msc4222.use_state_after"
    for asked, name in (
        ({"use_state_after": "true"}, "state_after"),
        ({older: "true"}, "org.matrix.msc4222.state_after"),
        ({older: "true", "use_state_after": "true"}, "state_after"),
        ({}, "state"),
    ):
        answer = alice.sync(wanted={"room": {"rooms": [room_id]}}, **asked)
        room = answer["rooms"]["join"][room_id]
        names = {"state", "state_after", "org.matrix.msc4222.state_after"}
        assert names & set(room) == {name}


def test_calls_of_several_find_the_owners_service_and_nobody_elses(
    alice: Device, bob: Device
) -> None:
    transports = f"{UNSTABLE}/org.matrix.msc4143/rtc/transports"
    service = {"type": "livekit", "livekit_service_url": LIVEKIT}
    assert alice.call("GET", transports) == {"rtc_transports": [service]}
    assert bob.call("GET", transports) == {"rtc_transports": []}
    known = alice.call("GET", "/.well-known/matrix/client")
    assert known["org.matrix.msc4143.rtc_foci"] == [service]
    assert set(bob.call("GET", "/.well-known/matrix/client")) == {"m.homeserver"}


def test_events_are_delayed_put_off_and_called_off(alice: Device, checked: CheckedServer) -> None:
    room_id = alice.create_room()
    assert alice.call("GET", VERSIONS)["unstable_features"]["org.matrix.msc4140"] is True
    waiting = f"{UNSTABLE}/org.matrix.msc4140/delayed_events"
    delay = {"org.matrix.msc4140.delay": "60000"}
    content = {"msgtype": "m.text", "body": "gone"}
    path = f"/rooms/{part(room_id)}/send/m.room.message/{part('{delayed}')}"
    # Not through the checking proxy: the specification's answer to a send is an event ID.
    with contextlib.closing(Device(checked.direct_url)) as phone:
        phone.token = alice.token
        message = phone.call("PUT", path, content, **delay)["delay_id"]
        assert phone.call("PUT", path, content, **delay) == {"delay_id": message}
        state = f"/rooms/{part(room_id)}/state/org.example.member/me"
        member = phone.call("PUT", state, {}, **delay)["delay_id"]
    shown = alice.call("GET", waiting)["delayed_events"]
    assert [one["delay_id"] for one in shown] == [message, member]
    alice.call("POST", f"{waiting}/{message}/restart")
    alice.call("POST", f"{waiting}/{message}", {"action": "send"})
    assert alice.refused("POST", f"{waiting}/{message}/cancel") == (409, "M_UNKNOWN")
    alice.call("POST", f"{waiting}/{member}/cancel")
    assert alice.refused("POST", f"{waiting}/{member}/dance") == (404, "M_UNRECOGNIZED")
    assert alice.refused("POST", f"{waiting}/nothing/send") == (404, "M_NOT_FOUND")
    assert alice.call("GET", waiting) == {"delayed_events": []}
    events = alice.call("GET", f"/rooms/{part(room_id)}/messages", None, dir="b", limit="1")
    assert events["chunk"][0]["content"] == content


def test_every_path_of_v3_is_one_of_r0(alice: Device) -> None:
    """Apart from what came after r0, which says so by its version."""
    prefix = "/_matrix/client/v3/"
    routes = {(route.method, route.path) for route in all_routes()}
    for method, path in routes:
        if path.startswith(prefix):
            assert (method, path.replace("/v3/", "/r0/")) in routes, path
    assert alice.call("GET", "/_matrix/client/r0/account/whoami")["user_id"] == alice.user_id


@pytest.mark.parametrize("name", ["{a}", "{", "a/b", "ä b", "%7B", "a:b"])
def test_names_in_paths_are_free(alice: Device, name: str) -> None:
    room_id = alice.create_room()
    tags = f"/user/{alice.me}/rooms/{part(room_id)}/tags"
    alice.call("PUT", f"{tags}/{part(name)}", {})
    assert alice.call("GET", tags) == {"tags": {name: {}}}
    content = {"msgtype": "m.text", "body": "x"}
    sent = [alice.send(room_id, "m.room.message", content, name) for _ in range(2)]
    assert len(set(sent)) == 1
    rule = f"/pushrules/global/content/{part(name.replace('/', '.'))}"  # the one with limits
    alice.call("PUT", rule, {"pattern": name, "actions": ["notify"]})
    assert alice.call("GET", rule)["pattern"] == name
    alice.call("DELETE", rule)


@pytest.mark.parametrize("content", [{"a": 1.5}, {"a": 2**60}, {"a": [0.1, {"b": -(2**60)}]}])
def test_numbers_are_free_in_account_data_and_not_in_events(alice: Device, content: Any) -> None:
    room_id = alice.create_room()
    data = f"/user/{alice.me}/account_data/org.example.numbers"
    in_room = f"/user/{alice.me}/rooms/{part(room_id)}/account_data/org.example.numbers"
    for path in (data, in_room):
        alice.call("PUT", path, content)
        assert alice.call("GET", path) == content
        assert alice.refused("PUT", path, {"a": 10**40}) == (400, "M_BAD_JSON")  # would be 1e40
    sent = f"/rooms/{part(room_id)}/send/m.room.message/{part(repr(content))}"
    assert alice.refused("PUT", sent, content) == (400, "M_BAD_JSON")
    state = f"/rooms/{part(room_id)}/state/org.example.numbers"
    assert alice.refused("PUT", state, content) == (400, "M_BAD_JSON")


def test_a_changed_push_rule_wakes_a_sync_that_waits(
    alice: Device, log_in: Callable[..., Device]
) -> None:
    waiting = log_in(device_id="WAITING")
    told: list[Any] = []

    def wait(since: str) -> None:
        while not told:
            answer = waiting.sync(since, timeout="20000")
            since = answer["next_batch"]
            told.extend(answer.get("account_data", {}).get("events", []))

    sync = threading.Thread(target=wait, args=(waiting.next_batch(),))
    sync.start()
    rule = {"actions": ["notify"], "conditions": []}
    alice.call("PUT", "/pushrules/global/override/org.example.woken", rule)
    sync.join(25)
    assert [event["type"] for event in told] == ["m.push_rules"]
    alice.call("DELETE", "/pushrules/global/override/org.example.woken")


def notified(device: Device, **query: str) -> list[str]:
    page = device.call("GET", "/notifications", None, **query)
    return [one["event"]["event_id"] for one in page["notifications"]]


def until(is_so: Callable[[], bool]) -> None:
    """Ask again until something has come across; every look is a request of its own."""
    assert any(is_so() for _ in range(500))


def test_a_thread_is_subscribed_to_and_not_any_more(alice: Device) -> None:
    room_id = alice.create_room()
    root = alice.say(room_id, "shall we go out?")
    relation = {"rel_type": "m.thread", "event_id": root}
    content = {"msgtype": "m.text", "body": "yes", "m.relates_to": relation}
    reply = alice.send(room_id, "m.room.message", content)
    path = f"{UNSTABLE}/io.element.msc4306/rooms/{part(room_id)}/thread/{part(root)}/subscription"
    assert alice.refused("GET", path) == (404, "M_NOT_FOUND")
    assert alice.call("PUT", path, {"automatic": reply}) == {}
    assert alice.call("GET", path) == {"automatic": True}
    pages = f"{UNSTABLE}/io.element.msc4308/thread_subscriptions"
    assert root in alice.call("GET", pages, dir="b")["subscribed"][room_id]
    assert alice.call("DELETE", path) == {}
    conflict = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"
    assert alice.refused("PUT", path, {"automatic": reply}) == (409, conflict)
    not_there = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"
    assert alice.refused("PUT", path, {"automatic": root}) == (400, not_there)
    assert alice.refused("GET", pages, dir="f")[0] == 400
