"""Settings for peers: named sets of grants, and mistakes that came from the environment."""

import json

from tests.unit.test_config import mistakes, parse


def test_a_mistake_in_the_environment_names_its_variable() -> None:
    assert mistakes({}, HOMESERVER__FEDERATION__POLL_SECONDS="never") == (
        (
            "HOMESERVER__FEDERATION__POLL_SECONDS: federation.poll_seconds: "
            'must be a number above 0 up to 300, not "never"'
        ),
    )
    (line,) = mistakes({}, HOMESERVER__LISTENERS='[{"port": 0}]')
    assert line.startswith("HOMESERVER__LISTENERS: listeners[0].port: must be a whole number")


def test_sets_of_grants_have_names_of_the_owners_choice() -> None:
    sets = {"colleague": {"media_max_bytes": 0}, "friend": None}
    settings = parse({"federation": {"grant_sets": sets}})
    assert settings.federation.grant_sets["colleague"].media_max_bytes == 0
    assert settings.federation.grant_sets["friend"].presence is None
    assert parse({}, HOMESERVER__FEDERATION__GRANT_SETS=json.dumps(sets)) == settings


def test_mistakes_in_a_set_of_grants_are_told_like_any_other() -> None:
    sets = {"colleague": {"media_max_bytes": -1, "presense": True}}
    assert sorted(mistakes({"federation": {"grant_sets": sets}})) == [
        (
            "federation.grant_sets.colleague.media_max_bytes: "
            "must be a whole number or null of at least 0, not -1"
        ),
        "federation.grant_sets.colleague.presense: no such setting; did you mean presence?",
    ]
