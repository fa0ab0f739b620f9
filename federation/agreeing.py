"""What somebody we agree with may do: a named set of grants, or what was agreed before. Pure."""

from dataclasses import replace

from federation import consent, grants
from federation.consent import Standing
from homeserver import errors
from homeserver.config import FederationSettings
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage.peers import Peer


def chosen(settings: FederationSettings, grant_set: str | None) -> JsonObject | None:
    """The grants of a named set; None where none was named. Raises `InvalidParam`."""
    if grant_set is None:
        return None
    found = settings.grant_sets.get(grant_set)
    if found is None:
        known = ", ".join(sorted(settings.grant_sets)) or "none"
        raise errors.InvalidParam(
            f"There is no set of grants called {grant_set}. Your settings have: {known}."
        )
    differing = found.model_dump(exclude_none=True)
    return grants.by_default(settings.default_grants).model_dump() | differing


def impersonal(settings: FederationSettings, grant_set: str | None) -> JsonObject:
    """What a named set changes of somebody's grants: not the note, nor when they end."""
    given = chosen(settings, grant_set) or {}
    return {name: value for name, value in given.items() if name not in ("note", "expires_at")}


def begun_again(settings: FederationSettings, known: Peer, given: JsonObject | None) -> Peer:
    """Somebody we know, with what the owner chose now. A connection that stands keeps its own.

    What was granted before an end does not come back by itself.
    """
    standing = Standing(known.standing)
    if given is None and consent.is_ended(standing):
        given = grants.by_default(settings.default_grants).model_dump()
    if given is None or consent.is_connected(standing):
        return known
    return replace(known, grants=given | {"note": known.grants.get("note", "")})
