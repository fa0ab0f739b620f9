"""Drawing a thumbnail, within bounds on memory.

The only module that loads Pillow; it is imported when the first thumbnail is drawn.

Spec: client-server-api#thumbnails
"""

from pathlib import Path

from PIL import Image, ImageOps

from homeserver import errors
from homeserver.media import thumbnails
from homeserver.media.thumbnails import Drawn, Size, Wanted

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")


class CannotThumbnail(errors.HomeserverError):
    """There is no thumbnail for this kind of file."""


class TooManyPixels(errors.TooLarge):
    """The image is too large to thumbnail."""


def draw(original: Path, stem: Path, wanted: Wanted, max_pixels: int) -> Drawn:
    """Draw a thumbnail and keep it; a still image that is small enough is its own.

    Raises CannotThumbnail for what is no image. Decoded, an image takes four bytes a pixel. Slow:
    for a thread.
    """
    try:
        with Image.open(original, formats=_FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise TooManyPixels
            if _is_small_enough(image, wanted.size):
                return Drawn(original, Image.MIME[image.format or "PNG"])
            return _keep(_shrink(image, wanted), stem, wanted)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooManyPixels from None
    except (OSError, ValueError, SyntaxError, EOFError):  # what Pillow's decoders raise
        raise CannotThumbnail from None


def _is_small_enough(image: Image.Image, size: Size) -> bool:
    is_still = getattr(image, "n_frames", 1) == 1
    return is_still and image.width <= size.width and image.height <= size.height


def _shrink(image: Image.Image, wanted: Wanted) -> Image.Image:
    image.draft("RGB", (wanted.size.width * 2, wanted.size.height * 2))  # JPEG: decode less
    upright = ImageOps.exif_transpose(image)
    picture = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    if wanted.method == "crop":
        return _crop(picture, wanted.size)
    picture.thumbnail(wanted.size, reducing_gap=2.0)
    return picture


def _crop(picture: Image.Image, size: Size) -> Image.Image:
    """Shrink until one side fits, then cut the middle out of the other. Never enlarges."""
    factor = max(size.width / picture.width, size.height / picture.height)
    if factor < 1:
        shrunk = Size(
            max(size.width, round(picture.width * factor)),
            max(size.height, round(picture.height * factor)),
        )
        picture = picture.resize(shrunk, reducing_gap=2.0)
    width, height = min(size.width, picture.width), min(size.height, picture.height)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _keep(picture: Image.Image, stem: Path, wanted: Wanted) -> Drawn:
    content_type = "image/jpeg" if picture.mode == "RGB" else "image/png"
    path = thumbnails.path_of(stem, wanted, content_type)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_suffix(".unfinished")
    if content_type == "image/jpeg":
        picture.save(unfinished, "JPEG", quality=80)
    else:
        picture.save(unfinished, "PNG")
    unfinished.rename(path)
    return Drawn(path, content_type)
