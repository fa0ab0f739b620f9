import io
import subprocess
import sys
import zlib

import pytest
from PIL import Image

from homeserver import errors
from homeserver.media import Media, drawing
from homeserver.media.drawing import CannotThumbnail
from homeserver.media.thumbnails import Drawn, Method, Size, choose
from tests.media.conftest import stream


def picture(size: tuple[int, int], kind: str = "JPEG", mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, 128 if mode == "L" else (200, 100, 50, 128)[: len(mode)]).save(out, kind)
    return out.getvalue()


async def thumbnail_of(media: Media, content: bytes, size: Size, method: Method) -> Drawn:
    uri = await media.upload(stream(content), "image/jpeg", None)
    return await media.thumbnail(uri.server, uri.media_id, size, method)


@pytest.mark.parametrize(
    ("asked", "method", "size"),
    [
        (Size(32, 32), "crop", (32, 32)),
        (Size(33, 33), "crop", (96, 96)),
        (Size(300, 200), "scale", (320, 160)),
        (Size(700, 100), "scale", (800, 400)),
        (Size(300, 200), "crop", (320, 160)),
        (Size(5000, 5000), "crop", (1000, 500)),
    ],
)
async def test_a_thumbnail_has_one_of_our_sizes_and_its_shape(
    media: Media, asked: Size, method: Method, size: tuple[int, int]
) -> None:
    drawn = await thumbnail_of(media, picture((1000, 500)), asked, method)
    with Image.open(drawn.path) as image:
        assert image.size == size
        assert image.format == "JPEG"


async def test_what_can_be_seen_through_stays_so(media: Media) -> None:
    content = picture((1000, 500), "PNG", "RGBA")
    drawn = await thumbnail_of(media, content, Size(96, 96), "crop")
    with Image.open(drawn.path) as image:
        assert (image.format, image.mode) == ("PNG", "RGBA")
    assert drawn.content_type == "image/png"


@pytest.mark.parametrize("mode", ["L", "RGB"])
async def test_a_small_picture_is_its_own_thumbnail(media: Media, mode: str) -> None:
    content = picture((20, 10), "PNG", mode)
    drawn = await thumbnail_of(media, content, Size(96, 96), "scale")
    assert drawn.path.read_bytes() == content
    assert drawn.content_type == "image/png"


async def test_a_thumbnail_is_drawn_once(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = await media.upload(stream(picture((1000, 500))), "image/jpeg", None)
    first = await media.thumbnail(uri.server, uri.media_id, Size(32, 32), "crop")
    monkeypatch.setattr(drawing, "draw", None)
    assert await media.thumbnail(uri.server, uri.media_id, Size(30, 30), "crop") == first


async def test_a_thumbnail_of_a_moving_picture_stands_still(media: Media) -> None:
    frames = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in (0, 128, 255)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    drawn = await thumbnail_of(media, out.getvalue(), Size(96, 96), "scale")
    with Image.open(drawn.path) as image:
        assert image.size == (20, 20)
        assert getattr(image, "n_frames", 1) == 1


async def test_a_photograph_is_turned_upright(media: Media) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.new("RGB", (1000, 500)).save(out, "JPEG", exif=exif)
    drawn = await thumbnail_of(media, out.getvalue(), Size(320, 240), "scale")
    with Image.open(drawn.path) as image:
        assert image.size == (120, 240)


@pytest.mark.parametrize(
    "content", [b"", b"not an image", picture((600, 600))[:-200], picture((50, 50), "BMP")]
)
async def test_what_is_no_image_has_no_thumbnail(media: Media, content: bytes) -> None:
    with pytest.raises(CannotThumbnail):
        await thumbnail_of(media, content, Size(96, 96), "scale")


@pytest.mark.parametrize("side", [8_000, 14_000])
async def test_a_decompression_bomb_is_not_decoded(media: Media, side: int) -> None:
    header = bytearray(picture((10, 10), "PNG"))
    header[16:24] = side.to_bytes(4) * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4)
    with pytest.raises(errors.TooLarge):
        await thumbnail_of(media, bytes(header), Size(96, 96), "scale")


def test_the_specifications_sizes_are_drawn() -> None:
    for width, height in ((320, 240), (640, 480), (800, 600)):
        assert choose(Size(width, height), "scale").size == (width, height)
    for side in (32, 96):
        assert choose(Size(side, side), "crop").size == (side, side)


def test_pillow_is_loaded_late() -> None:
    code = "import sys, homeserver.media; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
