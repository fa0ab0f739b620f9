"""A TCP proxy that writes down every byte that passes, and reads the HTTP exchanges in them.

Stand it in front of a server and give the server the proxy's address as its public one: then all
that peers send it, and all it answers, is in `bytes_seen` and `exchanges()`.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request and its answer; an answer that never came whole has no status."""

    method: str
    path: str
    request_body: bytes
    status: int | None
    response_body: bytes


@dataclass(slots=True)
class _Connection:
    """What passed on one TCP connection."""

    sent: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class _Message:
    """One HTTP request or answer: its first line and its body."""

    first_line: str
    body: bytes


class RecordingProxy:
    """Passes connections on to one port of this machine, from a thread of its own."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[_Connection] = []
        self._open: set[socket.socket] = set()
        self._is_closed = False

    @property
    def url(self) -> str:
        """The address that peers are given."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        """Begin to accept connections."""
        threading.Thread(target=self._accept_all, daemon=True).start()

    def close(self) -> None:
        """Stop accepting and cut every connection; what was recorded stays."""
        self._is_closed = True
        _shut(self._listener)
        for connected in tuple(self._open):
            _shut(connected)

    def bytes_seen(self) -> bytes:
        """Everything that passed so far, both ways, connection by connection."""
        return b"".join(bytes(one.sent) + bytes(one.answered) for one in self._connections)

    def byte_count(self) -> int:
        """How many bytes passed so far, both ways."""
        return sum(len(one.sent) + len(one.answered) for one in self._connections)

    def exchanges(self) -> list[Exchange]:
        """Every request seen so far with its answer, connection by connection."""
        return [exchange for one in self._connections for exchange in _exchanges_of(one)]

    def _accept_all(self) -> None:
        while not self._is_closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            except OSError:
                _shut(near)
                continue
            far.settimeout(None)
            connection = _Connection()
            self._connections.append(connection)
            self._open |= {near, far}
            for source, sink, record in (
                (near, far, connection.sent),
                (far, near, connection.answered),
            ):
                threading.Thread(
                    target=self._pass_on, args=(source, sink, record), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, record: bytearray) -> None:
        with contextlib.suppress(OSError):
            while passing := source.recv(_CHUNK):
                record += passing
                sink.sendall(passing)
        for connected in (source, sink):
            self._open.discard(connected)
            _shut(connected)


@contextlib.contextmanager
def recording(target_port: int) -> Iterator[RecordingProxy]:
    """A proxy for the length of a block."""
    proxy = RecordingProxy(target_port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.close()


def _shut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
    connected.close()


def _exchanges_of(connection: _Connection) -> list[Exchange]:
    answers = iter(_messages(bytes(connection.answered)))
    exchanges = []
    for request in _messages(bytes(connection.sent)):
        method, path, _ = request.first_line.split(" ", 2)
        answer = next(answers, None)
        exchanges.append(
            Exchange(
                method,
                path,
                request.body,
                None if answer is None else int(answer.first_line.split(" ")[1]),
                b"" if answer is None else answer.body,
            )
        )
    return exchanges


def _messages(stream: bytes) -> Iterator[_Message]:
    """The complete HTTP messages of one direction; an unfinished last one is left out."""
    while True:
        head, separator, rest = stream.partition(b"\r\n\r\n")
        if not separator:
            return
        first_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if headers.get("transfer-encoding", "").lower() == "chunked":
            found = _chunked_body(rest)
        else:
            found = _sized_body(rest, int(headers.get("content-length", "0")))
        if found is None:
            return
        body, stream = found
        if not first_line.startswith("HTTP/1.1 100"):
            yield _Message(first_line, body)


def _sized_body(stream: bytes, size: int) -> tuple[bytes, bytes] | None:
    if len(stream) < size:
        return None
    return stream[:size], stream[size:]


def _chunked_body(stream: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while True:
        size_line, separator, stream = stream.partition(b"\r\n")
        if not separator:
            return None
        size = int(size_line.split(b";")[0], 16)
        if len(stream) < size + 2:
            return None
        body, stream = body + stream[:size], stream[size + 2 :]
        if size == 0:
            return body, stream
