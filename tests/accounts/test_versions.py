"""What everybody may know of this server, and what its owner can do with it."""

from aiohttp.test_utils import TestClient, TestServer

from api import application
from api.client import versions
from tests.accounts.serving import Client, Device, Served


async def test_every_version_is_named_without_a_token(http: Client) -> None:
    response = await http.get("/_matrix/client/versions")
    answer = await response.json()
    assert answer["versions"] == ["r0.6.1", *(f"v1.{minor}" for minor in range(1, 20))]
    assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_capabilities_say_what_works(alice: Device) -> None:
    capabilities = (await alice.get("/capabilities"))["capabilities"]
    assert capabilities["m.room_versions"] == {
        "default": "12",
        "available": {"10": "stable", "11": "stable", "12": "stable"},
    }
    assert capabilities["m.change_password"] == {"enabled": True}


async def test_discovery_answers_with_the_address_that_was_asked(http: Client) -> None:
    response = await http.get("/.well-known/matrix/client")
    address = str(http.make_url("")).rstrip("/")
    assert await response.json() == {"m.homeserver": {"base_url": address}}


async def test_discovery_answers_with_the_address_the_owner_named(served: Served) -> None:
    services = dict(served.services) | {
        versions.BaseUrl: versions.BaseUrl("https://matrix.example.org")
    }
    built = application.build(versions.well_known.all, services, served.sessions.authenticate)
    async with TestClient(TestServer(built)) as http:
        response = await http.get("/.well-known/matrix/client")
        assert await response.json() == {"m.homeserver": {"base_url": "https://matrix.example.org"}}
