"""Push rules, and pushers, of which there are none yet.

Spec: client-server-api#push-notifications
"""

from typing import Any

from pydantic import BaseModel, StrictBool

from api.routing import JsonBody, Query, Routes
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester
from homeserver.push.rules import Place, PushRules

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")


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
async def list_pushers(requester: Requester) -> JsonObject:
    """None: this server pushes to no gateway yet.

    Spec: client-server-api#get_matrixclientv3pushers
    """
    del requester
    return {"pushers": []}
