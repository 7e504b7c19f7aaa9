"""What happens to an image that is copied: named distortions, each drawing from the generator it is given."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
Transformation = Callable[[Pixels, np.random.Generator], Pixels]  # UInt8[C H W] to the same shape


def noise(deviation: float) -> Transformation:
    """Gaussian noise of a standard deviation in pixel levels (of 255), clipped and rounded."""

    def add(image: Pixels, rng: np.random.Generator) -> Pixels:
        return _to_pixels(image + deviation * rng.standard_normal(image.shape))

    return add


def jpeg(quality: int) -> Transformation:
    """A JPEG file round trip without chroma subsampling."""

    def store(image: Pixels, rng: np.random.Generator) -> Pixels:
        file = io.BytesIO()
        _to_pil(image).save(file, "JPEG", quality=quality, subsampling=0)
        return _from_pil(Image.open(file))

    return store


def blur(radius: float) -> Transformation:
    """Gaussian blur; radius = standard deviation as a share of the shorter side."""

    def smooth(image: Pixels, rng: np.random.Generator) -> Pixels:
        return _from_pil(_to_pil(image).filter(ImageFilter.GaussianBlur(radius * min(image.shape[1:]))))

    return smooth


def tone(contrast: float, brightness: float) -> Transformation:
    """Contrast as a factor about mid-grey, then brightness added in pixel levels; clipped."""
    return lambda image, rng: _to_pixels((image - 127.5) * contrast + 127.5 + brightness)


def quantise(bits: int) -> Transformation:
    """Pixel values kept to their highest bits, at the middle of each step."""
    step = 2 ** (8 - bits)
    return lambda image, rng: _to_pixels((image // step) * float(step) + (step - 1) / 2)


def crop(share: float) -> Transformation:
    """A part with sides of a share of the image's, at a random place, enlarged to the full size."""

    def cut(image: Pixels, rng: np.random.Generator) -> Pixels:
        height, width = image.shape[1:]
        tall, wide = max(1, round(share * height)), max(1, round(share * width))
        top, left = (int(rng.integers(0, room + 1)) for room in (height - tall, width - wide))
        part = _to_pil(image[:, top : top + tall, left : left + wide])
        return _from_pil(part.resize((width, height), Image.Resampling.BICUBIC))

    return cut


def mirror(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Left and right exchanged."""
    return np.ascontiguousarray(image[:, :, ::-1])


def rescale(share: float) -> Transformation:
    """Reduced to a share of the size and enlarged again."""

    def there_and_back(image: Pixels, rng: np.random.Generator) -> Pixels:
        height, width = image.shape[1:]
        small = _to_pil(image).resize((max(1, round(share * width)), max(1, round(share * height))))
        return _from_pil(small.resize((width, height), Image.Resampling.BICUBIC))

    return there_and_back


# What storing an image and a good reproduction of it do. An encoder of raw pixels on tiny images can recognise no more:
# noise of 3% already brings 16x16 garments below the similarity of different garments (0.986 against 0.992).
FAITHFUL: dict[str, Transformation] = {
    "noise 1%": noise(2.5),
    "noise 1.5%": noise(4.0),
    "jpeg q95": jpeg(95),
    "blur": blur(0.02),
    "brighter": tone(1.0, 6.0),
    "darker": tone(1.0, -6.0),
    "more contrast": tone(1.05, 0.0),
    "less contrast": tone(0.95, 0.0),
    "6 bits": quantise(6),
}
# What happens to pictures in circulation, and what a copy-detection encoder is trained to see through.
PHOTOGRAPHIC: dict[str, Transformation] = {
    "jpeg q30": jpeg(30),
    "blur": blur(0.01),
    "crop 90%": crop(0.9),
    "crop 80%": crop(0.8),
    "mirror": mirror,
    "noise 4%": noise(10.0),
    "half size": rescale(0.5),
}


def transformations_for(encoder: str) -> dict[str, Transformation]:
    """The set that fits an encoder: faithful reproductions for ``pixel``, photographic ones for learned encoders."""
    return FAITHFUL if encoder == "pixel" else PHOTOGRAPHIC


def _to_pixels(values: NDArray[Any]) -> Pixels:
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def _to_pil(image: Pixels) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def _from_pil(image: Image.Image) -> Pixels:
    array = np.asarray(image, np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))
