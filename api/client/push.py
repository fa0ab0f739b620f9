"""Push rules, pushers, and what the owner was notified of.

Spec: client-server-api#push-notifications
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from api.routing import JsonBody, Query, Routes
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester
from homeserver.push.history import NotificationHistory
from homeserver.push.pushers import Address, Pushers
from homeserver.push.rules import Place, PushRules

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")

_LONGEST = 1_000
_LARGEST_PAGE = 100


class PlaceQuery(BaseModel):
    """Beside which rule a rule is put."""

    before: str | None = None
    after: str | None = None


class EnabledBody(BaseModel):
    """Whether a rule is on."""

    enabled: StrictBool


class ActionsBody(BaseModel):
    """What a rule does."""

    actions: list[Any]


class GatewayBody(BaseModel):
    """Where the gateway is, and how much it is told. What else stands there goes to it."""

    model_config = ConfigDict(extra="allow")

    url: StrictStr | None = Field(None, max_length=_LONGEST)
    format: StrictStr | None = Field(None, max_length=_LONGEST)


class PusherBody(BaseModel):
    """A pusher."""

    app_id: StrictStr = Field(min_length=1, max_length=64)
    pushkey: StrictStr = Field(min_length=1, max_length=512)
    kind: Literal["http"] | None
    app_display_name: StrictStr | None = Field(None, max_length=_LONGEST)
    device_display_name: StrictStr | None = Field(None, max_length=_LONGEST)
    profile_tag: StrictStr | None = Field(None, max_length=_LONGEST)
    lang: StrictStr = Field("en", max_length=64)
    data: GatewayBody | None = None
    append: StrictBool = False


class NotificationsQuery(BaseModel):
    """Where to go on, how many, and which."""

    start: str | None = Field(None, alias="from")
    limit: int = Field(20, ge=0)
    only: str | None = None


@routes.get("/pushrules/")
async def get_rulesets(requester: Requester, rules: PushRules) -> JsonObject:
    """All rules; there is one set, named global.

    Spec: client-server-api#get_matrixclientv3pushrules
    """
    return {"global": rules.load(requester)}


@routes.get("/pushrules/global/")
async def get_rules(requester: Requester, rules: PushRules) -> JsonObject:
    """All rules by kind.

    Spec: client-server-api#get_matrixclientv3pushrulesglobal
    """
    return rules.load(requester)


@routes.get("/pushrules/global/{kind}/{rule_id}")
async def get_rule(requester: Requester, kind: str, rule_id: str, rules: PushRules) -> JsonObject:
    """One rule.

    Spec: client-server-api#get_matrixclientv3pushrulesglobalkindruleid
    """
    return rules.find(requester, kind, rule_id)


@routes.put("/pushrules/global/{kind}/{rule_id}")
async def put_rule(
    requester: Requester,
    kind: str,
    rule_id: str,
    place: Query[PlaceQuery],
    body: JsonBody,
    rules: PushRules,
) -> JsonObject:
    """Add or change a rule.

    Spec: client-server-api#put_matrixclientv3pushrulesglobalkindruleid
    """
    await rules.put(requester, kind, rule_id, body.root, Place(place.before, place.after))
    return {}


@routes.delete("/pushrules/global/{kind}/{rule_id}")
async def delete_rule(
    requester: Requester, kind: str, rule_id: str, rules: PushRules
) -> JsonObject:
    """Delete a rule.

    Spec: client-server-api#delete_matrixclientv3pushrulesglobalkindruleid
    """
    await rules.delete(requester, kind, rule_id)
    return {}


@routes.get("/pushrules/global/{kind}/{rule_id}/enabled")
async def get_enabled(
    requester: Requester, kind: str, rule_id: str, rules: PushRules
) -> JsonObject:
    """Whether a rule is on.

    Spec: client-server-api#get_matrixclientv3pushrulesglobalkindruleidenabled
    """
    return {"enabled": rules.find(requester, kind, rule_id)["enabled"]}


@routes.put("/pushrules/global/{kind}/{rule_id}/enabled")
async def set_enabled(
    requester: Requester, kind: str, rule_id: str, body: EnabledBody, rules: PushRules
) -> JsonObject:
    """Switch a rule on or off.

    Spec: client-server-api#put_matrixclientv3pushrulesglobalkindruleidenabled
    """
    await rules.enable(requester, kind, rule_id, is_enabled=body.enabled)
    return {}


@routes.get("/pushrules/global/{kind}/{rule_id}/actions")
async def get_actions(
    requester: Requester, kind: str, rule_id: str, rules: PushRules
) -> JsonObject:
    """What a rule does.

    Spec: client-server-api#get_matrixclientv3pushrulesglobalkindruleidactions
    """
    return {"actions": rules.find(requester, kind, rule_id)["actions"]}


@routes.put("/pushrules/global/{kind}/{rule_id}/actions")
async def set_actions(
    requester: Requester, kind: str, rule_id: str, body: ActionsBody, rules: PushRules
) -> JsonObject:
    """Change what a rule does.

    Spec: client-server-api#put_matrixclientv3pushrulesglobalkindruleidactions
    """
    await rules.set_actions(requester, kind, rule_id, body.actions)
    return {}


@routes.get("/pushers")
async def list_pushers(requester: Requester, pushers: Pushers) -> JsonObject:
    """The gateways that are told when something happens.

    Spec: client-server-api#get_matrixclientv3pushers
    """
    return {"pushers": pushers.list_all(requester)}


@routes.post("/pushers/set")
async def set_pusher(requester: Requester, body: PusherBody, pushers: Pushers) -> JsonObject:
    """Add, change or, with the kind null, delete a pusher.

    Spec: client-server-api#post_matrixclientv3pushersset
    """
    address = Address(body.app_id, body.pushkey)
    if body.kind is None:
        await pushers.delete(requester, address)
        return {}
    if body.data is None or body.app_display_name is None or body.device_display_name is None:
        raise errors.MissingParam("A pusher needs data, app_display_name and device_display_name.")
    shown = body.model_dump(exclude_none=True, exclude={"app_id", "pushkey", "append"})
    await pushers.put(requester, address, shown)
    return {}


@routes.get("/notifications")
async def list_notifications(
    requester: Requester, page: Query[NotificationsQuery], history: NotificationHistory
) -> JsonObject:
    """What the owner was notified of, newest first.

    Spec: client-server-api#get_matrixclientv3notifications
    """
    limit = max(1, min(page.limit, _LARGEST_PAGE))
    return await history.page(
        requester, page.start, limit, only_highlights=page.only == "highlight"
    )
