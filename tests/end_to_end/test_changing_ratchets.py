"""A server goes on talking when its owner moves it from python-olm to vodozemac."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from homeserver.testing import processes
from homeserver.testing.processes import Server
from tests.end_to_end import story
from tests.end_to_end.conftest import Pair, WithClient


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    alice, bob = (
        Server(
            directory=tmp_path / user,
            user=user,
            environment={"HOMESERVER__FEDERATION__RATCHETS": "python-olm"},
        )
        for user in ("alice", "bob")
    )
    with processes.running(alice, bob):
        processes.connect(alice, bob)
        yield Pair(alice, bob)


async def test_vodozemac_takes_over_what_python_olm_left(
    pair: Pair, with_client: WithClient
) -> None:
    alice, bob = await with_client(pair.alice), await with_client(pair.bob)
    room_id = await story.meet(alice, bob)
    await alice.send_text(room_id, "by python-olm")
    await story.until_heard(bob, room_id, alice.user_id, ["by python-olm"])
    for server in (pair.bob, pair.alice):
        server.stop()
        server.environment = {"HOMESERVER__FEDERATION__RATCHETS": "vodozemac"}
        server.start()
        name = server.user
        for speaker, listener in ((alice, bob), (bob, alice)):
            await speaker.send_text(room_id, f"after {name}'s change")
            await story.until_heard(listener, room_id, speaker.user_id, [f"after {name}'s change"])


def test_there_is_no_way_back_and_the_server_says_so(pair: Pair) -> None:
    pair.alice.stop()
    pair.alice.environment = {"HOMESERVER__FEDERATION__RATCHETS": "vodozemac"}
    pair.alice.start()
    pair.alice.stop()

    pair.alice.environment = {"HOMESERVER__FEDERATION__RATCHETS": "python-olm"}
    ended = pair.alice.command("run", is_checked=False)

    assert ended.returncode == 1
    assert "Set federation.ratchets to vodozemac again." in ended.stderr
    pair.alice.environment = {"HOMESERVER__FEDERATION__RATCHETS": "vodozemac"}
    pair.alice.start()
    assert pair.alice.status()["peers"] == {"active": 1}
