from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api import application
from api.client import media as routes
from homeserver import errors
from homeserver.matrix.identifiers import DeviceId, UserId
from homeserver.media import Media
from homeserver.ports import Requester
from tests.media.conftest import media, peers, stream

__all__ = ["media", "peers"]

Client = TestClient[web.Request, web.Application]
TOKEN = {"Authorization": "Bearer right"}
V1 = "/_matrix/client/v1/media"
V3 = "/_matrix/media/v3"


def authenticate(token: str) -> Requester:
    if token != "right":
        raise errors.UnknownToken
    return Requester(UserId("@alice:alice.example"), DeviceId("D"))


@pytest.fixture
async def client(media: Media) -> AsyncIterator[Client]:
    tables = routes.routes.all + routes.upload_routes.all + routes.creation_routes.all
    served = application.build(tables, {Media: media}, authenticate)
    async with TestClient(TestServer(served)) as client:
        yield client


async def upload(client: Client, content: bytes, content_type: str, name: str | None = None) -> str:
    response = await client.post(
        f"{V3}/upload",
        params={} if name is None else {"filename": name},
        data=content,
        headers={**TOKEN, "Content-Type": content_type},
    )
    assert response.status == 200
    uri: str = (await response.json())["content_uri"]
    return uri.removeprefix("mxc://")


async def test_an_upload_is_downloaded_with_its_type_and_name(client: Client) -> None:
    place = await upload(client, b"\x89PNG", "image/png", "a cat.png")
    response = await client.get(f"{V1}/download/{place}", headers=TOKEN)
    assert await response.read() == b"\x89PNG"
    assert response.headers["Content-Type"] == "image/png"
    assert response.headers["Content-Disposition"] == 'inline; filename="a cat.png"'
    assert response.headers["Content-Security-Policy"].startswith("sandbox;")
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("text/html", "attachment"),
        ("image/svg+xml", "attachment"),
        ("application/octet-stream", "attachment"),
        ("IMAGE/PNG; x=y", "inline"),
        ("text/plain;charset=utf-8", "inline"),
        ("nonsense", "attachment"),
    ],
)
async def test_only_harmless_types_are_shown_in_place(
    client: Client, content_type: str, kind: str
) -> None:
    place = await upload(client, b"<script>", content_type)
    response = await client.get(f"{V1}/download/{place}", headers=TOKEN)
    assert response.headers["Content-Disposition"] == kind


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("plain.txt", 'filename="plain.txt"'),
        ("Grüße.txt", "filename*=utf-8''Gr%C3%BC%C3%9Fe.txt"),
        ('a"b', "filename*=utf-8''a%22b"),
        ("a\\b", "filename*=utf-8''a%5Cb"),
    ],
)
async def test_a_file_is_downloaded_under_another_name(
    client: Client, name: str, sent: str
) -> None:
    place = await upload(client, b"x", "text/plain", "first")

    url = client.make_url(f"{V1}/download/{place}") / name
    response = await client.session.get(url, headers=TOKEN)
    assert response.headers["Content-Disposition"] == f"inline; {sent}"


async def test_a_part_of_a_file_can_be_asked_for(client: Client) -> None:
    place = await upload(client, b"0123456789", "video/mp4")
    response = await client.get(f"{V1}/download/{place}", headers=TOKEN | {"Range": "bytes=2-4"})
    assert (response.status, await response.read()) == (206, b"234")


@pytest.mark.parametrize("announced", [True, False])
async def test_too_large_an_upload_is_refused(client: Client, announced: bool) -> None:
    body = b"x" * 1_000_001
    data = body if announced else stream(body)
    response = await client.post(f"{V3}/upload", data=data, headers=TOKEN)
    assert response.status == 413
    assert (await response.json())["errcode"] == "M_TOO_LARGE"


@pytest.mark.parametrize("path", [f"{V1}/config", f"{V3}/config"])
async def test_the_upload_limit_is_told(client: Client, path: str) -> None:
    response = await client.get(path, headers=TOKEN)
    assert await response.json() == {"m.upload.size": 1_000_000}


@pytest.mark.parametrize(
    "path", ["download/{}", "download/{}/name", "thumbnail/{}?width=1&height=1"]
)
async def test_without_a_token_there_are_no_files(client: Client, path: str) -> None:
    place = await upload(client, b"x", "text/plain")
    response = await client.get(f"{V1}/{path.format(place)}")
    assert (response.status, (await response.json())["errcode"]) == (401, "M_MISSING_TOKEN")
    legacy = await client.get(f"{V3}/{path.format(place)}", headers=TOKEN)
    assert (legacy.status, (await legacy.json())["errcode"]) == (404, "M_NOT_FOUND")


async def test_there_are_no_previews_of_urls(client: Client) -> None:
    response = await client.get(f"{V1}/preview_url?url=https://example.com", headers=TOKEN)
    assert (response.status, (await response.json())["errcode"]) == (404, "M_UNRECOGNIZED")


async def test_a_path_is_no_media_id(client: Client, tmp_path: Path) -> None:
    response = await client.get(f"{V1}/download/alice.example/..%2F..%2Fserver.db", headers=TOKEN)
    assert (response.status, (await response.json())["errcode"]) == (404, "M_NOT_FOUND")


async def test_a_file_can_come_later(client: Client) -> None:
    created = await (await client.post("/_matrix/media/v1/create", headers=TOKEN)).json()
    place = created["content_uri"].removeprefix("mxc://")
    early = await client.get(f"{V1}/download/{place}?timeout_ms=1", headers=TOKEN)
    assert (early.status, (await early.json())["errcode"]) == (504, "M_NOT_YET_UPLOADED")

    put = await client.put(f"{V3}/upload/{place}", data=b"late", headers=TOKEN)
    again = await client.put(f"{V3}/upload/{place}", data=b"late", headers=TOKEN)

    assert (put.status, await put.json()) == (200, {})
    assert (again.status, (await again.json())["errcode"]) == (409, "M_CANNOT_OVERWRITE_MEDIA")
    response = await client.get(f"{V1}/download/{place}", headers=TOKEN)
    assert await response.read() == b"late"


async def test_an_unknown_files_thumbnail_is_not_found(client: Client) -> None:
    path = f"{V1}/thumbnail/bob.example/nothing?width=32&height=32"
    response = await client.get(path, headers=TOKEN)
    assert response.status == 404


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ("width=0&height=5", "M_INVALID_PARAM"),
        ("width=a&height=5", "M_INVALID_PARAM"),
        ("width=5", "M_MISSING_PARAM"),
        ("x=1", "M_MISSING_PARAM"),
    ],
)
async def test_a_thumbnail_needs_a_size(client: Client, query: str, errcode: str) -> None:
    place = await upload(client, b"x", "text/plain")
    response = await client.get(f"{V1}/thumbnail/{place}?{query}", headers=TOKEN)
    assert (response.status, (await response.json())["errcode"]) == (400, errcode)


async def test_what_is_no_image_has_no_thumbnail(client: Client) -> None:
    place = await upload(client, b"x", "text/plain")
    response = await client.get(f"{V1}/thumbnail/{place}?width=9&height=9", headers=TOKEN)
    assert (response.status, (await response.json())["errcode"]) == (400, "M_UNKNOWN")
