"""What somebody on the wire between two servers sees: sizes, and nothing else."""

import base64
from collections.abc import Iterator

import pytest

from homeserver.testing.recording import RecordingProxy
from tests.end_to_end import person, story, watched
from tests.end_to_end.conftest import WithClient, WithNio
from tests.end_to_end.watched import WatchedPair

BUCKETS = {1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedPair]:
    with watched.watched_pair(tmp_path_factory.mktemp("watched")) as both:
        yield both


def in_base64(plain: bytes) -> Iterator[bytes]:
    """What is left of a text inside longer base64, wherever in it the text begins."""
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(bytes(shift) + plain).rstrip(b"=")
            yield encoded[4 if shift else 0 : -4]


def disclosures(proxy: RecordingProxy, secrets: list[str]) -> list[str]:
    seen = proxy.bytes_seen()
    return [
        secret
        for secret in secrets
        if any(form in seen for form in (secret.encode(), *in_base64(secret.encode())))
    ]


def sizes(proxy: RecordingProxy) -> list[int]:
    exchanges = proxy.exchanges()
    assert exchanges
    assert all(exchange.path.startswith("/_federation/") for exchange in exchanges)
    answers = [len(one.response_body) for one in exchanges if one.status is not None]
    return [len(one.request_body) for one in exchanges] + answers


async def test_plain_rooms_and_files_cross_the_wire_as_boxes_that_tell_nothing(
    pair: WatchedPair, with_client: WithClient
) -> None:
    alice, bob = await with_client(pair.alice), await with_client(pair.bob)
    room_id = await story.meet(alice, bob)
    spoken = [f"{name} whispers secret number {i}" for name in ("Alice", "Bob") for i in range(20)]
    for speaker, listener, words in ((alice, bob, spoken[:20]), (bob, alice, spoken[20:])):
        await story.send_many(speaker, room_id, words)
        await story.until_heard(listener, room_id, speaker.user_id, words)
    file = b"the text of a file that nobody encrypted " * 10_000
    mxc_uri = await alice.upload(file, "text/plain")
    assert await bob.download(mxc_uri) == file

    events = [event["event_id"] for event in await alice.timeline(room_id)]
    names = [alice.user_id, bob.user_id, *(one.user_id.split(":")[1] for one in (alice, bob))]
    nodes = [name.removesuffix(".p2p.alt") for name in names[2:]]
    tokens = [alice.access_token, bob.access_token]
    secrets = [*spoken, *names, *nodes, *events, *tokens, room_id, mxc_uri.split("/")[-1]]
    secrets += [file[:41].decode(), "m.room.message", "m.room.member"]
    for proxy in (pair.to_alice, pair.to_bob):
        assert disclosures(proxy, secrets) == []
        assert set(sizes(proxy)) <= BUCKETS


async def test_an_encrypted_conversation_crosses_the_wire_as_boxes_that_tell_nothing(
    pair: WatchedPair, with_nio: WithNio
) -> None:
    alice, bob = await with_nio(pair.alice), await with_nio(pair.bob)
    room_id = await alice.create_encrypted_room("the two of us", [bob.user_id])
    await bob.join(room_id)
    await alice.sees_member(room_id, bob.user_id)
    await person.chat(alice, bob, room_id)
    await person.exchange_everything(alice, bob, room_id)
    await person.show_picture(alice, room_id, "harbour.png", person.png(300, 200))
    await person.look_at_picture(bob, room_id, "harbour.png")

    secrets = [alice.user_id, bob.user_id, room_id, "the two of us", "harbour.png", "m.megolm"]
    for proxy in (pair.to_alice, pair.to_bob):
        assert disclosures(proxy, secrets) == []
        assert set(sizes(proxy)) <= BUCKETS
