"""A room of fifty servers, over HTTP: a newcomer reads all of it and finds what was said."""

import pytest

from tests.benchmark import joining

SERVERS, SAID, OLD = 50, 600, 123


@pytest.mark.slow
async def test_a_newcomer_reads_a_full_room_to_its_beginning_and_finds_an_old_word() -> None:
    async with joining.full_room(SERVERS, SAID) as (alice, bob, room_id):
        await joining.join(bob, room_id, alice)
        joined = await bob.request("GET", f"/_matrix/client/v3/rooms/{room_id}/joined_members")
        assert len(joined["joined"]) == SERVERS
        assert await joining.numbers_said(bob, room_id) == list(range(SAID))
        assert await joining.search(bob, room_id, f"{OLD} word") == [OLD]
