"""What big servers have and this one does not: addresses of its owner, bridges, single sign-on.

Each answers as the specification wants a server to answer that has none of it.
"""

from typing import Any

from api.routing import JsonBody, Routes
from homeserver import errors
from homeserver.accounts.relay import Relay
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")
stable = Routes("/_matrix/client/v1")
files = Routes("/_matrix/media/v3", "/_matrix/client/v1/media")
well_known = Routes("/.well-known/matrix")

_NO_SUPPORT: JsonObject = {"id_server_unbind_result": "no-support"}


class NoAddresses(errors.Forbidden):
    """This server keeps no e-mail addresses and no telephone numbers."""

    errcode = "M_THREEPID_DENIED"


@routes.get("/account/3pid")
async def list_addresses(requester: Requester) -> JsonObject:
    """None: this server knows no addresses of its owner.

    Spec: client-server-api#get_matrixclientv3account3pid
    """
    del requester
    return {"threepids": []}


@routes.post("/account/3pid")
@routes.post("/account/3pid/add")
@routes.post("/account/3pid/bind")
async def add_address(requester: Requester, body: JsonBody) -> Any:
    """Refuse: the owner is found by a link, not by an address.

    Spec: client-server-api#post_matrixclientv3account3pidadd
    """
    del requester, body
    raise NoAddresses


@routes.post("/account/3pid/delete")
@routes.post("/account/3pid/unbind")
async def remove_address(requester: Requester, body: JsonBody) -> JsonObject:
    """There is none, and no identity service that would have to know.

    Spec: client-server-api#post_matrixclientv3account3piddelete
    """
    del requester, body
    return _NO_SUPPORT


@routes.post("/account/3pid/email/requestToken", public=True)
@routes.post("/account/3pid/msisdn/requestToken", public=True)
@routes.post("/account/password/email/requestToken", public=True)
@routes.post("/account/password/msisdn/requestToken", public=True)
@routes.post("/register/email/requestToken", public=True)
@routes.post("/register/msisdn/requestToken", public=True)
async def send_code(body: JsonBody) -> Any:
    """Refuse: this server writes to nobody.

    Spec: client-server-api#post_matrixclientv3account3pidemailrequesttoken
    """
    del body
    raise NoAddresses


@stable.get("/register/m.login.registration_token/validity", public=True)
async def check_registration_token() -> Any:
    """Refuse: nobody can register here, whatever they were given.

    Spec: client-server-api#get_matrixclientv1registermloginregistration_tokenvalidity
    """
    raise errors.Forbidden("Nobody can register here.")


@routes.get("/login/sso/redirect", public=True)
@routes.get("/login/sso/redirect/{provider}", public=True)
async def redirect_to_provider() -> Any:
    """Nowhere: the owner logs in with a password.

    Spec: client-server-api#get_matrixclientv3loginssoredirect
    """
    raise errors.NotFound("There is no single sign-on here.")


@stable.get("/auth_metadata", public=True)
async def show_authorisation_server() -> Any:
    """None: this server has the password API, which clients ask for next.

    Spec: client-server-api#get_matrixclientv1auth_metadata
    """
    raise errors.Unrecognized


@stable.post("/appservice/{service}/ping", public=True)
async def ping_application_service(body: JsonBody) -> Any:
    """Refuse: there are no application services.

    Spec: application-service-api#post_matrixclientv1appserviceappserviceidping
    """
    del body
    raise errors.Forbidden("There are no application services here.")


@routes.get("/thirdparty/protocols")
async def list_protocols(requester: Requester) -> JsonObject:
    """None: there are no bridges here.

    Spec: client-server-api#get_matrixclientv3thirdpartyprotocols
    """
    del requester
    return {}


@routes.get("/thirdparty/protocol/{protocol}")
@routes.get("/thirdparty/location/{protocol}")
@routes.get("/thirdparty/user/{protocol}")
async def show_protocol(requester: Requester) -> Any:
    """There are no bridges here.

    Spec: client-server-api#get_matrixclientv3thirdpartyprotocolprotocol
    """
    del requester
    raise errors.NotFound("There are no bridges here.")


@routes.get("/thirdparty/location")
@routes.get("/thirdparty/user")
async def find_bridged(requester: Requester) -> bytes:
    """Nothing: there are no bridges here.

    Spec: client-server-api#get_matrixclientv3thirdpartylocation
    """
    del requester
    return b"[]"


@routes.get("/voip/turnServer")
async def show_relay(requester: Requester, relay: Relay) -> JsonObject:
    """The owner's relay for calls.

    Spec: client-server-api#get_matrixclientv3voipturnserver
    """
    del requester
    return relay.credentials()


@files.get("/preview_url")
async def preview(requester: Requester) -> Any:
    """Refuse: to fetch a page tells its server that the owner is about to read it.

    Spec: client-server-api#get_matrixclientv1mediapreview_url
    """
    del requester
    raise errors.NotFound("Pages are not previewed here.")


@well_known.get("/support", public=True)
@well_known.get("/policy_server", public=True)
async def discover_more() -> Any:
    """Nothing: strangers learn nothing about the owner here.

    Spec: client-server-api#getwell-knownmatrixsupport
    """
    raise errors.NotFound("There is nothing to find here.")
