"""The settings: defaults, overrides, and a clear line for each mistake."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from homeserver import config
from homeserver.config import Config, ConfigError, fields


def parse(given: dict[str, Any], **environ: str) -> Config:
    return config.parse(given, Path("/somewhere"), environ)


def mistakes(given: dict[str, Any], **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(given, **environ)
    return caught.value.lines


def leaves(model: type[Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, field in model.model_fields.items():
        section = fields.section_of(field.annotation)
        if (
            section is None
            or fields.is_list(field.annotation)
            or fields.is_mapping(field.annotation)
        ):
            found.append((*path, name))
        if section is not None and not fields.is_mapping(field.annotation):
            found += leaves(section, (*path, name))
    return found


def test_nothing_given_means_one_loopback_listener_and_sqlite_in_the_data_directory() -> None:
    settings = parse({})
    assert [(one.bind, one.port, one.serves) for one in settings.listeners] == [
        ("127.0.0.1", 8008, ("client", "federation", "admin"))
    ]
    assert settings.database_url == "sqlite:////somewhere/homeserver.db"
    assert settings.data_dir == Path("/somewhere")
    assert settings.federation.default_grants.media_max_bytes == 25 * 1024 * 1024
    assert not settings.federation.default_grants.presence


def test_every_setting_has_a_description_that_is_a_sentence() -> None:
    for path in leaves(Config):
        field = fields.find(Config, path)
        assert field is not None
        assert field.description, path
        assert field.description[-1] in ".-", path


def test_lengths_and_sizes_say_their_unit() -> None:
    for path in leaves(Config):
        field = fields.find(Config, path)
        assert field is not None
        unit = path[-1].rpartition("_")[2]
        if unit in {"seconds", "days", "bytes", "pixels"}:
            assert f"in {unit}" in (field.description or ""), path


def test_loading_the_example_gives_the_defaults() -> None:
    example = yaml.safe_load(config.example_yaml())
    assert parse(example) == parse({})
    assert {tuple(path) for path in leaves(Config) if path[0] != "listeners"} == {
        (section, *rest)
        for section, value in example.items()
        if section != "listeners"
        for rest in (_paths(value) if isinstance(value, dict) else [()])
    }


def _paths(section: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, *rest)
        for name, value in section.items()
        for rest in (_paths(value) if isinstance(value, dict) and value else [()])
    ]


def test_the_file_beside_the_project_is_the_generated_example() -> None:
    beside = Path(__file__).parents[2] / "config.example.yaml"
    assert beside.read_text(encoding="utf-8") == config.example_yaml(), (
        "homeserver init --print > config.example.yaml"
    )


def test_an_empty_section_means_its_defaults() -> None:
    assert parse({"federation": None}) == parse({})


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(parse({}), "data_dir", Path("/elsewhere"))  # noqa: B010 - mypy knows it too


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"federation": {"default_grants": {"media_max_bytes": "much"}}},
            (
                "federation.default_grants.media_max_bytes: must be a whole number of at least 0, "
                'not "much"'
            ),
        ),
        (
            {"federation": {"default_grants": {"profile": "some"}}},
            'federation.default_grants.profile: must be one of all, name, none, not "some"',
        ),
        (
            {"server": {"user_nam": "a"}},
            "server.user_nam: no such setting; did you mean user_name?",
        ),
        ({"serverr": {}}, "serverr: no such setting; did you mean server?"),
        ({"xyz": 1}, "xyz: no such setting"),
        (
            {"listeners": [{"port": 0}]},
            "listeners[0].port: must be a whole number from 1 to 65535, not 0",
        ),
        (
            {"listeners": []},
            (
                "listeners: must be a list, each a section of settings, at least 1 entries, "
                "at most 16 entries, not []"
            ),
        ),
        (
            {"listeners": [{"serves": ["client", "cat"]}]},
            'listeners[0].serves[1]: must be one of client, federation, admin, not "cat"',
        ),
        (
            {"listeners": [{"bind": "0.0.0.0"}]},
            (
                "listeners[0]: must not serve admin beyond this machine; give admin a listener of "
                "its own at 127.0.0.1"
            ),
        ),
        (
            {"listeners": [{"bind": "here"}]},
            "listeners[0].bind: must be an IP address such as 127.0.0.1, 0.0.0.0 or ::",
        ),
        (
            {"listeners": [{"tls_key": "key.pem"}]},
            "listeners[0]: tls_certificate and tls_key must be given together",
        ),
        (
            {"listeners": [{}, {"serves": ["client"]}]},
            "listeners: must not use 127.0.0.1 port 8008 twice",
        ),
        (
            {"server": {"public_urls": ["ftp://example.org"]}},
            "server.public_urls[0]: must look like https://example.org or http://192.0.2.1:8008",
        ),
        (
            {"server": {"server_name": "Example"}},
            "server.server_name: must be a lower-case DNS name such as matrix.example.org, or null",
        ),
        (
            {"database": {"url": "postgresql+psycopg://me:hush@localhost/x"}},
            "database.url: must not hold a password; use password_file",
        ),
        (
            {"database": {"url": "mysql://localhost"}},
            "database.url: must start with sqlite:/// or postgresql+psycopg://",
        ),
        ({"media": 5}, "media: must be a section of settings, not 5"),
        (
            {"federation": {"poll_seconds": float("inf")}},
            "federation.poll_seconds: must be a number above 0 up to 300, not Infinity",
        ),
        (
            {"federation": {"retry_max_seconds": 0.5}},
            "federation: retry_min_seconds must not be more than retry_max_seconds",
        ),
        (
            {"secrets": {"passphrase_file": 4}},
            "secrets.passphrase_file: must be a path or null, not 4",
        ),
    ],
)
def test_each_mistake_is_one_line_that_says_what_is_allowed(given: Any, line: str) -> None:
    assert mistakes(given) == (line,)


def test_all_mistakes_are_told_at_once() -> None:
    lines = mistakes(
        {"media": {"max_pixels": -1}, "what": 1},
        HOMESERVER__LOGGING__LEVEL="loud",
        HOMESERVER__NO="1",
    )
    assert sorted(line.split(":")[0] for line in lines) == [
        "HOMESERVER__LOGGING__LEVEL",
        "HOMESERVER__NO",
        "media.max_pixels",
        "what",
    ]


def test_a_password_in_the_url_is_not_repeated() -> None:
    (line,) = mistakes({"database": {"url": "postgresql+psycopg://me:hush@localhost/x"}})
    assert "hush" not in line


@pytest.mark.parametrize("path", leaves(Config), ids=".".join)
def test_every_setting_outside_lists_can_be_given_in_the_environment(path: tuple[str, ...]) -> None:
    if path[0] == "listeners" and len(path) > 1:
        pytest.skip("stands in a list, which is given as a whole")
    default: Any = Config()
    for step in path:
        default = getattr(default, step)
    text = json.dumps(
        [one.model_dump(mode="json") if hasattr(one, "model_dump") else one for one in default]
        if isinstance(default, tuple)
        else default,
        default=str,
    )
    variable = "HOMESERVER__" + "__".join(path).upper()
    assert parse({}, **{variable: text.strip('"')}) == parse({})


def test_the_environment_wins_over_the_file_and_leaves_the_rest() -> None:
    given = {"federation": {"poll_seconds": 5, "default_grants": {"typing": False}}}
    settings = parse(
        given,
        HOMESERVER__FEDERATION__DEFAULT_GRANTS__PRESENCE="true",
        HOMESERVER__LISTENERS='[{"port": 9000}]',
        HOMESERVER__SERVER__SERVER_NAME="null",
    )
    assert settings.federation.poll_seconds == 5
    assert not settings.federation.default_grants.typing
    assert settings.federation.default_grants.presence
    assert settings.listeners[0].port == 9000
    assert given == {"federation": {"poll_seconds": 5, "default_grants": {"typing": False}}}


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("HOMESERVER__MEDIA__MAX_PIXEL", "4", "HOMESERVER__MEDIA__MAX_PIXEL: no such setting"),
        ("HOMESERVER__media__max_pixels", "4", "HOMESERVER__media__max_pixels: no such setting"),
        ("HOMESERVER__", "4", "HOMESERVER__: no such setting"),
        (
            "HOMESERVER__SERVER__PUBLIC_URLS",
            "http://a",
            (
                "HOMESERVER__SERVER__PUBLIC_URLS: must be a list, each text, at most 5 entries, "
                "written as JSON"
            ),
        ),
        (
            "HOMESERVER__FEDERATION__RATCHETS",
            "des",
            (
                "HOMESERVER__FEDERATION__RATCHETS: federation.ratchets: "
                'must be one of python-olm, vodozemac, not "des"'
            ),
        ),
    ],
)
def test_a_wrong_variable_is_a_mistake(variable: str, value: str, line: str) -> None:
    assert mistakes({}, **{variable: value}) == (line,)


def test_other_variables_do_not_matter() -> None:
    assert parse({}, HOMESERVER_TEST_POSTGRES="x", HOME="/") == parse({})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("server: [", "line 1, column 10: expected the node content, but found '<stream end>'"),
        ("media: {}\nmedia: {}", "line 2, column 1: media stands twice"),
        ("- a\n- b", "must hold names and values, `server:` and so on"),
    ],
)
def test_a_file_that_is_no_map_is_told_with_its_place(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(file, {})
    assert caught.value.lines == (f"{file}: {line}",)


def test_a_missing_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; `homeserver init` makes one"):
        config.load(tmp_path / "config.yaml", {})


def test_the_data_directory_is_where_the_file_is_unless_it_says_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("", encoding="utf-8")
    assert config.load(file, {}).data_dir == tmp_path
    file.write_text("data_dir: files", encoding="utf-8")
    assert config.load(file, {}).database_url == f"sqlite:///{tmp_path}/files/homeserver.db"


def test_the_password_of_postgresql_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("p@ss/wörd\n", encoding="utf-8")
    url = "postgresql+psycopg://me@localhost/x"
    given = {"database": {"url": url, "password_file": "pw"}}
    settings = config.parse(given, tmp_path, {})
    assert settings.database_url == ("postgresql+psycopg://me:p%40ss%2Fw%C3%B6rd@localhost/x")


@pytest.mark.parametrize(
    ("listener", "url"),
    [
        ({}, "http://127.0.0.1:8008"),
        ({"bind": "0.0.0.0", "serves": ["client"]}, "http://127.0.0.1:8008"),
        ({"bind": "::", "serves": ["client"], "port": 1}, "http://[::1]:1"),
        ({"bind": "localhost", "tls_key": "k", "tls_certificate": "c"}, "https://127.0.0.1:8008"),
    ],
)
def test_a_listener_knows_where_this_machine_finds_it(listener: Any, url: str) -> None:
    assert parse({"listeners": [listener]}).listeners[0].url == url


def test_the_listener_for_a_service_is_the_first_that_serves_it() -> None:
    settings = parse(
        {
            "listeners": [
                {"bind": "192.0.2.1", "serves": ["federation"]},
                {"port": 8009, "serves": ["admin"]},
            ]
        }
    )
    admin = settings.listener_serving("admin")
    assert admin is not None
    assert admin.port == 8009
    assert settings.listener_serving("client") is None
