import re

from api.client.tables import all_routes
from tests.conformance import coverage

# What clients ask for and other specifications have.
_FROM_ELSEWHERE = {
    "/_matrix/federation/v1/openid/userinfo",  # the server-server API: widgets ask
    "/_matrix/client/v4/sync",  # MSC4186: simplified sliding sync
}


def test_the_document_is_current() -> None:
    written = (coverage.DOCS / "spec-coverage.md").read_text()
    assert written == coverage.coverage(), "python -m tests.conformance.coverage writes it anew"


def test_what_clients_need_is_there() -> None:
    verdicts = {(one.method, one.path): coverage.verdict(one) for one in coverage.endpoints()}
    assert verdicts["GET", "/_matrix/client/v3/sync"] == "done"
    assert (
        verdicts["PUT", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}"] == "done"
    )
    assert "not yet" not in verdicts.values()


def test_what_is_done_is_called_by_some_test_with_success() -> None:
    called = coverage.calls()
    done = [one for one in coverage.endpoints() if coverage.verdict(one) == "done"]
    assert [one for one in done if one not in called] == [], "calls.txt names who calls it"
    assert [one for one in called if one not in done] == []


def test_a_call_that_was_refused_or_went_elsewhere_does_not_count() -> None:
    first, file = next(iter(coverage.calls().items()))
    example = (first.method, re.sub(r"{\w+}", "!x%3Ay", first.path))
    told = f"{first.method} {first.path}"
    assert told not in coverage.not_called(file, {example})
    assert told in coverage.not_called(file, {(first.method, first.path + "/more")})
    assert told in coverage.not_called(file, set())


def test_what_is_nowhere_is_told_so() -> None:
    nowhere = coverage.Endpoint("GET", "/_matrix/client/v3/nowhere", is_deprecated=False)
    assert coverage.verdict(nowhere) == "not yet"


def test_every_refusal_is_about_an_endpoint_that_is_answered() -> None:
    known = {(one.method, one.path): one for one in coverage.endpoints()}
    for name in coverage.REFUSED:
        assert any(known[name].is_answered_by(route.method, route.path) for route in all_routes())


def test_no_route_is_our_own_invention() -> None:
    """Old prefixes aside, whatever we answer below /_matrix the specification has."""
    for route in all_routes():
        if "/r0/" in route.path or "/unstable/" in route.path:
            continue
        if route.path in _FROM_ELSEWHERE:
            continue
        known = any(one.is_answered_by(route.method, route.path) for one in coverage.endpoints())
        # The specification writes an empty state key as a trailing slash that may be left out.
        assert known or route.path.endswith("/state/{event_type}"), route.path
