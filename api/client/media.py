"""Upload, download and thumbnail files.

URL previews are left out on purpose: they would tell strangers what the owner's clients look at.

Spec: client-server-api#content-repository
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, Field

from api.routing import Query, Routes
from homeserver import errors
from homeserver.matrix.identifiers import MxcUri, ServerName
from homeserver.media import Media
from homeserver.media.thumbnails import Method, Size
from homeserver.ports import Requester

routes = Routes("/_matrix/client/v1/media")
upload_routes = Routes("/_matrix/media/v3")
creation_routes = Routes("/_matrix/media/v1")

_PART = 64 * 1024
_LONGEST_WAIT_MS = 60_000
_SECURITY = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; "
        "style-src 'unsafe-inline'; object-src 'self';"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=86400, immutable",
}
_INLINE_TYPES = {
    "text": "css plain csv",
    "application": "json ld+json",
    "image": "jpeg gif png apng webp avif",
    "video": "mp4 webm ogg quicktime",
    "audio": "mp4 webm aac mpeg ogg wave wav x-wav x-pn-wav flac x-flac",
}
_QUOTABLE = re.compile(r"[ !#-\[\]-~]+")  # printable ASCII without the quote and the backslash


class Filename(BaseModel):
    """What an upload is called."""

    filename: str | None = None


class Waiting(BaseModel):
    """How long to wait for a file that is not here yet."""

    timeout_ms: int = Field(default=20_000, ge=0)

    @property
    def seconds(self) -> float:
        """The wait, at most a minute."""
        return min(self.timeout_ms, _LONGEST_WAIT_MS) / 1000


class ThumbnailWanted(Waiting):
    """The least size of a thumbnail. They are always still images."""

    width: int = Field(ge=1, le=100_000)
    height: int = Field(ge=1, le=100_000)
    method: Method = "scale"


class Uploaded(BaseModel):
    """Where an upload is to be found."""

    content_uri: str


class Created(Uploaded):
    """Where an upload will be, and until when it may come."""

    unused_expires_at: int


@upload_routes.post("/upload")
async def upload(
    _requester: Requester, request: web.Request, named: Query[Filename], media: Media
) -> Uploaded:
    """Keep a file, streamed to disk."""
    parts = _parts(request, media)
    uri = await media.upload(parts, _content_type(request), named.filename)
    return Uploaded(content_uri=str(uri))


@creation_routes.post("/create")
async def create(_requester: Requester, media: Media) -> Created:
    """Give out a URI whose file comes later."""
    reservation = await media.reserve()
    return Created(
        content_uri=str(reservation.content_uri), unused_expires_at=reservation.unused_expires_at
    )


@upload_routes.put("/upload/{server_name}/{media_id}")
async def upload_created(
    _requester: Requester,
    server_name: str,
    media_id: str,
    request: web.Request,
    named: Query[Filename],
    media: Media,
) -> dict[str, str]:
    """Upload the file of a URI that was given out before."""
    uri = MxcUri(ServerName(server_name), media_id)
    await media.upload_reserved(uri, _parts(request, media), _content_type(request), named.filename)
    return {}


@upload_routes.get("/config")
async def configuration(_requester: Requester, media: Media) -> dict[str, int]:
    """Say how large an upload may be."""
    return {"m.upload.size": media.max_upload_bytes}


@routes.get("/config")
async def authenticated_configuration(_requester: Requester, media: Media) -> dict[str, int]:
    """Say how large an upload may be."""
    return {"m.upload.size": media.max_upload_bytes}


@routes.get("/download/{server_name}/{media_id}")
async def download(
    _requester: Requester, server_name: str, media_id: str, waiting: Query[Waiting], media: Media
) -> web.FileResponse:
    """Send a file under the name it was uploaded with."""
    served = await media.download(server_name, media_id, waiting.seconds)
    disposition = _disposition(served.content_type, served.filename)
    return _file(served.path, served.content_type, disposition)


@routes.get("/download/{server_name}/{media_id}/{file_name}")
async def download_as(
    _requester: Requester,
    server_name: str,
    media_id: str,
    file_name: str,
    waiting: Query[Waiting],
    media: Media,
) -> web.FileResponse:
    """Send a file under another name."""
    served = await media.download(server_name, media_id, waiting.seconds)
    disposition = _disposition(served.content_type, file_name)
    return _file(served.path, served.content_type, disposition)


@routes.get("/thumbnail/{server_name}/{media_id}")
async def thumbnail(
    _requester: Requester,
    server_name: str,
    media_id: str,
    wanted: Query[ThumbnailWanted],
    media: Media,
) -> web.FileResponse:
    """Send a smaller picture of an image."""
    size = Size(wanted.width, wanted.height)
    drawn = await media.thumbnail(server_name, media_id, size, wanted.method, wanted.seconds)
    name = "thumbnail." + drawn.content_type.partition("/")[2]
    return _file(drawn.path, drawn.content_type, f'inline; filename="{name}"')


@upload_routes.get("/download/{server_name}/{media_id}", public=True)
@upload_routes.get("/download/{server_name}/{media_id}/{file_name}", public=True)
@upload_routes.get("/thumbnail/{server_name}/{media_id}", public=True)
async def refuse_unauthenticated() -> None:
    """Give no file to whoever has no token: everything here was uploaded after the freeze."""
    raise errors.NotFound


def _parts(request: web.Request, media: Media) -> AsyncIterator[bytes]:
    if (request.content_length or 0) > media.max_upload_bytes:
        raise errors.TooLarge
    return request.content.iter_chunked(_PART)


def _content_type(request: web.Request) -> str:
    return request.headers.get("Content-Type", "application/octet-stream")


def _file(path: Path, content_type: str, disposition: str) -> web.FileResponse:
    headers = {**_SECURITY, "Content-Type": content_type, "Content-Disposition": disposition}
    return web.FileResponse(path, headers=headers)


def _disposition(content_type: str, filename: str | None) -> str:
    """Shown in place only where that cannot run a script; with the name, whatever its letters.

    Spec: client-server-api#serving-inline-content
    """
    family, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    is_harmless = subtype in _INLINE_TYPES.get(family, "").split()
    kind = "inline" if is_harmless else "attachment"
    if not filename:
        return kind
    if _QUOTABLE.fullmatch(filename):
        return f'{kind}; filename="{filename}"'
    encoded = quote(filename, safe="", errors="replace")
    return f"{kind}; filename*=utf-8''{encoded}"
