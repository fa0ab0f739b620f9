"""Files: up, down, named, thumbnailed, and to nobody without a token."""

import io
import json
from collections.abc import Callable

import pytest
from PIL import Image

from tests.checking_proxy import CheckedServer
from tests.conformance.device import Device

V1 = "/_matrix/client/v1/media"
UPLOAD = "/_matrix/media/v3/upload"
NOT_FOUND = (404, "M_NOT_FOUND")


def upload(device: Device, content: bytes, content_type: str, name: str = "") -> str:
    """Upload a file; the part of its URI that paths have."""
    query = f"?filename={name}" if name else ""
    reply = device.ask("POST", UPLOAD + query, content, headers={"Content-Type": content_type})
    assert reply.status == 200, reply.content
    return str(reply.json["content_uri"]).removeprefix("mxc://")


def test_a_file_comes_back_as_it_was(alice: Device) -> None:
    place = upload(alice, b"hello", "text/plain", "a%20b.txt")
    reply = alice.ask("GET", f"{V1}/download/{place}")
    assert (reply.status, reply.content) == (200, b"hello")
    assert reply.headers["Content-Type"] == "text/plain"
    assert reply.headers["Content-Disposition"] == 'inline; filename="a b.txt"'
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert reply.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    named = alice.ask("GET", f"{V1}/download/{place}/%C3%BC%22.txt")
    assert named.headers["Content-Disposition"] == "inline; filename*=utf-8''%C3%BC%22.txt"


def test_what_could_run_is_not_shown_in_place(alice: Device) -> None:
    for content_type in ("text/html", "image/svg+xml", "application/octet-stream"):
        place = upload(alice, b"<script>", content_type)
        disposition = alice.ask("GET", f"{V1}/download/{place}").headers["Content-Disposition"]
        assert disposition.startswith("attachment")


def test_a_thumbnail(alice: Device) -> None:
    file = io.BytesIO()
    Image.new("RGB", (1000, 500), "red").save(file, "PNG")
    place = upload(alice, file.getvalue(), "image/png")
    reply = alice.ask("GET", f"{V1}/thumbnail/{place}?width=320&height=240&method=scale")
    drawn = Image.open(io.BytesIO(reply.content))
    assert drawn.size == (320, 160)
    assert reply.headers["Content-Disposition"].startswith("inline")
    for query, errcode in (
        ("", "M_MISSING_PARAM"),
        ("?width=0&height=5", "M_INVALID_PARAM"),
        ("?width=a&height=5", "M_INVALID_PARAM"),
        ("?width=5&height=5&method=x", "M_INVALID_PARAM"),
    ):
        assert alice.refused("GET", f"{V1}/thumbnail/{place}{query}") == (400, errcode)
    text = upload(alice, b"no picture", "image/png")
    refusal = alice.refused("GET", f"{V1}/thumbnail/{text}?width=5&height=5")
    assert refusal == (400, "M_UNKNOWN")


def test_a_file_that_comes_later(alice: Device) -> None:
    created = json.loads(alice.ask("POST", "/_matrix/media/v1/create").content)
    assert created["unused_expires_at"] > 0
    place = created["content_uri"].removeprefix("mxc://")
    waiting = alice.refused("GET", f"{V1}/download/{place}?timeout_ms=10")
    assert waiting == (504, "M_NOT_YET_UPLOADED")
    path = f"/_matrix/media/v3/upload/{place}"
    late = alice.ask("PUT", path, b"late", headers={"Content-Type": "text/plain"})
    assert late.status == 200
    assert alice.refused("PUT", path, b"later") == (409, "M_CANNOT_OVERWRITE_MEDIA")
    assert alice.ask("GET", f"{V1}/download/{place}").content == b"late"
    assert alice.refused("PUT", "/_matrix/media/v3/upload/elsewhere.org/x", b"x") == NOT_FOUND


@pytest.mark.parametrize("name", ["nothing", "..%2F..%2Fx", "x" * 300])
def test_what_is_not_there(alice: Device, name: str) -> None:
    for server in (alice.server_name, "elsewhere.org"):
        assert alice.refused("GET", f"{V1}/download/{server}/{name}") == NOT_FOUND


def test_the_limit_is_told_and_kept(
    alice: Device, checked: CheckedServer, open_device: Callable[[str], Device]
) -> None:
    config = alice.call("GET", f"{V1}/config")
    assert config == alice.call("GET", "/_matrix/media/v3/config")
    headers = {"Content-Length": str(config["m.upload.size"] + 1), "Connection": "close"}
    direct = open_device(checked.direct_url)  # no proxy waits for the rest of the body
    direct.token = alice.token
    reply = direct.ask("POST", UPLOAD, b"", headers=headers)
    assert reply.refusal == (413, "M_TOO_LARGE")


def test_nothing_without_a_token(alice: Device, stranger: Device) -> None:
    place = upload(alice, b"hello", "text/plain")
    for path in (f"{V1}/download/{place}", f"{V1}/thumbnail/{place}?width=5&height=5"):
        assert stranger.refused("GET", path) == (401, "M_MISSING_TOKEN")
    assert stranger.refused("GET", f"/_matrix/media/v3/download/{place}") == NOT_FOUND
    assert stranger.refused("POST", UPLOAD, b"x") == (401, "M_MISSING_TOKEN")
