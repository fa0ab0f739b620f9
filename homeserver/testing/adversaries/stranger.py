"""Somebody with valid keys whom nobody has accepted. He tries whatever can be tried from outside.

He speaks HTTP to the same door as everybody, and knows every address that ever passed on the wire.
"""

import re
from collections.abc import Iterator

import orjson

from api.client import tables
from federation import doors, envelope, own_identity
from federation import handshake_messages as messages
from federation.envelope import SIZES, Envelope
from homeserver.testing import chance
from homeserver.testing.chance import SeededEntropy
from homeserver.testing.network import Network
from homeserver.testing.simulated_server import SimulatedServer
from homeserver.testing.virtual_time import START_MS

_DELIVER = "/_federation/v1/deliver/"
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
_KEY = "A" * 43


class Stranger:
    """A node of his own: identity, card and keys that verify, and no connection."""

    def __init__(self, network: Network, seed: object) -> None:
        self._entropy = SeededEntropy(seed, "stranger")
        self.random = chance.stream(seed, "stranger's choices")
        self.own, _ = own_identity.create(self._entropy, START_MS)
        self._network = network
        network.is_recording = True

    async def knock_everywhere(self, victim: SimulatedServer, boxes: int = 20) -> list[bytes]:
        """Deliver boxes of every kind to guessed and to real addresses; what was answered."""
        answers = []
        async with victim.client() as client:
            for address in [*self._addresses(victim.name), *self._guesses(boxes)]:
                for box in self._boxes(victim, address):
                    path = _DELIVER + address.hex()
                    status, _, body = await client.exchange("POST", path, box)
                    answers.append(str(status).encode() + b" " + body)
        return answers

    async def try_every_route(self, victim: SimulatedServer) -> list[int]:
        """Ask every route of the client API without a token and with a made-up one."""
        statuses = []
        async with victim.client() as client:
            for route in tables.all_routes():
                path = re.sub(r"\{[^}]*\}", "x", route.path)
                for token in ("", "made-up"):
                    client.access_token = token
                    body = orjson.dumps({"user": "x", "room_id": "!x", "type": "m.login.password"})
                    given = None if route.method == "GET" else body
                    status, _, _ = await client.exchange(route.method, path, given)
                    statuses.append(status)
        return statuses

    async def try_every_method(self, victim: SimulatedServer) -> list[tuple[int, bytes]]:
        """Ask paths below the door by every method; statuses and bodies."""
        found = []
        paths = ("/_federation", "/_federation/v1", _DELIVER + "zz", "/_federation/v1/version")
        async with victim.client() as client:
            for method in _METHODS:
                for path in (*paths, _DELIVER + bytes(16).hex()):
                    status, _, body = await client.exchange(method, path, None)
                    found.append((status, body))
        return found

    def _addresses(self, victim: str) -> list[bytes]:
        """Where others deliver to the victim: whoever sees the wire knows."""
        seen = [one.address for one in self._network.recorded if f"//{victim}" in one.route]
        return list(dict.fromkeys(seen))[:20]

    def _guesses(self, count: int) -> list[bytes]:
        return [self._entropy.token_bytes(doors.ADDRESS_BYTES) for _ in range(count)]

    def _boxes(self, victim: SimulatedServer, address: bytes) -> Iterator[bytes]:
        """Noise, a REQUEST that verifies under a key of his own, empty ones, the victim's own."""
        yield self._entropy.token_bytes(self.random.choice(SIZES))
        yield self._entropy.token_bytes(self.random.randrange(0, 5_000))
        keys = envelope.door_keys(self._entropy.token_bytes(32))
        nonce = self._entropy.token_bytes(envelope.NONCE_BYTES)
        yield envelope.seal(keys.request, nonce, Envelope(note=self._request(victim, address)))
        yield envelope.seal(keys.request, nonce, Envelope(patience_s=60))
        yield envelope.seal(keys.answer, nonce, Envelope(acknowledged=2**40, settled=2**40))

    def _request(self, victim: SimulatedServer, intake: bytes) -> bytes:
        return messages.write_request(
            self.own,
            {
                "olm_key": _KEY,
                "one_time_key": _KEY,
                "name": "a friend",
                "grants": {},
                "is_connected": False,
                "epoch": 0,
                "node_id": victim.server_name.partition(".")[0],
                "intake": intake.hex(),
            },
        )
