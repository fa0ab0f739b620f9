"""What this server can do, and where it is: versions, capabilities, discovery.

Spec: client-server-api#server-administration, client-server-api#capabilities-negotiation
"""

from dataclasses import dataclass

from aiohttp import web

from api.routing import Routes
from homeserver.accounts.relay import Relay
from homeserver.matrix import room_versions
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester
from homeserver.rooms.delaying import LONGEST_MS, MOST_WAITING

routes = Routes("/_matrix/client")
versioned = Routes("/_matrix/client/v3", "/_matrix/client/r0")
well_known = Routes("/.well-known/matrix")

# Clients look for literal members of this list, so every one is named.
_VERSIONS = ("r0.6.1", *(f"v1.{minor}" for minor in range(1, 20)))

# Sliding sync and its extension for typing are accepted and in no version yet.
_UNSTABLE = (
    "org.matrix.simplified_msc3575",
    "org.matrix.simplified_msc3575.stable",
    "org.matrix.msc4508",
    "org.matrix.msc4508.stable",
    "org.matrix.msc4538",
    "org.matrix.msc4543",
    "org.matrix.msc4551",
    "org.matrix.msc3814",  # dehydrated devices
    "org.matrix.msc4140",  # delayed events
    "org.matrix.msc4306",  # subscriptions to threads
    # In the specification for long; Element Web and js-sdk still look for these (docs/clients.md).
    "org.matrix.e2e_cross_signing",
    "uk.half-shot.msc2666.query_mutual_rooms",
)


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """Where clients reach this server, if the owner said so."""

    url: str | None


@routes.get("/versions", public=True)
async def list_versions() -> JsonObject:
    """The versions of the specification this server follows.

    Spec: client-server-api#get_matrixclientversions
    """
    return {"versions": list(_VERSIONS), "unstable_features": dict.fromkeys(_UNSTABLE, True)}


@versioned.get("/capabilities")
async def list_capabilities(requester: Requester) -> JsonObject:
    """What the owner may do here.

    Spec: client-server-api#get_matrixclientv3capabilities
    """
    del requester
    return {
        "capabilities": {
            "m.change_password": {"enabled": True},
            "m.room_versions": {
                "default": room_versions.DEFAULT,
                "available": dict.fromkeys(room_versions.ROOM_VERSIONS, "stable"),
            },
            "m.set_displayname": {"enabled": True},
            "m.set_avatar_url": {"enabled": True},
            "m.profile_fields": {"enabled": True},
            "m.3pid_changes": {"enabled": False},
            "m.get_login_token": {"enabled": True},
            "m.forget_forced_upon_leave": {"enabled": False},
            "org.matrix.msc4140.delayed_events": {
                "max_delay_ms": LONGEST_MS,
                "max_scheduled": MOST_WAITING,
            },
        }
    }


@well_known.get("/client", public=True)
async def discover(request: web.Request, base_url: BaseUrl, relay: Relay) -> JsonObject:
    """Where clients that were given the server's name find it, and the owner's room for calls.

    Spec: client-server-api#getwell-knownmatrixclient
    """
    url = base_url.url or f"{request.scheme}://{request.host}"
    answer: JsonObject = {"m.homeserver": {"base_url": url}}
    if transports := relay.transports():
        answer["org.matrix.msc4143.rtc_foci"] = transports
    return answer
