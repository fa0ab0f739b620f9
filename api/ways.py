"""By which way an owner's order comes, as the audit trail says it.

No matter of security: whoever has the admin token may come by either.
"""

ADMIN_API, COMMAND_LINE = "admin API", "command line"
# How the command line introduces itself, in `User-Agent`.
COMMAND_LINE_AGENT = "homeserver-command-line"


def of_agent(agent: str | None) -> str:
    """The way that a request came, by what it says was used; whatever is not known is the API."""
    return COMMAND_LINE if agent == COMMAND_LINE_AGENT else ADMIN_API
