import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver import errors
from homeserver.matrix.identifiers import MxcUri, ServerName
from homeserver.media import Media
from homeserver.media.library import CannotOverwriteMedia
from homeserver.ports import PeerFile
from tests.media.conftest import PretendedPeers, stream

ALICE = "alice.example"
BOB = "bob.example"


def on_disk(directory: Path) -> list[Path]:
    return [path for path in (directory / "media").rglob("*") if path.is_file()]


async def test_an_upload_comes_back_as_it_was(media: Media) -> None:
    parts = [bytes([number]) * 100_000 for number in range(7)]
    uri = await media.upload(stream(*parts), "image/png", "cat.png")

    served = await media.download(uri.server, uri.media_id)

    assert uri.server == ALICE
    assert served.path.read_bytes() == b"".join(parts)
    assert (served.content_type, served.filename, served.size) == ("image/png", "cat.png", 700_000)


async def test_an_upload_beyond_the_limit_leaves_nothing(media: Media, tmp_path: Path) -> None:
    with pytest.raises(errors.TooLarge):
        await media.upload(stream(*[b"x" * 300_000] * 4), "text/plain", None)

    media._files._writer.submit(lambda: None).result()
    assert on_disk(tmp_path) == []


async def test_an_upload_that_breaks_off_leaves_nothing(media: Media, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await media.upload(broken(), "text/plain", None)

    media._files._writer.submit(lambda: None).result()
    assert on_disk(tmp_path) == []


async def test_a_cancelled_upload_leaves_nothing(media: Media, tmp_path: Path) -> None:
    started = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        started.set()
        await asyncio.sleep(60)

    upload = asyncio.create_task(media.upload(slow(), "text/plain", None))
    await started.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload

    media._files._writer.submit(lambda: None).result()
    assert on_disk(tmp_path) == []


@pytest.mark.parametrize(
    ("server", "media_id"),
    [
        (ALICE, "nothing"),
        (ALICE, "../../server.db"),
        (ALICE, ".."),
        ("../..", "x"),
        ("bob.example/..", "x"),
        (BOB, "a/b"),
    ],
)
async def test_a_path_is_no_media_id(
    media: Media, peers: PretendedPeers, server: str, media_id: str
) -> None:
    with pytest.raises(errors.NotFound):
        await media.download(server, media_id)
    assert peers.asked_for == []


async def test_names_and_types_are_made_harmless(media: Media) -> None:
    uri = await media.upload(stream(b"x"), "text/html\r\nSet-Cookie: a=b", "a\r\nb\x00.txt")
    served = await media.download(uri.server, uri.media_id)
    assert (served.content_type, served.filename) == ("application/octet-stream", "ab.txt")


async def test_a_peers_file_is_fetched_once_for_all_who_ask(
    media: Media, peers: PretendedPeers
) -> None:
    peers.files["F1"] = PeerFile("image/gif", "a.gif", 6, stream(b"abc", b"def"))

    both = await asyncio.gather(media.download(BOB, "F1"), media.download(BOB, "F1"))
    again = await media.download(BOB, "F1")

    assert peers.asked_for == ["F1"]
    assert again.path.read_bytes() == b"abcdef"
    assert again == both[0] == both[1]
    assert again.filename == "a.gif"


async def test_a_peers_file_that_stops_short_is_not_kept(
    media: Media, peers: PretendedPeers, tmp_path: Path
) -> None:
    peers.files["F1"] = PeerFile("image/gif", None, 7, stream(b"abc"))
    with pytest.raises(errors.PeerFileBroken):
        await media.download(BOB, "F1")
    media._files._writer.submit(lambda: None).result()
    assert on_disk(tmp_path) == []

    peers.files["F1"] = PeerFile("image/gif", None, 3, stream(b"abc"))
    assert (await media.download(BOB, "F1")).size == 3


async def test_a_peer_cannot_send_more_than_it_announced(
    media: Media, peers: PretendedPeers
) -> None:
    peers.files["F1"] = PeerFile("image/gif", None, 2, stream(b"abc"))
    with pytest.raises(errors.PeerFileBroken):
        await media.download(BOB, "F1")


async def test_a_peers_file_beyond_the_limit_is_refused(
    media: Media, peers: PretendedPeers
) -> None:
    peers.files["F1"] = PeerFile("image/gif", None, 500_001, stream(b"abc"))
    with pytest.raises(errors.PeerFileTooLarge):
        await media.download(BOB, "F1")


async def test_what_a_peer_refuses_is_not_found(media: Media) -> None:
    with pytest.raises(errors.NotFound):
        await media.download(BOB, "unknown")


async def test_a_peer_gets_what_was_uploaded_here_and_nothing_else(
    media: Media, peers: PretendedPeers
) -> None:
    uri = await media.upload(stream(b"ours"), "text/plain", "a.txt")
    peers.files["F1"] = PeerFile("image/gif", None, 3, stream(b"abc"))
    await media.download(BOB, "F1")

    served = media.open_for_peer(uri.media_id)

    assert served.path.read_bytes() == b"ours"
    for foreign in ("F1", "unknown", "../x"):
        with pytest.raises(errors.NotFound):
            media.open_for_peer(foreign)


async def test_a_download_waits_for_the_upload_it_was_promised(media: Media) -> None:
    uri = (await media.reserve()).content_uri
    waiting = asyncio.create_task(media.download(uri.server, uri.media_id, 10))
    await asyncio.sleep(0)

    await media.upload_reserved(uri, stream(b"later"), "text/plain", None)

    assert (await waiting).path.read_bytes() == b"later"


async def test_a_download_does_not_wait_for_ever(media: Media) -> None:
    uri = (await media.reserve()).content_uri
    with pytest.raises(errors.NotYetUploaded):
        await media.download(uri.server, uri.media_id, 0.01)


async def test_a_reserved_file_is_uploaded_once(media: Media) -> None:
    uri = (await media.reserve()).content_uri
    await media.upload_reserved(uri, stream(b"first"), "text/plain", None)
    with pytest.raises(CannotOverwriteMedia):
        await media.upload_reserved(uri, stream(b"second"), "text/plain", None)
    assert (await media.download(uri.server, uri.media_id)).path.read_bytes() == b"first"


@pytest.mark.parametrize("server", [ALICE, BOB])
async def test_only_reserved_ids_are_uploaded_to(media: Media, server: str) -> None:
    uri = MxcUri(ServerName(server), "chosen")
    with pytest.raises(errors.NotFound):
        await media.upload_reserved(uri, stream(b"x"), "text/plain", None)


async def test_reservations_are_bounded(media: Media) -> None:
    for _ in range(50):
        await media.reserve()
    with pytest.raises(errors.LimitExceeded):
        await media.reserve()
