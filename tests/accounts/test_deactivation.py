"""The end of an account: nobody gets in, and nothing is lost."""

from homeserver.accounts.deactivation import Deactivation
from homeserver.accounts.login import LogIn
from homeserver.storage import accounts
from tests.accounts.serving import (
    ALICE,
    PASSWORD,
    V3,
    Client,
    Device,
    Served,
    log_in,
    with_password,
)


async def test_an_ended_account_lets_nobody_in(served: Served, http: Client, alice: Device) -> None:
    other = await log_in(http, "LAPTOP")
    stopped: list[str] = []

    async def stop() -> None:
        stopped.append("peers")

    served.services[Deactivation].before.append(stop)
    status, challenge = await alice.ask("POST", "/account/deactivate", {})
    assert status == 401
    assert stopped == []
    answer = await alice.post("/account/deactivate", {"auth": with_password(challenge)})
    assert answer == {"id_server_unbind_result": "no-support"}
    assert stopped == ["peers"]
    for device in (alice, other):
        status, answer = await device.ask("GET", "/account/whoami")
        assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    for password in (PASSWORD, ""):
        body = {"type": "m.login.password", "user": "alice", "password": password}
        async with http.post(f"{V3}/login", json=body) as response:
            assert response.status == 403
    assert served.database.read(accounts.find_owner) == ALICE


async def test_a_wrong_password_ends_nothing(alice: Device) -> None:
    _, challenge = await alice.ask("POST", "/account/deactivate", {})
    body = {"auth": with_password(challenge, "wrong")}
    status, answer = await alice.ask("POST", "/account/deactivate", body)
    assert (status, answer["errcode"]) == (401, "M_FORBIDDEN")
    await alice.get("/account/whoami")


async def enter(http: Client, password: str) -> int:
    body = {"type": "m.login.password", "user": "alice", "password": password}
    async with http.post(f"{V3}/login", json=body) as response:
        return response.status


async def test_whoever_has_the_machine_opens_an_ended_account_again(
    served: Served, http: Client, alice: Device
) -> None:
    _, challenge = await alice.ask("POST", "/account/deactivate", {})
    await alice.post("/account/deactivate", {"auth": with_password(challenge)})
    door = served.services[LogIn]
    await door.reset_password(ALICE, "battery staple", ends_sessions=True)
    assert await enter(http, PASSWORD) == 403
    assert await enter(http, "battery staple") == 200


async def test_a_password_set_by_the_machine_logs_everybody_out_unless_asked_not_to(
    served: Served, http: Client, alice: Device
) -> None:
    other = await log_in(http, "LAPTOP")
    door = served.services[LogIn]
    await door.reset_password(ALICE, "battery staple", ends_sessions=False)
    assert (await alice.ask("GET", "/account/whoami"))[0] == 200
    await door.reset_password(ALICE, "battery staple 2", ends_sessions=True)
    for device in (alice, other):
        status, answer = await device.ask("GET", "/account/whoami")
        assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    assert await enter(http, "battery staple 2") == 200
