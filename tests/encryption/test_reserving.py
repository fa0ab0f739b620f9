"""How many one-time keys of a device each peer holds, and who makes room for whom."""

import orjson
import pytest

from homeserver.encryption import deposits, reserving
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, ServerName
from homeserver.storage import encryption, frames
from tests.accounts.serving import ALICE, Client, Device, Served, log_in
from tests.encryption import keys

SERVERS = [ServerName(f"peer{number}.example") for number in range(20)]


async def upload_fifty(device: Device, name: str = "PHONE", start: int = 0) -> None:
    names = [f"{name}{number:02}" for number in range(start, start + 50)]
    stock = keys.one_time_keys(*names, device_id=name)
    body = {"device_keys": keys.device_keys(name), "one_time_keys": stock}
    await device.post("/keys/upload", body)


async def greet(served: Served, *servers: ServerName) -> None:
    """Connections come about, one after the other."""
    for server in servers:
        await keys.connect(served, server)
        await served.database.write(lambda work, server=server: deposits.greet(work, server, 1))  # type: ignore[misc]


def held(served: Served, device_id: str = "PHONE") -> list[int]:
    """How many keys of a device each peer holds, first come first."""
    of = served.database.read(lambda view: encryption.reserved_keys_of(view, ALICE))
    ours = [one.reserved_for for one in of if one.device_id == device_id]
    return [ours.count(server) for server in SERVERS if server in ours]


@pytest.mark.parametrize(
    ("peers", "expected"),
    [(1, [10]), (4, [10] * 4), (5, [8] * 5), (13, [3] * 13)],
)
async def test_the_fewer_peers_the_more_each_holds(
    served: Served, alice: Device, peers: int, expected: list[int]
) -> None:
    await upload_fifty(alice)
    await greet(served, *SERVERS[:peers])
    await upload_fifty(alice, start=50)  # as clients do that have few left
    assert held(served) == expected


async def test_a_newcomer_gets_a_share_and_nobody_gets_what_others_gave_back(
    served: Served, alice: Device
) -> None:
    await upload_fifty(alice)
    await greet(served, *SERVERS[:4])
    before = {one.key_id for one in reserved(served)}
    await greet(served, SERVERS[4])
    assert held(served) == [8] * 5
    given_back = before - {one.key_id for one in reserved(served)}
    assert len(given_back) == 8
    assert all(len(deposited(served, server)) == 8 for server in SERVERS[:5])
    await upload_fifty(alice)
    free = served.database.read(
        lambda view: encryption.one_time_keys_of(view, ALICE, DeviceId("PHONE"))
    )
    assert given_back.isdisjoint(one.key_id for one in free)


async def test_a_deposit_of_many_devices_holds_fewer_keys_of_each(
    served: Served, alice: Device, http: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserving, "_PER_DEPOSIT", 12)
    await upload_fifty(alice)
    await upload_fifty(await log_in(http, "LAPTOP"), "LAPTOP")
    await greet(served, SERVERS[0])
    assert held(served) == held(served, "LAPTOP") == [6]


def reserved(served: Served) -> list[encryption.OneTimeKey]:
    return served.database.read(lambda view: encryption.reserved_keys_of(view, ALICE))


def deposited(served: Served, server: ServerName) -> JsonObject:
    """The keys of the newest deposit that waits for a peer."""
    [item] = served.database.read(
        lambda view: frames.waiting_items(view, server, frames.CONTROL, 10)
    )
    found: JsonObject = orjson.loads(item.body)["users"][ALICE]["one_time_keys"]["PHONE"]
    return found
