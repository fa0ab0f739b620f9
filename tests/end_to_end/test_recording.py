"""The means by which the tests look at the wire would see what they look for."""

import base64
import http.client
import http.server
import threading
from collections.abc import Iterator

import pytest

from homeserver.testing import recording
from tests.end_to_end import test_wire

SECRET = "@alice:example.p2p.alt"


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (body, body[::-1]):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture
def echo_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as echo:
        threading.Thread(target=echo.serve_forever, args=(0.02,), daemon=True).start()
        yield echo.server_port
        echo.shutdown()


def post(proxy: recording.RecordingProxy, *bodies: bytes) -> None:
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=5)
    for body in bodies:
        connection.request("POST", "/_federation/v1/deliver/x", body)
        connection.getresponse().read()
    connection.close()


def test_the_proxy_reads_every_exchange_of_a_connection(echo_port: int) -> None:
    with recording.recording(echo_port) as proxy:
        post(proxy, b"abc", b"x" * 70_000)
        exchanges = proxy.exchanges()
    assert [one.request_body for one in exchanges] == [b"abc", b"x" * 70_000]
    assert [one.response_body for one in exchanges] == [b"abccba", b"x" * 140_000]
    assert {(one.method, one.path, one.status) for one in exchanges} == {
        ("POST", "/_federation/v1/deliver/x", 200)
    }


def test_a_size_that_is_no_bucket_is_noticed(echo_port: int) -> None:
    with recording.recording(echo_port) as proxy:
        post(proxy, bytes(1000))
        assert not set(test_wire.sizes(proxy)) <= test_wire.BUCKETS


@pytest.mark.parametrize("shift", range(5))
def test_a_secret_is_noticed_as_it_is_and_inside_base64(echo_port: int, shift: int) -> None:
    padded = b"\xff" * shift + SECRET.encode() + b"\xff" * 3
    for form in (padded, base64.b64encode(padded), base64.urlsafe_b64encode(padded)):
        with recording.recording(echo_port) as proxy:
            post(proxy, form)
            assert test_wire.disclosures(proxy, [SECRET, "innocent text"]) == [SECRET]
