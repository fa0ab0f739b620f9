"""Which endpoints of the specification this server has: `docs/spec-coverage.md`.

`python -m tests.conformance.coverage > docs/spec-coverage.md` writes it anew from the route table
and from `docs/spec-endpoints.txt`, the list of what there is in the specification.
"""

import re
import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from api.client.tables import all_routes

DOCS = Path(__file__).resolve().parents[2] / "docs"
# A file of tests, a method, a path: where an endpoint is called with success.
CALLS = Path(__file__).with_name("calls.txt")

# Answered, but always with no: why is in the handlers' words.
REFUSED = {
    (
        "PUT",
        "/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}",
    ): "no application services",
    ("GET", "/.well-known/matrix/policy_server"): "there is none",
    ("GET", "/.well-known/matrix/support"): "strangers learn nothing",
    ("PUT", "/_matrix/client/v1/admin/lock/{userId}"): "one person lives here",
    ("PUT", "/_matrix/client/v1/admin/suspend/{userId}"): "one person lives here",
    ("POST", "/_matrix/client/v1/appservice/{appserviceId}/ping"): "no application services",
    ("GET", "/_matrix/client/v1/auth_metadata"): "clients log in with the password API",
    ("GET", "/_matrix/client/v1/media/preview_url"): "a preview tells the page who reads it",
    ("GET", "/_matrix/media/v3/preview_url"): "a preview tells the page who reads it",
    (
        "GET",
        "/_matrix/client/v1/register/m.login.registration_token/validity",
    ): "one person lives here",
    ("POST", "/_matrix/client/v3/account/3pid"): "no addresses are kept",
    ("POST", "/_matrix/client/v3/account/3pid/add"): "no addresses are kept",
    ("POST", "/_matrix/client/v3/account/3pid/bind"): "no addresses are kept",
    ("POST", "/_matrix/client/v3/account/3pid/email/requestToken"): "no addresses are kept",
    ("POST", "/_matrix/client/v3/account/3pid/msisdn/requestToken"): "no addresses are kept",
    ("POST", "/_matrix/client/v3/account/password/email/requestToken"): "no addresses are kept",
    ("POST", "/_matrix/client/v3/account/password/msisdn/requestToken"): "no addresses are kept",
    ("POST", "/_matrix/client/v3/register/email/requestToken"): "one person lives here",
    ("POST", "/_matrix/client/v3/register/msisdn/requestToken"): "one person lives here",
    ("GET", "/_matrix/client/v3/login/sso/redirect"): "no single sign-on",
    ("GET", "/_matrix/client/v3/login/sso/redirect/{idpId}"): "no single sign-on",
    ("GET", "/_matrix/client/v3/thirdparty/location/{protocol}"): "no bridges",
    ("GET", "/_matrix/client/v3/thirdparty/protocol/{protocol}"): "no bridges",
    ("GET", "/_matrix/client/v3/thirdparty/user/{protocol}"): "no bridges",
    ("POST", "/_matrix/client/v3/register"): "one person lives here",
    ("GET", "/_matrix/client/v3/register/available"): "one person lives here",
    ("GET", "/_matrix/media/v3/download/{serverName}/{mediaId}"): "files take a token",
    ("GET", "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}"): "files take a token",
    ("GET", "/_matrix/media/v3/thumbnail/{serverName}/{mediaId}"): "files take a token",
}

_HEAD = """\
# What there is of the client-server API

Matrix 1.19, endpoint by endpoint. What is not there yet answers 404 `M_UNRECOGNIZED`.
Written by `python -m tests.conformance.coverage`; a test compares. What is done is called over HTTP
with success, by the file of tests that `tests/conformance/calls.txt` names, which else fails.

"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of the specification."""

    method: str
    path: str
    is_deprecated: bool

    def is_answered_by(self, method: str, path: str) -> bool:
        """Whether a route of ours, names and patterns and all, takes its requests."""
        example = re.sub(r"{[^}]+}", "x", self.path)
        return method == self.method and _pattern(path).fullmatch(example) is not None


def endpoints() -> list[Endpoint]:
    """The specification's endpoints."""
    lines = (DOCS / "spec-endpoints.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return [Endpoint(row[0], row[1], is_deprecated=len(row) > 2) for row in rows]


def verdict(endpoint: Endpoint) -> str:
    """Done, refused on purpose, or not yet."""
    reason = REFUSED.get((endpoint.method, endpoint.path))
    if reason is not None:
        return f"refused: {reason}"
    routes = all_routes()
    done = any(endpoint.is_answered_by(route.method, route.path) for route in routes)
    return "done" if done else "not yet"


def calls() -> dict[Endpoint, str]:
    """Which file of tests calls an endpoint with success, by `calls.txt`."""
    known = {(one.method, one.path): one for one in endpoints()}
    rows = [line.split() for line in CALLS.read_text().splitlines()]
    return {known[method, path]: file for file, method, path in rows}


def not_called(file: str, succeeded: Collection[tuple[str, str]]) -> list[str]:
    """What a file of tests should have called with success: methods and paths are given."""
    return [
        f"{one.method} {one.path}"
        for one, calling in calls().items()
        if calling == file and not any(_takes(one, method, path) for method, path in succeeded)
    ]


def _takes(endpoint: Endpoint, method: str, path: str) -> bool:
    pieces = re.split(r"{\w+}", endpoint.path)
    return method == endpoint.method and bool(
        re.fullmatch("[^/]*".join(map(re.escape, pieces)), path)
    )


def coverage() -> str:
    """The whole document."""
    verdicts = {endpoint: verdict(endpoint) for endpoint in endpoints()}
    counts = Counter(
        verdict.partition(":")[0]
        for endpoint, verdict in verdicts.items()
        if not endpoint.is_deprecated
    )
    told = ", ".join(f"{counts[word]} {word}" for word in ("done", "refused", "not yet"))
    parts = [_HEAD, f"{counts.total()} endpoints: {told}.\n"]
    for title, is_deprecated in (("Endpoints", False), ("Deprecated endpoints", True)):
        parts += [f"\n## {title}\n\n", "| endpoint | |\n|---|---|\n"]
        parts += [
            f"| `{one.method} {one.path}` | {verdict} |\n"
            for one, verdict in verdicts.items()
            if one.is_deprecated == is_deprecated
        ]
    return "".join(parts)


def _pattern(path: str) -> re.Pattern[str]:
    pieces = re.split(r"{(\w+(?::[^}]+)?)}", path)
    # Every other piece is a name, perhaps with the pattern of what it stands for.
    return re.compile(
        "".join(
            (piece.partition(":")[2] or "[^/]+") if index % 2 else re.escape(piece)
            for index, piece in enumerate(pieces)
        )
    )


if __name__ == "__main__":
    sys.stdout.write(coverage())
