"""`python -m tests.benchmark.knocking HOST PORT RATE SECONDS`: a stranger who does not give up.

A process of its own, so that it takes nothing from whoever measures. Prints how many boxes were
refused in each second.
"""

import asyncio
import random
import sys
import time

_CONNECTIONS = 16
_BOX_BYTES = 1 << 10


class Knocking:
    """Knocks at guessed addresses, at one pace over all connections."""

    def __init__(self, host: str, port: int, rate: float, until: float) -> None:
        self._host, self._port = host, port
        self._pause = _CONNECTIONS / rate
        self._until = until
        self._random = random.Random(1)
        self._box = self._random.randbytes(_BOX_BYTES)
        self.refused = 0

    async def knock_on(self) -> None:
        """One connection: a box, its refusal, a pause."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        length, due = None, time.perf_counter()
        while time.perf_counter() < self._until:
            writer.write(self._request())
            head = await reader.readuntil(b"\r\n\r\n")
            length = length or _length(head)
            await reader.readexactly(length)
            self.refused += 1
            due += self._pause
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        writer.close()

    def _request(self) -> bytes:
        path = f"/_federation/v1/deliver/{self._random.getrandbits(128):032x}"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {_BOX_BYTES}\r\n\r\n"
        )
        return head.encode() + self._box


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))


async def knock(host: str, port: int, rate: float, seconds: float) -> float:
    """Knock for so long; the rate that was reached."""
    began = time.perf_counter()
    knocking = Knocking(host, port, rate, began + seconds)
    await asyncio.gather(*(knocking.knock_on() for _ in range(_CONNECTIONS)))
    return knocking.refused / (time.perf_counter() - began)


if __name__ == "__main__":
    host, port, rate, seconds = sys.argv[1:]
    reached = asyncio.run(knock(host, int(port), float(rate), float(seconds)))
    sys.stdout.write(f"{reached:.0f}\n")
