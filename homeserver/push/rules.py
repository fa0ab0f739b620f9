"""The owner's push rules, kept as the account data `m.push_rules`, so that syncs show changes.

Spec: client-server-api#push-rules
"""

from collections.abc import Callable, Sequence
from typing import Any

from homeserver.matrix import default_push_rules
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import UserId
from homeserver.ports import Requester
from homeserver.push import editing
from homeserver.push.editing import Place
from homeserver.storage import account_data, accounts
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

__all__ = ["Place", "PushRules", "load_rules", "refresh_defaults"]

TYPE = "m.push_rules"


class PushRules:
    """Which events the owner wants to be told of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, requester: Requester) -> JsonObject:
        """The whole set, by kind and in the order of importance.

        Spec: client-server-api#get_matrixclientv3pushrules
        """
        return self._database.read(lambda view: load_rules(view, requester.user_id))

    def find(self, requester: Requester, kind: str, rule_id: str) -> JsonObject:
        """One rule. Raises NotFound.

        Spec: client-server-api#get_matrixclientv3pushrulesglobalkindruleid
        """
        return editing.find(self.load(requester), kind, rule_id)

    async def put(
        self, requester: Requester, kind: str, rule_id: str, given: JsonObject, place: Place
    ) -> None:
        """Add or change a rule of the owner's.

        Spec: client-server-api#put_matrixclientv3pushrulesglobalkindruleid
        """
        await self._change(requester, lambda rules: editing.put(rules, kind, rule_id, given, place))

    async def delete(self, requester: Requester, kind: str, rule_id: str) -> None:
        """Delete a rule of the owner's.

        Spec: client-server-api#delete_matrixclientv3pushrulesglobalkindruleid
        """
        await self._change(requester, lambda rules: editing.delete(rules, kind, rule_id))

    async def enable(
        self, requester: Requester, kind: str, rule_id: str, *, is_enabled: bool
    ) -> None:
        """Switch a rule on or off.

        Spec: client-server-api#put_matrixclientv3pushrulesglobalkindruleidenabled
        """
        await self._change(
            requester,
            lambda rules: editing.enable(rules, kind, rule_id, is_enabled=is_enabled),
        )

    async def set_actions(
        self, requester: Requester, kind: str, rule_id: str, actions: Sequence[Any]
    ) -> None:
        """Change what a rule does.

        Spec: client-server-api#put_matrixclientv3pushrulesglobalkindruleidactions
        """
        await self._change(
            requester, lambda rules: editing.set_actions(rules, kind, rule_id, actions)
        )

    async def _change(
        self, requester: Requester, change: Callable[[JsonObject], JsonObject]
    ) -> None:
        def save(work: UnitOfWork) -> None:
            _save(work, requester.user_id, change(load_rules(work, requester.user_id)))

        await self._database.write(save)


def load_rules(view: View, user_id: UserId) -> JsonObject:
    """A user's rules by kind."""
    content = account_data.find_account_data(view, user_id, None, TYPE)
    if content is None:
        return default_push_rules.default_ruleset(user_id)
    rules: JsonObject = content["global"]
    return rules


def refresh_defaults(work: UnitOfWork) -> None:
    """Give the owner the default rules of this version of the program; to be run at start."""
    owner = accounts.find_owner(work)
    if owner is None:
        return
    before = load_rules(work, owner)
    after = editing.with_present_defaults(before, owner)
    if after != before:
        _save(work, owner, after)


def _save(work: UnitOfWork, user_id: UserId, rules: JsonObject) -> None:
    account_data.save_account_data(work, user_id, None, TYPE, {"global": rules})
