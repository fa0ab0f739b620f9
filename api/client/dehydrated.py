"""The dehydrated device, which receives keys while no client is logged in (MSC3814)."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictStr

from api.routing import Query, Routes
from homeserver.encryption.dehydration import Dehydration, PutAway
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId
from homeserver.ports import Requester

routes = Routes("/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device")

_KEYS_LIMIT = 500
_Keys = Annotated[dict[str, Any] | None, Field(max_length=_KEYS_LIMIT)]


class PutBody(BaseModel):
    """A device that a client puts away."""

    device_id: Annotated[StrictStr, Field(min_length=1, max_length=255)]
    device_data: JsonObject
    device_keys: JsonObject
    initial_device_display_name: Annotated[StrictStr, Field(max_length=255)] | None = None
    one_time_keys: _Keys = None
    fallback_keys: _Keys = None


class From(BaseModel):
    """Where a page of events begins."""

    from_: Annotated[str | None, Field(alias="from")] = None


class EventsBody(BaseModel):
    """Where a page of events begins, as clients first said it."""

    next_batch: StrictStr | None = None


@routes.put("")
async def put_device(requester: Requester, body: PutBody, dehydration: Dehydration) -> JsonObject:
    """Put a device away in place of the one before."""
    device = PutAway(
        DeviceId(body.device_id),
        body.device_data,
        body.initial_device_display_name,
        body.device_keys,
        body.one_time_keys or {},
        body.fallback_keys or {},
    )
    await dehydration.put(requester, device)
    return {"device_id": body.device_id}


@routes.get("")
async def get_device(requester: Requester, dehydration: Dehydration) -> JsonObject:
    """The device that was put away last."""
    return dehydration.find(requester)


@routes.delete("")
async def delete_device(requester: Requester, dehydration: Dehydration) -> JsonObject:
    """Forget the device."""
    return {"device_id": await dehydration.delete(requester)}


@routes.get("/{device_id}/events")
async def get_events(
    requester: Requester, device_id: DeviceId, query: Query[From], dehydration: Dehydration
) -> JsonObject:
    """What was sent to the device; without `next_batch` there is no more."""
    events, reached, has_more = dehydration.events(requester, device_id, query.from_)
    return {"events": events} | ({"next_batch": reached} if has_more else {})


@routes.post("/{device_id}/events")
async def list_events(
    requester: Requester, device_id: DeviceId, body: EventsBody, dehydration: Dehydration
) -> JsonObject:
    """The same for clients that go on until a page is empty."""
    events, reached, _ = dehydration.events(requester, device_id, body.next_batch)
    return {"events": events, "next_batch": reached}
