"""Invitations: made, listed, taken back."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.admin.server import PREFIX, About
from api.authentication import Administrator
from api.routing import Routes
from federation import qr_codes, reach
from federation.overview import Overview
from federation.peers import Peers
from homeserver.matrix.canonical_json import JsonObject

routes = Routes(PREFIX)


class InvitationWish(BaseModel):
    """What an invitation is to be like; everything may be left out."""

    model_config = ConfigDict(extra="forbid")

    how: Literal["link", "scanned", "knock"] = "link"
    asks_owner: bool = False
    expected: str | None = Field(None, max_length=300)
    grants: str | None = Field(None, max_length=100)
    qr: bool = False


@routes.post("/invitations")
async def invite(
    admin: Administrator, wish: InvitationWish, peers: Peers, about: About
) -> JsonObject:
    """Make a link that connects one person, once. `expires_at` is in milliseconds since 1970.

    With `qr` the answer holds the link as a picture too, `qr_svg`.
    """
    issued = await peers.invite(
        wish.how,
        asks_owner=wish.asks_owner,
        expected=wish.expected,
        grant_set=wish.grants,
        way=admin.how,
    )
    return {
        "id": issued.intake,
        "link": issued.link,
        "expires_at": issued.expires_at,
        "loopback_only": all(reach.is_loopback(route) for route in about.routes),
    } | ({"qr_svg": qr_codes.svg(issued.link)} if wish.qr else {})


@routes.get("/invitations")
async def list_invitations(admin: Administrator, overview: Overview) -> JsonObject:
    """Every invitation and what became of it; never its link again."""
    del admin
    return {"invitations": overview.invitations()}


@routes.delete("/invitations/{invitation_id}")
async def withdraw(admin: Administrator, invitation_id: str, peers: Peers) -> JsonObject:
    """Make an invitation void that nobody has used."""
    await peers.withdraw(invitation_id, admin.how)
    return {}
