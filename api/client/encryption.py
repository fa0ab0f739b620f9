"""Device keys, one-time keys, cross-signing, and messages to devices.

Spec: client-server-api#end-to-end-encryption
"""

from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictStr

from api.routing import JsonBody, Query, Routes
from homeserver import errors
from homeserver.accounts.interactive_auth import InteractiveAuth
from homeserver.encryption.cross_signing import CrossSigning
from homeserver.encryption.device_keys import DeviceKeys
from homeserver.encryption.to_device import ToDevice
from homeserver.encryption.uploading import KeyUploads
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester
from homeserver.sync import tokens

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")

_KEYS_LIMIT = 500


class UploadBody(BaseModel):
    """Keys a device publishes."""

    device_keys: JsonObject | None = None
    one_time_keys: Annotated[JsonObject | None, Field(max_length=_KEYS_LIMIT)] = None
    fallback_keys: Annotated[JsonObject | None, Field(max_length=_KEYS_LIMIT)] = None


class QueryBody(BaseModel):
    """Whose devices are asked for; an empty list means all of them."""

    device_keys: dict[str, list[StrictStr]]
    timeout: int = 10_000


class ClaimBody(BaseModel):
    """The devices that are to be written to, with the algorithm."""

    one_time_keys: dict[str, dict[str, StrictStr]]
    timeout: int = 10_000


class Span(BaseModel):
    """Two sync tokens."""

    from_: Annotated[str, Field(alias="from")]
    to: str


class SigningKeysBody(BaseModel):
    """Cross-signing keys, and the password once it was asked for."""

    master_key: JsonObject | None = None
    self_signing_key: JsonObject | None = None
    user_signing_key: JsonObject | None = None
    auth: JsonObject | None = None


class ToDeviceBody(BaseModel):
    """Messages by user and device."""

    messages: dict[str, dict[str, JsonObject]]


@routes.post("/keys/upload")
async def upload_keys(requester: Requester, body: UploadBody, uploads: KeyUploads) -> JsonObject:
    """Publish this device's keys.

    Spec: client-server-api#post_matrixclientv3keysupload
    """
    counts = await uploads.upload(
        requester, body.device_keys, body.one_time_keys or {}, body.fallback_keys or {}
    )
    return {"one_time_key_counts": counts}


@routes.post("/keys/query")
async def query_keys(requester: Requester, body: QueryBody, keys: DeviceKeys) -> JsonObject:
    """Which devices people have.

    Spec: client-server-api#post_matrixclientv3keysquery
    """
    return await keys.query(requester, body.device_keys)


@routes.post("/keys/claim")
async def claim_keys(requester: Requester, body: ClaimBody, keys: DeviceKeys) -> JsonObject:
    """Take a key for each device that is to be written to.

    Spec: client-server-api#post_matrixclientv3keysclaim
    """
    del requester
    return await keys.claim(body.one_time_keys)


@routes.get("/keys/changes")
async def list_changes(requester: Requester, span: Query[Span], keys: DeviceKeys) -> JsonObject:
    """Whose devices changed between two syncs.

    Spec: client-server-api#get_matrixclientv3keyschanges
    """
    return keys.changes(
        requester, tokens.parse(span.from_).position, tokens.parse(span.to).position
    )


@routes.post("/keys/device_signing/upload")
async def upload_signing_keys(
    requester: Requester,
    body: SigningKeysBody,
    cross_signing: CrossSigning,
    confirmation: InteractiveAuth,
) -> JsonObject:
    """Publish cross-signing keys; replacing some needs the password.

    Spec: client-server-api#post_matrixclientv3keysdevice_signingupload
    """
    given: dict[str, Any] = {
        "master": body.master_key,
        "self_signing": body.self_signing_key,
        "user_signing": body.user_signing_key,
    }
    keys = {usage: key for usage, key in given.items() if key is not None}
    needs_password = cross_signing.replaces_keys(requester, keys)
    if needs_password:
        await confirmation.confirm(requester, "replace the cross-signing keys", body.auth)
    await cross_signing.upload(requester, keys, is_confirmed=needs_password)
    return {}


@routes.post("/keys/signatures/upload")
async def upload_signatures(
    requester: Requester, body: JsonBody, cross_signing: CrossSigning
) -> JsonObject:
    """Publish what the owner's keys have signed.

    Spec: client-server-api#post_matrixclientv3keyssignaturesupload
    """
    if not all(isinstance(by_key, dict) for by_key in body.root.values()):
        raise errors.BadJson("Signed objects are expected by user and key.")
    return {"failures": await cross_signing.add_signatures(requester, body.root)}


@routes.put("/sendToDevice/{event_type}/{txn_id}")
async def send_to_device(
    requester: Requester, event_type: str, txn_id: str, body: ToDeviceBody, to_device: ToDevice
) -> JsonObject:
    """Send messages to devices; the same txn_id again changes nothing.

    Spec: client-server-api#put_matrixclientv3sendtodeviceeventtypetxnid
    """
    await to_device.send(requester, event_type, txn_id, body.messages)
    return {}
