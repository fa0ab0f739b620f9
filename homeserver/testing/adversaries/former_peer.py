"""Somebody who was connected: he keeps his address, its keys and all his boxes, and goes on."""

from federation import envelope
from federation.envelope import Envelope
from homeserver.matrix.identifiers import ServerName
from homeserver.testing.network import Network, Recorded
from homeserver.testing.person import Person


class FormerPeer:
    """Made while the connection stands; used when it has ended."""

    def __init__(self, network: Network, person: Person, victim: Person) -> None:
        federation = person.server.built.peers.federation
        line = federation.lines.find(ServerName(victim.server.server_name))
        if line is None:
            raise AssertionError(f"{person.name} and {victim.name} are not connected")
        self._network = network
        self._person = person
        self._keys, self._address, self._routes = line.theirs, line.their_address, line.routes
        self._token = federation.party.token
        network.is_recording = True

    async def try_everything(self) -> list[bytes | None]:
        """New boxes under the old keys, then all the old ones; the answers, None if refused."""
        answers = []
        for route in self._routes:
            for content in (
                Envelope(),
                Envelope(patience_s=1),
                Envelope(sequence=1, olm_kind=1, olm=b"x"),
                Envelope(acknowledged=2**20, settled=2**20, is_restored=True),
                Envelope(note=b'{"kind":"want","epoch":1}'),
            ):
                box = envelope.seal(self._keys.request, self._token(), content)
                recorded = Recorded(self._person.name, route, self._address, box)
                answers.append(await self._network.replay(recorded))
        old = [one for one in self._network.recorded if one.source == self._person.name]
        return answers + [await self._network.replay(recorded) for recorded in old]
