"""The pixel encoder: standardised pixels, the right encoder for tiny images and the baseline for all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.config import EncoderConfig
from auditor.encoders.base import EncoderSpec

MAX_SIDE = 32
FLAT_NORM = 0.5  # one pixel of a flat image off by one level gives at least 0.7; area averages round to below 1e-3


class PixelEncoder:
    """Cosine of two embeddings = Pearson correlation of the two images' pixels, all channels together.

    Sides longer than 32 are first reduced to 32, each separately, by exact area averaging; so large images are
    compared by their layout of light and colour, and fine texture does not count.

    An image without contrast (all pixels equal, or equal after reduction) correlates with nothing. It gets a direction
    of its own, an added last dimension that is zero for every other image: similarity 1 to flat images, 0 to the rest.

    Brightness and contrast drop out; mirrored or shifted copies are different images to it.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        self._shape = (channels, height, width)
        reduced = min(height, MAX_SIDE), min(width, MAX_SIDE)
        self._down, self._across = area_weights(height, reduced[0]), area_weights(width, reduced[1])
        detail = f"standardised pixels, {channels}x{reduced[0]}x{reduced[1]}"
        self._spec = EncoderSpec("pixel", detail, channels * reduced[0] * reduced[1] + 1)

    @property
    def spec(self) -> EncoderSpec:
        """Shape compared; there are no weights."""
        return self._spec

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """UInt8[B C H W] to Float32[B C*h*w+1] unit vectors, bit-equal whatever the batch."""
        if pixels.dtype != np.uint8 or pixels.shape[1:] != self._shape:
            raise ValueError(f"pixels: got {pixels.dtype}{list(pixels.shape)}; expected uint8[B, *{self._shape}]")
        images = pixels.astype(np.float64)
        if pixels.shape[2:] != (len(self._down), len(self._across)):
            images = self._down @ images @ self._across.T
        rows = images.reshape(len(pixels), -1)
        rows = rows - rows.mean(axis=1, keepdims=True)
        norms = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        flat = norms < FLAT_NORM
        embedding = np.zeros((len(rows), self._spec.dim), np.float32)
        embedding[:, :-1] = np.where(flat, 0, rows / np.where(flat, 1, norms))
        embedding[:, -1] = flat[:, 0]
        return embedding


def area_weights(size: int, reduced: int) -> NDArray[np.float64]:
    """Float64[reduced size]: row j averages the input over [j, j + 1) * size / reduced, cut pixels by their share."""
    edges = np.arange(reduced + 1) * (size / reduced)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: NDArray[np.float64] = np.maximum(overlap, 0) * (reduced / size)
    return weights


def build_pixel(config: EncoderConfig, channels: int, height: int, width: int, device: str) -> PixelEncoder:
    """The pixel encoder of one image shape; ``config`` and ``device`` change nothing."""
    return PixelEncoder(channels, height, width)
