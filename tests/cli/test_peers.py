"""`homeserver peers` and `homeserver status`, against a stand-in for the admin API."""

import json
from pathlib import Path
from typing import Any

import pytest

from homeserver.cli import peers
from tests.cli.conftest import Admin, Run

BOB = "b" * 52 + ".p2p.alt"
BEA = "b" * 51 + "e.p2p.alt"


def peer(server_name: str = BOB, **more: Any) -> dict[str, Any]:
    return {
        "server_name": server_name,
        "standing": "active",
        "name": "Bob",
        "last_heard_at": None,
        "outbox_pending": 3,
        "grants_given": {"messages": True, "media_max_bytes": 5, "presence": False},
    } | more


def test_invite_prints_the_link_alone(admin: Admin, run: Run) -> None:
    admin.answer("POST", "/invitations", {"id": "1", "link": "homeserver://connect#abc"})
    result = run("peers", "invite")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "homeserver://connect#abc\n", "")


def test_invite_warns_beside_the_link_when_only_this_machine_can_use_it(
    admin: Admin, run: Run
) -> None:
    admin.answer("POST", "/invitations", {"link": "homeserver://x", "loopback_only": True})
    result = run("peers", "invite")
    assert result.stdout == "homeserver://x\n"
    assert "only works on this machine" in result.stderr


def test_invite_in_json_is_the_whole_answer(admin: Admin, run: Run) -> None:
    answer = {"id": "1", "link": "homeserver://x", "expires_at": 5}
    admin.answer("POST", "/invitations", answer)
    assert json.loads(run("peers", "invite", "--json").stdout) == answer


def test_connect_waits_until_the_connection_is_active(admin: Admin, run: Run) -> None:
    admin.answer("POST", "/peers", peer(standing="offered"))
    admin.answer("GET", f"/peers/{BOB}", peer(standing="offered"))
    admin.answer("GET", f"/peers/{BOB}", peer())
    result = run("peers", "connect", "homeserver://x")
    assert (result.exit_code, result.stdout) == (0, f"Connected to Bob ({BOB}).\n")
    assert admin.asked[0] == ("POST", "/peers", {"link": "homeserver://x"})
    assert len(admin.asked) == 3


def test_connect_gives_up_after_a_while_and_keeps_the_request(
    admin: Admin, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_CONNECT_LIMIT_S", 0.3)
    admin.answer("POST", "/peers", peer(standing="offered", name=None))
    admin.answer("GET", f"/peers/{BOB}", peer(standing="offered", name=None))
    result = run("peers", "connect", "homeserver://x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: {BOB} has not answered yet; the request is kept and repeated.\n"
    )


def test_a_refusal_is_told_in_the_servers_own_sentence(admin: Admin, run: Run) -> None:
    admin.answer("POST", "/peers", {"errcode": "M_FORBIDDEN", "error": "That link is spent."}, 403)
    result = run("peers", "connect", "homeserver://x")
    assert (result.exit_code, result.stderr) == (1, "Error: That link is spent.\n")


def test_list_is_an_aligned_table(admin: Admin, run: Run) -> None:
    admin.answer("GET", "/peers", {"peers": [peer(), peer(BEA, name="Beatrice")]})
    assert run("peers", "list").stdout.splitlines() == [
        f"NAME      STANDING  LAST HEARD  WAITING  {'SERVER'}",
        f"Bob       active    never       3        {BOB}",
        f"Beatrice  active    never       3        {BEA}",
    ]


def test_list_in_json_is_a_list(admin: Admin, run: Run) -> None:
    admin.answer("GET", "/peers", {"peers": [peer()]})
    assert json.loads(run("peers", "list", "--json").stdout) == [peer()]


@pytest.mark.parametrize("name", [BOB, "Bob", "b" * 52])
def test_a_peer_is_found_by_name_server_or_its_beginning(admin: Admin, run: Run, name: str) -> None:
    admin.answer("GET", "/peers", [peer(), peer(BEA, name="Bea")])
    admin.answer("GET", f"/peers/{BOB}", peer())
    result = run("peers", "show", name)
    assert result.exit_code == 0
    assert "grants given:    messages yes, media_max_bytes 5, presence no" in result.stdout
    assert "last heard at:   never" in result.stdout


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Carol", "There is no connection with Carol."),
        ("bbbb", f"bbbb could be any of these: {BOB}, {BEA}."),
    ],
)
def test_a_name_that_fits_none_or_several_changes_nothing(
    admin: Admin, run: Run, name: str, sentence: str
) -> None:
    admin.answer("GET", "/peers", [peer(), peer(BEA, name="Bea")])
    result = run("peers", "revoke", name)
    assert (result.exit_code, result.stderr) == (1, f"Error: {sentence}\n")
    assert [method for method, *_ in admin.asked] == ["GET"]


@pytest.mark.parametrize("verb", ["pause", "resume", "revoke"])
def test_pause_resume_and_revoke_post_their_verb(admin: Admin, run: Run, verb: str) -> None:
    admin.answer("GET", "/peers", [peer()])
    admin.answer("POST", f"/peers/{BOB}/{verb}", peer(standing="changed"))
    assert run("peers", verb, "Bob").exit_code == 0
    assert json.loads(run("peers", verb, "Bob", "--json").stdout)["standing"] == "changed"
    assert [path for method, path, _ in admin.asked if method == "POST"] == [
        f"/peers/{BOB}/{verb}"
    ] * 2


def test_status_is_readable_and_complete_in_json(admin: Admin, run: Run) -> None:
    status = {"user_id": "@a:b", "uptime_s": 65, "peers": {"active": 2}, "outbox_pending": 0}
    admin.answer("GET", "/status", status)
    assert run("status").stdout.splitlines() == [
        "user id:         @a:b",
        "peers:           active 2",
        "outbox pending:  0",
        "running for:     0:01:05",
    ]
    assert json.loads(run("status", "--json").stdout) == status


def test_a_server_that_is_not_running_is_told_in_one_sentence(run: Run) -> None:
    result = run("status")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The server is not running: nothing answers at http://")
    assert result.stderr.count("\n") == 1


def test_a_proxy_in_the_environment_is_not_used(
    admin: Admin, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:1")
    admin.answer("GET", "/status", {"user_id": "@a:b"})
    assert run("status").exit_code == 0


def test_something_else_on_the_port_is_told(admin: Admin, run: Run) -> None:
    admin.answer("GET", "/status", b"<html>")
    assert "Something else than this server answers" in run("status").stderr


def test_a_wrong_token_is_told(admin: Admin, run: Run, data_dir: Path) -> None:
    (data_dir / "admin.token").write_text("other")
    assert run("status").stderr == "Error: wrong token\n"


def test_a_missing_token_is_told(run: Run, data_dir: Path) -> None:
    (data_dir / "admin.token").unlink()
    result = run("peers", "list")
    assert result.exit_code == 1
    assert "`homeserver init` makes it" in result.stderr


@pytest.mark.parametrize(
    "words", [("run",), ("status",), ("peers", "list"), ("peers", "connect", "x")]
)
def test_wrong_settings_end_every_command_with_2_and_a_line_each(
    run: Run, data_dir: Path, words: tuple[str, ...]
) -> None:
    (data_dir / "config.yaml").write_text("media: {max_pixels: none}\nlisteners: 3\n")
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [
        "listeners",
        "media.max_pixels",
    ]
