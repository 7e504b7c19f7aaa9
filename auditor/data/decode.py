"""From the bytes of one image to its pixels, with limits, and with a reason when it cannot be read."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from auditor.data.base import Geometry, Payload
from auditor.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 2**26  # 8192 x 8192; a small file can claim far more than memory holds
MAX_BYTES = 2**28  # of one encoded image
RESIZE_REMEDY = "Set data.resize = true (or --resize)."
LOSSLESS = {"1": "L", "P": "RGB"}  # modes that another one represents exactly
CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}

# PIL warns of large sizes, which MAX_PIXELS refuses, and of odd metadata. Once for all, since images are decoded in
# several threads and a filter set around each would be another thread's as well.
warnings.filterwarnings("ignore", module=r"PIL(\.|$)")


class Unreadable(Exception):
    """The image cannot be decoded; the message says why. Counted into coverage, never fatal."""


def decode(name: str, payload: Payload, geometry: Geometry) -> NDArray[np.uint8]:
    """Pixels UInt8[C H W] in the audit's geometry.

    Without ``geometry.resize`` the pixels are the file's own, bit for bit. With it: alpha is composited on white, then
    channels are converted (ITU-R 601 luma to grey, repeated to RGB), then the image is resized with PIL's bilinear
    filter, whose support grows when shrinking (antialiased). Of an animation the first frame counts; an EXIF
    orientation is not applied, as in torchvision.

    Raises:
      Unreadable: Corrupt, truncated, of another format, or over :data:`MAX_PIXELS` or :data:`MAX_BYTES`.
      DataError: Readable, but of the wrong shape without ``geometry.resize``, or of more than 8 bits per channel.
    """
    image = _open(payload.content) if isinstance(payload.content, bytes) else _from_array(payload.content)
    if image.mode not in CHANNELS:
        raise DataError(f"image {name}", f"pixel mode {image.mode}", "8 bits per channel", "Convert it, or remove it.")
    wanted = (geometry.channels, geometry.height, geometry.width)
    found = (CHANNELS[image.mode], image.height, image.width)
    if found != wanted:
        if not geometry.resize:
            raise DataError(f"image {name}", _shape(found), _shape(wanted), RESIZE_REMEDY)
        image = _fit(image, geometry)
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def stored_shape(payload: Payload) -> tuple[int, int, int]:
    """(channels, height, width) of an image as stored: 1 channel for grey, 3 for all else; alpha is not counted.

    Raises:
      Unreadable: As :func:`decode`.
    """
    image = _open(payload.content) if isinstance(payload.content, bytes) else _from_array(payload.content)
    return (1 if CHANNELS.get(image.mode, 1) <= 2 else 3, image.height, image.width)


def _shape(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{channels} channel{'s' if channels > 1 else ''} of {height}x{width} (height x width)"


def _open(content: bytes) -> Image.Image:
    """The decoded image in an 8-bit mode where that loses nothing; any failure inside PIL becomes a reason."""
    if not content:
        raise Unreadable("no bytes")
    if len(content) > MAX_BYTES:
        raise Unreadable(f"{len(content)} bytes, over the limit of {MAX_BYTES}")
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise Unreadable(f"{image.width}x{image.height} pixels, over the limit of {MAX_PIXELS}")
        image.load()
        if image.mode in LOSSLESS:
            transparent = "transparency" in image.info
            image = image.convert("RGBA" if transparent else LOSSLESS[image.mode])
    except Unreadable:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(f"not {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from error
    except Exception as error:  # decoders raise almost anything on hostile bytes
        raise Unreadable(f"{type(error).__name__}: {error}"[:200]) from error
    return image


def _from_array(pixels: NDArray[np.uint8]) -> Image.Image:
    """A raw array as an image; [H W 1] counts as greyscale."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(pixels))


def _fit(image: Image.Image, geometry: Geometry) -> Image.Image:
    """The image without alpha, in the geometry's channels and size."""
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA")).convert(image.mode.removesuffix("A"))
    mode = "L" if geometry.channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    size = (geometry.width, geometry.height)
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
