"""Codes on the screen, and what the other screen shows."""

import pytest

from federation import qr_codes
from tests.cli.conftest import Admin, Run

BOB = "bob.example"


@pytest.mark.parametrize("option", ["--qr", "--scanned"])
def test_what_is_scanned_from_the_screen_is_shown_as_a_code_above_the_link(
    admin: Admin, run: Run, option: str
) -> None:
    admin.answer("POST", "/invitations", {"id": "1", "link": "homeserver://connect#abc"})
    result = run("peers", "invite", option)
    drawn, _, link = result.stdout.rstrip("\n").rpartition("\n")
    assert link == "homeserver://connect#abc"
    assert drawn == qr_codes.drawn(link).rstrip("\n")
    assert len(drawn.splitlines()) > 10


@pytest.mark.parametrize(
    ("said", "is_same"),
    [
        (("lusab", "babad", "gutih", "tugad"), True),
        (("lusab babad gutih tugad",), True),
        (("homeserver://node#" + "b" * 52,), True),
        (("homeserver://node#" + "c" * 52,), False),
        (("lusab", "babad", "gutih", "babad"), False),
    ],
)
def test_what_the_other_screen_shows_is_compared(
    admin: Admin, run: Run, said: tuple[str, ...], *, is_same: bool
) -> None:
    known = {
        "server_name": BOB,
        "name": "Bob",
        "node_id": "b" * 52,
        "words": "lusab babad gutih tugad",
    }
    admin.answer("GET", f"/peers/{BOB}", known)
    result = run("peers", "compare", BOB, *said)
    assert result.exit_code == (0 if is_same else 1)
    assert ("nobody else" in result.stdout) is is_same
    assert ("somebody is in between" in result.stderr) is not is_same
