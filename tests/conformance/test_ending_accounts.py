"""What ends sessions, and the account; on a server that nobody else needs."""

from collections.abc import Callable
from typing import Any

from tests.checking_proxy import CheckedServer
from tests.conformance.device import Device

UNKNOWN_TOKEN = (401, "M_UNKNOWN_TOKEN")


def confirmed(device: Device, password: str, path: str, body: dict[str, Any]) -> Any:
    """Ask, be asked for the password, and ask again with it."""
    asked = device.ask("POST", path, body)
    assert asked.status == 401
    proof = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": device.user_id},
        "password": password,
        "session": asked.json["session"],
    }
    return device.call("POST", path, body | {"auth": proof})


def test_an_account_to_its_end(spare: CheckedServer, open_device: Callable[[str], Device]) -> None:
    password = spare.server.password

    def log_in(device_id: str) -> Device:
        return open_device(spare.url).log_in("eve", password, device_id=device_id)

    phone, tablet, watch = (log_in(name) for name in ("PHONE", "TABLET", "WATCH"))
    relay = phone.call("GET", "/voip/turnServer")
    assert relay["uris"] == ["turn:turn.example.org"]
    confirmed(phone, password, "/delete_devices", {"devices": ["WATCH"]})
    assert watch.refused("GET", "/account/whoami") == UNKNOWN_TOKEN

    longer = f"{password} and more"
    changed = {"new_password": longer, "logout_devices": True}
    confirmed(phone, password, "/account/password", changed)
    assert tablet.refused("GET", "/account/whoami") == UNKNOWN_TOKEN

    password = longer
    tablet = log_in("TABLET")
    assert phone.call("POST", "/logout/all", {}) == {}
    assert tablet.refused("GET", "/account/whoami") == UNKNOWN_TOKEN

    phone = log_in("PHONE")
    ended = confirmed(phone, password, "/account/deactivate", {})
    assert ended == {"id_server_unbind_result": "no-support"}
    assert phone.refused("GET", "/account/whoami") == UNKNOWN_TOKEN
