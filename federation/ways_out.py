"""For what a box may leave, asked at the one place that opens sockets, at the moment it does.

Whoever sends a box says which grant it uses; here is who has that grant now. A worker that was not
stopped yet when a connection ended is stopped by it.
"""

from federation import heeding
from federation.desk import DONE
from federation.farewell import Farewell
from federation.payloads import CONNECTION, INVITATION
from federation.transport.interface import FAREWELL
from homeserver.matrix.identifiers import ServerName
from homeserver.outbound import Outbound
from homeserver.storage import invitations
from homeserver.storage.database import Database
from homeserver.storage.invitations import INVITEE
from homeserver.storage.unit_of_work import View


def permit(outbound: Outbound, database: Database, farewell: Farewell) -> None:
    """Let boxes out to active peers, to whom the owner asks for a connection, and last words."""
    outbound.permit(
        CONNECTION, lambda party: database.read(lambda view: _is_active(view, ServerName(party)))
    )
    outbound.permit(INVITATION, lambda party: database.read(lambda view: _is_asked(view, party)))
    outbound.permit(FAREWELL, farewell.is_said_to)


def _is_active(view: View, server_name: ServerName) -> bool:
    try:
        heeding.heeded(view, server_name)
    except heeding.OnHold:
        return False
    return True


def _is_asked(view: View, party: str) -> bool:
    """Whether a handshake that the owner began is under way, and no pause holds it."""
    return any(
        one.server_name == party
        and one.role == INVITEE
        and one.state != DONE
        and not heeding.is_held(view, party)
        for one in invitations.load_handshakes(view)
    )
