"""The same seed tells the same story in every process, however Python orders its sets."""

import os
import subprocess
import sys
from pathlib import Path

STORY = """
import sys
from pathlib import Path

from homeserver.testing.world import World


async def story(world):
    people = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(*people)
    world.network.everywhere(loss=0.1, jitter_s=0.5)
    for person in people:
        await person.say(room_id, person.name)
    await world.settle()


world = World(Path(sys.argv[1]), 1)
world.run(story(world))
for passage in world.network.passages:
    print(passage)
for server in world.servers:
    print(server.name, *server.boundaries, sep="\\n")
world.close()
"""


def _told(directory: Path, hash_seed: str) -> str:
    told = subprocess.run(
        [sys.executable, "-c", STORY, str(directory / hash_seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout


def test_in_two_processes(tmp_path: Path) -> None:
    once, again = _told(tmp_path, "1"), _told(tmp_path, "2")
    assert len(once.splitlines()) > 100
    assert once == again
