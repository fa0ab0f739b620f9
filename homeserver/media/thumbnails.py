"""Which thumbnails there are: their sizes, and where they lie once drawn.

Spec: client-server-api#thumbnails
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

Method = Literal["crop", "scale"]


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


# The specification's sizes and larger ones, so that few files are kept for each image.
_SCALED = (Size(320, 240), Size(640, 480), Size(800, 600), Size(1600, 1200), Size(8192, 8192))
_CROPPED = (Size(32, 32), Size(96, 96), Size(240, 240), Size(480, 480), Size(800, 800))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A thumbnail of one of the sizes we draw."""

    size: Size
    method: Method


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture on disk: a thumbnail, or the original where that is small enough."""

    path: Path
    content_type: str


def choose(requested: Size, method: Method) -> Wanted:
    """The smallest thumbnail we draw that is not smaller than the one asked for.

    What is not asked for as a square is cropped by the client: the scaled picture has it all.
    """
    if method == "crop" and requested.width == requested.height <= _CROPPED[-1].width:
        return Wanted(_smallest(_CROPPED, requested), "crop")
    return Wanted(_smallest(_SCALED, requested), "scale")


def find_drawn(stem: Path, wanted: Wanted) -> Drawn | None:
    """A thumbnail that was drawn before."""
    for content_type in ("image/jpeg", "image/png"):
        path = path_of(stem, wanted, content_type)
        if path.exists():
            return Drawn(path, content_type)
    return None


def path_of(stem: Path, wanted: Wanted, content_type: str) -> Path:
    """Where a thumbnail lies."""
    size, suffix = wanted.size, "jpg" if content_type == "image/jpeg" else "png"
    return stem.with_name(f"{stem.name}-{wanted.method}-{size.width}x{size.height}.{suffix}")


def _smallest(sizes: tuple[Size, ...], requested: Size) -> Size:
    fitting = (s for s in sizes if s.width >= requested.width and s.height >= requested.height)
    return next(fitting, sizes[-1])
