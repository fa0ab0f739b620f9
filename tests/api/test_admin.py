"""The owner's own API, over HTTP, on a whole server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from api import ways
from federation import invitation_links
from homeserver import config
from homeserver.app import initialising, running
from homeserver.matrix.identifiers import ServerName

Ask = Callable[..., Awaitable[tuple[int, Any]]]


def _somebodys_link() -> str:
    stranger = invitation_links.Link(
        "a" * 52, ServerName("s" * 8), ("http://127.0.0.1:1",), "0" * 32, b"k" * 32, 10**14
    )
    return invitation_links.write(stranger)


def never() -> str:
    raise AssertionError("nobody should have been asked")


@pytest.fixture
async def ask(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Ask]:
    port = free_port()
    settings = config.parse({"listeners": [{"port": port}]}, tmp_path, {})
    await asyncio.to_thread(initialising.initialise, settings, "alice", "a password")
    (tmp_path / "admin.token").write_text("the token\n")
    keyring = initialising.unlock(settings, never)
    url = f"http://127.0.0.1:{port}/_homeserver/admin/v1"

    async with running.started(settings, keyring), aiohttp.ClientSession() as session:

        async def request(
            method: str,
            path: str,
            body: object = None,
            token: str = "the token",
            agent: str = "a script",
        ) -> tuple[int, Any]:
            headers = {"User-Agent": agent}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            async with session.request(method, url + path, json=body, headers=headers) as answer:
                return answer.status, await answer.json()

        yield request


@pytest.mark.parametrize("path", ["/status", "/peers", "/invitations", "/audit", "/peers/a.b"])
async def test_only_the_token_of_the_data_directory_opens_it(ask: Ask, path: str) -> None:
    assert (await ask("GET", path, token=""))[1]["errcode"] == "M_MISSING_TOKEN"
    status, answer = await ask("GET", path, token="another token")
    assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")


async def test_it_says_how_the_server_is(ask: Ask) -> None:
    status, answer = await ask("GET", "/status")
    assert status == 200
    assert answer["user_id"] == f"@alice:{answer['server_name']}"
    assert answer["server_name"].startswith(answer["node_id"])
    assert {"version", "uptime_s"} <= answer.keys()
    assert (answer["peers"], answer["outbox_pending"], answer["inbox_pending"]) == ({}, 0, 0)


async def test_a_link_is_shown_once_and_can_be_withdrawn(ask: Ask) -> None:
    _, made = await ask("POST", "/invitations", {})
    assert made["link"].startswith("homeserver://connect#")
    assert made["loopback_only"] is True

    _, listed = await ask("GET", "/invitations")
    assert [(one["id"], one["state"]) for one in listed["invitations"]] == [(made["id"], "open")]
    assert made["link"] not in str(listed)

    assert (await ask("DELETE", f"/invitations/{made['id']}"))[0] == 200
    _, listed = await ask("GET", "/invitations")
    assert [one["state"] for one in listed["invitations"]] == ["void"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"link": "homeserver://connect#nonsense"}, 400),
        ({"link": "https://example.org"}, 400),
        ({"link": 7}, 400),
        ({}, 400),
        ({"link": "homeserver://connect#", "more": 1}, 400),
    ],
)
async def test_a_bad_link_is_refused_with_a_sentence(
    ask: Ask, body: dict[str, object], status: int
) -> None:
    code, answer = await ask("POST", "/peers", body)
    assert code == status
    assert answer["errcode"].startswith("M_")
    assert len(answer["error"]) > 10
    assert (await ask("GET", "/peers"))[1] == {"peers": []}


async def test_a_link_of_ones_own_is_refused(ask: Ask) -> None:
    _, made = await ask("POST", "/invitations", {})
    code, answer = await ask("POST", "/peers", {"link": made["link"]})
    assert code in (400, 403, 409)
    assert answer["error"]


@pytest.mark.parametrize("verb", ["pause", "resume", "revoke"])
async def test_who_is_not_known_cannot_be_changed(ask: Ask, verb: str) -> None:
    status, answer = await ask("POST", f"/peers/nobody.example/{verb}", {})
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    "verb", ["accept", "decline", "cancel", "block", "unblock", "dismiss", "pause", "resume"]
)
async def test_every_verb_wants_somebody_who_is_known(ask: Ask, verb: str) -> None:
    status, answer = await ask("POST", f"/peers/Bob/{verb}", {})
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")
    assert answer["error"] == "There is no connection with Bob."
    assert (await ask("POST", "/peers/Bob/dance", {}))[1]["errcode"] == "M_UNRECOGNIZED"


async def test_a_link_opened_in_vain_can_be_cancelled_edited_and_found_in_the_trail(
    ask: Ask,
) -> None:
    link = _somebodys_link()
    _, peer = await ask("POST", "/peers", {"link": link})
    assert (peer["standing"], peer["meaning"]) == (
        "offered",
        "You said yes, and their side has not answered yet.",
    )
    code, answer = await ask("POST", "/peers", {"link": link})
    assert (code, answer["error"]) == (
        409,
        "This link was opened before; its answer is still awaited.",
    )
    for name in ("s" * 8, "a" * 52, "@somebody:ssssssss", "ssss"):
        assert (await ask("GET", f"/peers/{name}"))[1]["node_id"] == "a" * 52
    code, answer = await ask("POST", "/peers/ssssssss/revoke", {})
    assert (code, answer["error"]) == (
        409,
        "You cannot revoke now. You said yes, and their side has not answered yet. You can cancel.",
    )
    _, edited = await ask("PATCH", "/peers/ssssssss", {"presence": True})
    assert edited["grants_given"]["presence"] is True
    code, answer = await ask("PATCH", "/peers/ssssssss", {"colour": "red"})
    assert (code, answer["error"].startswith("There is no grant colour. There are: ")) == (
        400,
        True,
    )
    _, cancelled = await ask("POST", "/peers/ssssssss/cancel", {})
    assert cancelled["standing"] == "none"
    assert (await ask("GET", "/peers"))[1] == {"peers": []}
    _, page = await ask("GET", "/audit?limit=2")
    _, rest = await ask("GET", f"/audit?limit=2&after={page['next']}")
    steps = [(one["step"], one["how"]) for one in page["audit"] + rest["audit"]]
    assert steps == [
        ("owner connected", "link"),
        ("grants edited", "admin API"),
        ("owner cancelled", "admin API"),
    ]
    assert "next" not in rest


async def test_everything_is_paused_and_resumed_and_that_is_evidence_too(ask: Ask) -> None:
    assert (await ask("POST", "/pause"))[1]["everything_paused"] is True
    assert (await ask("POST", "/pause"))[0] == 200
    assert (await ask("GET", "/status"))[1]["everything_paused"] is True
    assert (await ask("POST", "/resume"))[1]["everything_paused"] is False
    _, trail = await ask("GET", "/audit")
    assert [one["step"] for one in trail["audit"]] == ["everything paused", "everything resumed"]


@pytest.mark.parametrize(
    ("agent", "way"),
    [
        (ways.COMMAND_LINE_AGENT, "command line"),
        (ways.COMMAND_LINE_AGENT + "/2", "admin API"),
        ("x" * 7_000, "admin API"),
        ("", "admin API"),
    ],
)
async def test_the_trail_says_by_which_way_an_order_came(ask: Ask, agent: str, way: str) -> None:
    _, made = await ask("POST", "/invitations", {}, agent=agent)
    await ask("DELETE", f"/invitations/{made['id']}", agent=agent)
    await ask("POST", "/peers", {"link": _somebodys_link()}, agent=agent)
    await ask("PATCH", "/peers/ssssssss", {"presence": True}, agent=agent)
    await ask("POST", "/peers/ssssssss/cancel", {}, agent=agent)
    await ask("POST", "/pause", agent=agent)
    _, trail = await ask("GET", "/audit")
    said = [(one["step"], one["how"], one["detail"] or "") for one in trail["audit"]]
    assert {how for _, how, _ in said} == {"link", way}
    assert all(detail.endswith(f"by the {way}") for _, how, detail in said if how == "link")
    assert [step for step, how, _ in said if how == "link"] == [
        "invitation given",
        "invitation withdrawn",
        "owner connected",
    ]


async def test_an_invitation_is_made_as_wished_or_refused(ask: Ask) -> None:
    wish = {"how": "scanned", "asks_owner": True, "expected": "bob.example"}
    assert (await ask("POST", "/invitations", wish))[0] == 200
    _, listed = await ask("GET", "/invitations")
    (shown,) = listed["invitations"]
    assert {name: shown[name] for name in wish} == wish
    for wrong, sentence in (
        ({"how": "knock"}, "Knock links are switched off"),
        ({"grants": "friend"}, "There is no set of grants called friend"),
        ({"expected": "?"}, "That is neither a node id nor a server name"),
        ({"expected": "abcdx ????"}, "Group 1"),
        ({"more": 1}, "more: "),
    ):
        code, answer = await ask("POST", "/invitations", wrong)
        assert code in (400, 409)
        assert answer["error"].startswith(sentence)


async def test_the_machine_sets_a_new_password(ask: Ask) -> None:
    path, body = "/account/password", {"new_password": "battery staple"}
    assert (await ask("POST", path, body, token=""))[1]["errcode"] == "M_MISSING_TOKEN"
    assert (await ask("POST", path, {"new_password": ""}))[1]["errcode"] == "M_INVALID_PARAM"
    status, answer = await ask("POST", path, body)
    assert (status, answer["user_id"].startswith("@alice:")) == (200, True)
