"""`homeserver peers` and `homeserver status`, against a stand-in for the admin API."""

import json
from pathlib import Path
from typing import Any

import pytest

from homeserver.cli import _inviting
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
    monkeypatch.setattr(_inviting, "_CONNECT_LIMIT_S", 0.3)
    admin.answer("POST", "/peers", peer(standing="offered", name=None))
    admin.answer("GET", f"/peers/{BOB}", peer(standing="offered", name=None))
    result = run("peers", "connect", "homeserver://x")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"{BOB} has not answered yet")
    assert "kept and repeated" in result.stderr


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


def test_show_explains_and_repeats_the_private_note(admin: Admin, run: Run) -> None:
    grants = {"messages": True, "media_max_bytes": 5, "presence": False, "note": "from school"}
    shown = peer(grants_given=grants, words="lusab babad", meaning="The connection stands.")
    admin.answer("GET", "/peers/Bob", shown)
    result = run("peers", "show", "Bob")
    assert result.exit_code == 0
    told = dict(line.split(":", 1) for line in result.stdout.splitlines())
    assert told["grants given"].strip() == "messages yes, media_max_bytes 5, presence no"
    assert told["last heard at"].strip() == "never"
    assert told["words"].strip().startswith("lusab babad  (the same on both screens")
    assert told["note"].strip() == "from school"
    assert told["meaning"].strip() == "The connection stands."


@pytest.mark.parametrize("words", [("revoke", "Carol"), ("pause", "Carol"), ("accept", "Carol")])
def test_who_is_not_known_is_told_by_the_server(
    admin: Admin, run: Run, words: tuple[str, str]
) -> None:
    refused = {"errcode": "M_NOT_FOUND", "error": "There is no connection with Carol."}
    admin.answer("POST", f"/peers/Carol/{words[0]}", refused, 404)
    result = run("peers", *words)
    assert (result.exit_code, result.stderr) == (1, f"Error: {refused['error']}\n")


@pytest.mark.parametrize(
    "verb",
    ["pause", "resume", "revoke", "accept", "decline", "cancel", "block", "unblock", "dismiss"],
)
def test_each_verb_is_posted_once(admin: Admin, run: Run, verb: str) -> None:
    admin.answer("POST", f"/peers/Bob/{verb}", peer(standing="changed"))
    result = run("peers", verb, "Bob")
    assert (result.exit_code, result.stdout.startswith(f"Bob ({BOB}): ")) == (0, True)
    assert json.loads(run("peers", verb, "Bob", "--json").stdout)["standing"] == "changed"
    assert [path for _, path, _ in admin.asked] == [f"/peers/Bob/{verb}"] * 2


def test_a_set_of_grants_is_named_with_the_yes(admin: Admin, run: Run) -> None:
    admin.answer("POST", "/peers/Bob/accept", peer(standing="offered"))
    result = run("peers", "accept", "Bob", "--grants", "friend")
    assert (result.exit_code, result.stdout) == (
        0,
        f"Bob ({BOB}): accepted; their side finishes it.\n",
    )
    assert admin.asked == [("POST", "/peers/Bob/accept", {"grants": "friend"})]


def test_revoke_takes_its_options_and_tells_what_it_means(admin: Admin, run: Run) -> None:
    report = {
        "rooms": [{"name": "Kitchen", "what": "stays, and is silent."}],
        "deleted": ["Keys are deleted."],
        "cannot_be_taken_back": ["What they read."],
        "can_pass_on": ["Carol can pass things on."],
    }
    admin.answer("POST", "/peers/Bob/revoke", peer(report=report))
    words = ("--dry-run", "--rooms", "eject", "--goodbye", "--erase")
    assert run("peers", "revoke", "Bob", *words).stdout.splitlines() == [
        f"Bob ({BOB}): would be revoked.",
        "  Kitchen: stays, and is silent.",
        "  Keys are deleted.",
        "  What they read.",
        "  Carol can pass things on.",
    ]
    wished = {"dry_run": True, "rooms": "eject", "goodbye": True, "erase": True}
    assert admin.asked[0][2] == wished
    assert run("peers", "revoke", "Bob").stdout.startswith(f"Bob ({BOB}): revoked.\n")
    assert admin.asked[1][2] == {}
    assert run("peers", "revoke", "Bob", "--rooms", "burn").exit_code == 2


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_everything_is_paused_and_resumed_at_once(admin: Admin, run: Run, verb: str) -> None:
    admin.answer("POST", f"/{verb}", {"everything_paused": verb == "pause"})
    result = run("peers", verb, "--all")
    assert (result.exit_code, result.stdout.split(":")[0]) == (0, "Everything")
    for wrong in (("peers", verb), ("peers", verb, "Bob", "--all")):
        assert run(*wrong).exit_code == 2
    assert len(admin.asked) == 1


