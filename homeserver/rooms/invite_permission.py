"""Whether a user takes invitations at all.

Spec: client-server-api#invite-permission
"""

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import UserId
from homeserver.storage import account_data
from homeserver.storage.unit_of_work import View

TYPE = "m.invite_permission_config"


def is_blocking(view: View, user_id: UserId) -> bool:
    """Whether every invitation of this user is to be refused."""
    content = account_data.find_account_data(view, user_id, None, TYPE)
    return content is not None and says_block(content)


def says_block(content: JsonObject) -> bool:
    """Whether the account data asks for it; what it does not know changes nothing."""
    return content.get("default_action") == "block"
