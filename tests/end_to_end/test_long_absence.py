"""A peer that is away for longer than Olm can bridge gets everything, in order."""

from tests.end_to_end import story
from tests.end_to_end.conftest import Pair, WithClient

MESSAGES = 3_000  # Olm reads a gap of 2,000 and never one of 2,001
PATIENCE_S = 120.0


async def test_a_peer_away_during_3000_messages_gets_all_of_them_in_order(
    pair: Pair, with_client: WithClient
) -> None:
    alice, bob = await with_client(pair.alice), await with_client(pair.bob)
    room_id = await story.meet(alice, bob)
    assert pair.bob.stop() == 0
    words = [f"message {number}" for number in range(MESSAGES)]
    await story.send_many(alice, room_id, words)
    said = await story.messages(alice, room_id, alice.user_id)
    assert len(said) == MESSAGES

    pair.bob.start()
    await story.until_heard(bob, room_id, alice.user_id, words, PATIENCE_S)
    assert await story.messages(bob, room_id, alice.user_id) == said
    await alice.send_text(room_id, "welcome back")
    await bob.send_text(room_id, "what did I miss?")
    await story.until_heard(bob, room_id, alice.user_id, ["welcome back"])
    await story.until_heard(alice, room_id, bob.user_id, ["what did I miss?"])
