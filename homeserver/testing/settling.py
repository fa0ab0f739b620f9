"""Whether anybody has anything left to do."""

from collections.abc import Iterable

from federation.connections_room.worker import ConnectionsRoom
from federation.desk import DONE
from federation.lines import Line
from homeserver.matrix.identifiers import ServerName
from homeserver.rooms.tying import Tying
from homeserver.storage import invitations, waiting_events
from homeserver.testing.network import Network
from homeserver.testing.simulated_server import SimulatedServer


class NeverSettled(AssertionError):
    """Something was still going on when it should long have been over."""


def what_waits(servers: Iterable[SimulatedServer], network: Network) -> list[str]:
    """What can be delivered and has not been, in words; empty when everything is quiet."""
    running = {server.server_name: server for server in servers if server.is_running}
    found = []
    for server in running.values():
        federation = server.built.peers.federation
        if server.built.services[Tying].is_due:
            found.append(f"{server.name} has ends of a room to join")
        for line in federation.lines.all():
            if line.stored:
                found.append(f"{server.name} has frames of {_name(running, line)} to work off")
            other = running.get(line.peer)
            if other is None or not _could_meet(server, other, line, network):
                continue
            if federation.channel.has_waiting(line):
                found.append(f"{server.name} has something for {other.name}")
            if line.peer in server.built.database.read(waiting_events.peers_unanswered):
                found.append(f"{server.name} has to ask {other.name} for something")
    return found + _what_owners_wait_for(running.values())


def _what_owners_wait_for(servers: Iterable[SimulatedServer]) -> list[str]:
    """Notices that are not told, orders that are not obeyed."""
    return [
        f"{server.name} has something to tell its owner, or to obey"
        for server in servers
        if server.built.services[ConnectionsRoom].has_something_to_do
    ]


def who_shakes_hands(servers: Iterable[SimulatedServer]) -> list[str]:
    """Who has opened a link and waits for the other side. May be in vain, and for days."""
    return [
        server.name
        for server in servers
        if server.is_running
        for handshake in server.built.database.read(invitations.load_handshakes)
        if handshake.role == "invitee" and handshake.state != DONE
    ]


def _could_meet(one: SimulatedServer, other: SimulatedServer, line: Line, network: Network) -> bool:
    """Whether either can call the other, and the other would answer."""
    back = other.built.peers.federation.lines.find(ServerName(one.server_name))
    if back is None:
        return False
    return any(network.can_reach(one.name, route) for route in line.routes) or any(
        network.can_reach(other.name, route) for route in back.routes
    )


def _name(running: dict[str, SimulatedServer], line: Line) -> str:
    found = running.get(line.peer)
    return line.peer if found is None else found.name
