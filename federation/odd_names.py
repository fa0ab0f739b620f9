"""What becomes of a REQUEST whose name is not what it seems."""

from federation import shown_names
from federation.handshake_messages import Asked
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage import notices, peers
from homeserver.storage.invitations import KNOCK, Invitation
from homeserver.storage.unit_of_work import UnitOfWork, View

UNFIT = "unfit_name"


def is_fit(asked: Asked) -> bool:
    """Whether nothing is hidden in the name: no control characters, no marks of direction."""
    return shown_names.is_fit(asked.request.name)


def tell_owner(work: UnitOfWork, now: int, invitation: Invitation, asked: Asked) -> None:
    """Say that somebody was refused, once an invitation; of strangers with a knock link never."""
    told = {one.content.get("intake") for one in notices.newest(work) if one.kind == UNFIT}
    if invitation.how == KNOCK or invitation.intake in told:
        return
    content: JsonObject = {
        "name": asked.request.name,
        "server_name": asked.identity.server_name,
        "intake": invitation.intake,
    }
    notices.tell_owner(work, now, UNFIT, asked.identity.node_id, content)


def resembles(view: View, asked: Asked, own_name: str) -> bool:
    """Whether an eye may take the name for somebody else's, the owner's own included."""
    node_id = asked.identity.node_id
    others = [peer.name for peer in peers.load_peers(view) if peer.node_id != node_id]
    return bool(shown_names.warnings(asked.request.name, [*others, own_name]))
