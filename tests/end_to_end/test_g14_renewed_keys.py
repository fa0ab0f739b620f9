"""Keys are renewed on purpose only: peers go on, with a notice to their owners."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.processes import VODOZEMAC, Server
from tests.end_to_end import story
from tests.end_to_end.conftest import WithClient


class Pair:
    """Alice, whose recovery phrase is known, and Bob; connected, with a room."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.alice = Server(directory=directory / "alice", user="alice", environment=environment)
        self.bob = Server(directory=directory / "bob", user="bob")
        self.phrase = phrase_in(self.alice.init(), "recovery phrase:")
        self.bob.init()

    def __enter__(self) -> Self:
        self.alice.start()
        self.bob.start()
        processes.connect(self.alice, self.bob)
        return self

    def __exit__(self, *_: object) -> None:
        self.alice.kill()
        self.bob.kill()


def phrase_in(told: str, after: str) -> str:
    """The groups of five letters that follow some words, on one line."""
    found = re.search(r"([a-z2-7]{4,6} ){8,}[a-z2-7]{2,6}", told.partition(after)[2])
    assert found is not None
    return found[0]


def shown(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(server.command("identity", "show", "--json").stdout)
    return answer


@pytest.mark.parametrize(("how", "environment"), [("rotate", {}), ("recover", VODOZEMAC)])
async def test_the_conversation_goes_on_with_the_new_keys(
    tmp_path: Path, with_client: WithClient, how: str, environment: Mapping[str, str]
) -> None:
    with Pair(tmp_path, environment) as pair:
        alice, bob = pair.alice, pair.bob
        hers, his = await with_client(alice), await with_client(bob)
        room_id = await story.meet(hers, his)
        await hers.send_text(room_id, "with the first key")
        before = shown(alice)
        refused = alice.command("identity", "rotate", is_checked=False)
        assert refused.returncode == 1
        assert "running" in refused.stderr
        alice.stop()
        await his.send_text(room_id, "while she changes her keys")
        renew(alice, how, pair.phrase, tmp_path)
        after = shown(alice)
        assert after["node id"] == before["node id"]
        assert after["signs events with"] != before["signs events with"]
        assert before["signs events with"] in after["keys before"]
        alice.start()
        await hers.send_text(room_id, "with the second key")
        await story.hears(his, room_id, "with the second key")
        await story.hears(his, room_id, "with the first key")
        await his.send_text(room_id, "I see")
        await story.hears(hers, room_id, "I see")
        await story.hears(hers, room_id, "while she changes her keys")
        assert ("keys_renewed", shown(alice)["server name"]) in await notices_of(bob)


def renew(server: Server, how: str, phrase: str, directory: Path) -> None:
    if how == "rotate":
        server.command("identity", "rotate")
        return
    file = directory / "phrase"
    file.write_text(phrase + "\n")
    told = server.command("identity", "recover", "--phrase-file", str(file)).stdout
    following = phrase_in(told, "recovery phrase")
    assert following != phrase
    again = server.command("identity", "recover", "--phrase-file", str(file), is_checked=False)
    assert again.returncode == 1
    assert "does not belong" in again.stderr


async def notices_of(server: Server) -> list[tuple[str, str]]:
    """What the owner is told: the kind, and the server it is about."""
    async with Client(server.url) as admin:
        admin.access_token = (server.data_dir / "admin.token").read_text().strip()
        told = await admin.request("GET", "/_homeserver/admin/v1/notices")
    return [(one["kind"], one["content"].get("server_name")) for one in told["notices"]]
