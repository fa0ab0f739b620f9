"""Files of ours for peers, and theirs for us, in parts that fit into an envelope.

Spec: server-server-api#content-repository
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from federation.replication import bodies
from federation.replication.asking import AskForBytes
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.media import Media
from homeserver.ports import PeerFile

PART_BYTES = 192 * 1024


async def answer_download(media: Media, body: JsonObject) -> tuple[JsonObject, bytes]:
    """One part of a file that was uploaded here; only how large it is, if that is too large.

    Spec: server-server-api#get_matrixfederationv1mediadownloadmediaid
    """
    asked = bodies.read(bodies.MediaPart, body)
    file = media.open_for_peer(asked.media_id)
    is_wanted = asked.most_bytes is None or file.size <= asked.most_bytes
    part = await asyncio.to_thread(_read, file.path, asked.offset) if is_wanted else b""
    about: JsonObject = {
        "content_type": file.content_type,
        "filename": file.filename,
        "size": file.size,
    }
    return about, part


async def fetch(ask: AskForBytes, peer: ServerName, media_id: str, most_bytes: int) -> PeerFile:
    """Fetch a file from the peer it was uploaded to; the first part is here when this returns.

    Of one that is larger than `most_bytes` only the size comes.
    """
    wanted: JsonObject = {"media_id": media_id, "most_bytes": most_bytes}
    about, part = await ask(peer, "media/download", wanted | {"offset": 0})
    size, content_type, filename = (about.get(k) for k in ("size", "content_type", "filename"))
    if type(size) is not int or size < len(part) or not isinstance(content_type, str):
        raise errors.PeerRefused("The other server's answer makes no sense.")
    return PeerFile(
        content_type,
        filename if isinstance(filename, str) else None,
        size,
        _parts(ask, peer, wanted, size, part),
    )


async def _parts(
    ask: AskForBytes, peer: ServerName, wanted: JsonObject, size: int, part: bytes
) -> AsyncIterator[bytes]:
    """A file that ends early is for the caller to notice; one that goes on too long stops here."""
    reached = 0
    while part:
        reached += len(part)
        yield part
        if reached >= size:
            return
        _, part = await ask(peer, "media/download", wanted | {"offset": reached})


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PART_BYTES)
