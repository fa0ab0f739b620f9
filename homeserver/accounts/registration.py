"""Make the one account of this server."""

import orjson

from homeserver.matrix import default_push_rules
from homeserver.matrix.identifiers import UserId, localpart
from homeserver.storage import account_data, accounts
from homeserver.storage.unit_of_work import UnitOfWork


def create_owner(work: UnitOfWork, user_id: UserId, password_hash: str, now_ms: int) -> None:
    """Make the owner's account, with a display name (clients fare badly without) and push rules."""
    accounts.save_user(work, user_id, password_hash, now_ms)
    accounts.save_profile(work, user_id, orjson.dumps({"displayname": localpart(user_id)}))
    account_data.save_account_data(
        work, user_id, None, "m.push_rules", {"global": default_push_rules.default_ruleset(user_id)}
    )
