"""kill -9 at any moment: what was acknowledged arrives exactly once and in order."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeserver.testing import processes
from homeserver.testing.processes import Server
from tests.end_to_end import killing, story
from tests.end_to_end.conftest import Pair, WithClient
from tests.end_to_end.killing import Side

SEED = 20_260
KILLS = 22
BREAKS_THE_PROMISE = (sys.executable, str(Path(__file__).with_name("acknowledge_early.py")))


async def test_messages_survive_kills_of_either_server(pair: Pair, with_client: WithClient) -> None:
    sides = (
        Side(pair.alice, await with_client(pair.alice)),
        Side(pair.bob, await with_client(pair.bob)),
    )
    room_id = await story.meet(sides[0].client, sides[1].client)
    damage = await killing.converse_through_kills(sides, room_id, SEED, KILLS)
    assert damage == killing.NONE
    assert all(len(side.acknowledged) == KILLS * killing.BURST for side in sides)


@pytest.fixture
def dishonest_pair(tmp_path: Path) -> Iterator[Pair]:
    """Two servers that, after their first start, acknowledge before the commit."""
    alice, bob = (Server(directory=tmp_path / user, user=user) for user in ("alice", "bob"))
    with processes.running(alice, bob):
        processes.connect(alice, bob)
        yield Pair(alice, bob)


async def test_the_test_notices_a_server_that_acknowledges_before_the_commit(
    dishonest_pair: Pair, with_client: WithClient
) -> None:
    alice, bob = dishonest_pair.alice, dishonest_pair.bob
    sides = (Side(alice, await with_client(alice)), Side(bob, await with_client(bob)))
    room_id = await story.meet(sides[0].client, sides[1].client)
    for server in (alice, bob):
        server.stop()
        server.launcher = BREAKS_THE_PROMISE
        server.start()
    damage = await killing.converse_through_kills(sides, room_id, SEED, 4)
    assert damage.lost