def test_edit_reads_what_people_write(admin: Admin, run: Run) -> None:
    admin.answer("PATCH", "/peers/Bob", peer())
    changes = ("media=2MiB", "presence=on", "expires_at=2126-12-31", "note=met at school")
    result = run("peers", "edit", "Bob", *changes)
    assert result.exit_code == 0
    (_, _, body) = admin.asked[0]
    assert (body["media_max_bytes"], body["presence"], body["note"]) == (
        2 << 20,
        True,
        "met at school",
    )
    assert body["expires_at"] > 4_900_000_000_000
    assert run("peers", "edit", "Bob", "--grants", "friend").exit_code == 0
    assert admin.asked[1][2] == {"grant_set": "friend"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("colour=red", "There is no grant colour. There are: media, invites"),
        ("presence=perhaps", "presence must be on or off, not perhaps."),
        ("media=much", "media must be a size such as 0, 500KiB or 25MiB, not much."),
        ("expires_at=2020-01-01", "expires_at lies in the past: 2020-01-01."),
        ("expires_at=soon", "expires_at must be a day such as 2026-12-31"),
        ("profile=some", "profile must be all, name or none, not some."),
        ("presence", "Write each change as NAME=VALUE, not presence."),
    ],
)
def test_an_edit_that_makes_no_sense_is_told_and_asks_nothing(
    admin: Admin, run: Run, change: str, sentence: str
) -> None:
    result = run("peers", "edit", "Bob", change)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {sentence}")
    assert admin.asked == []


def test_an_invitation_is_made_as_wished(admin: Admin, run: Run) -> None:
    admin.answer("POST", "/invitations", {"link": "homeserver://x"})
    words = ("--ask", "--scanned", "--for", "bob.example", "--grants", "friend")
    assert run("peers", "invite", *words).exit_code == 0
    assert admin.asked[0][2] == {
        "how": "scanned",
        "asks_owner": True,
        "expected": "bob.example",
        "grants": "friend",
    }
    assert run("peers", "invite", "--knock").exit_code == 0
    assert admin.asked[1][2] == {"how": "knock"}
    assert run("peers", "invite", "--knock", "--scanned").exit_code == 2


def test_invitations_are_listed_and_withdrawn(admin: Admin, run: Run) -> None:
    one = {"id": "ab", "state": "open", "how": "link", "expires_at": None, "asks_owner": True}
    admin.answer("GET", "/invitations", {"invitations": [one]})
    assert run("peers", "invitations").stdout.splitlines() == [
        "ID  STATE  HOW   ASKS  FOR                     UNTIL",
        "ab  open   link  yes   whoever opens it first  never",
    ]
    admin.answer("DELETE", "/invitations/ab", {})
    assert run("peers", "withdraw", "ab").exit_code == 0


def test_a_link_that_is_refused_is_not_called_unanswered(admin: Admin, run: Run) -> None:
    meaning = "You said yes, and their side refuses the link: it was used already."
    admin.answer("POST", "/peers", peer(standing="offered", name=None))
    admin.answer(
        "GET",
        f"/peers/{BOB}",
        peer(standing="offered", name=None, meaning=meaning, is_refused=True),
    )
    result = run("peers", "connect", "homeserver://x")
    assert result.stderr == f"Error: {BOB}: {meaning}\n"


def test_a_name_with_control_characters_does_nothing_to_the_terminal(
    admin: Admin, run: Run
) -> None:
    admin.answer("GET", "/peers", {"peers": [peer(name="Bo\x1b[2Jb\u202e\n")]})
    shown = run("peers", "list").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert len(shown.splitlines()) == 2


def test_the_audit_trail_is_read_page_by_page(admin: Admin, run: Run) -> None:
    entry = {
        "number": 1,
        "at": 0,
        "node_id": "b",
        "server_name": BOB,
        "who": "owner",
        "step": "grants edited",
        "how": "admin API",
        "standing_before": "active",
        "standing": "active",
        "detail": "presence: no -> yes",
    }
    first, second = "/audit?after=0&limit=1000&peer=Bob", "/audit?after=1&limit=1000&peer=Bob"
    for _ in range(3):
        admin.answer("GET", first, {"audit": [entry], "next": 1})
        admin.answer("GET", second, {"audit": [entry | {"number": 2}]})
    assert len(json.loads(run("audit", "--peer", "Bob", "--json").stdout)) == 2
    lines = run("audit", "--peer", "Bob", "--lines").stdout.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2]
    shown = run("audit", "--peer", "Bob").stdout.splitlines()
    assert len(shown) == 3
    assert "grants edited (presence: no -> yes)  admin API  active" in shown[1]


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
