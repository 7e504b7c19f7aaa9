"""Real images in two halves, and what may have been done to one of them: nothing, brightening, JPEG."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.conftest import FIXTURES

Pixels = NDArray[np.uint8]


def garments(count: int, seed: int = 0) -> Pixels:
    """UInt8[count 1 16 16]: held-out garments in random order, so that any split of them means nothing."""
    table = pq.read_table(FIXTURES / "general" / "holdout.parquet", columns=["image"])
    rows = np.random.default_rng(seed).permutation(len(table))[:count]
    cells = table.column("image").take(rows).to_pylist()
    files = [cell["bytes"] if isinstance(cell, dict) else cell for cell in cells]
    return np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])[:, None]


def photo_patches(size: int = 32, seed: int = 0) -> Pixels:
    """UInt8[494 3 32 32]: patches of the two photographs that scikit-learn ships, without overlap, in random order.

    The photographs are JPEG files: the patches start three and five pixels off the blocks of 8, since coding the same
    blocks again would change next to nothing.
    """
    patches = []
    for photo in (image[3:, 5:] for image in load_sample_images().images):
        height, width = photo.shape[0] // size * size, photo.shape[1] // size * size
        grid = photo[:height, :width].reshape(height // size, size, width // size, size, 3)
        patches.append(grid.transpose(0, 2, 4, 1, 3).reshape(-1, 3, size, size))
    whole = np.concatenate(patches)
    return whole[np.random.default_rng(seed).permutation(len(whole))]


def unchanged(pixels: Pixels) -> Pixels:
    return pixels


def brightened(pixels: Pixels, factor: float = 1.03) -> Pixels:
    """Every value 3% higher, rounded, at most 255: black stays black."""
    return np.minimum(np.rint(pixels * factor), 255).astype(np.uint8)


def recompressed(quality: int) -> Callable[[Pixels], Pixels]:
    """Stored once as JPEG."""

    def store(pixels: Pixels) -> Pixels:
        return np.stack([_stored(image, quality) for image in pixels])

    return store


def _stored(image: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    picture.save(buffer, "JPEG", quality=quality)
    read = np.asarray(Image.open(buffer))
    return read[None] if read.ndim == 2 else read.transpose(2, 0, 1)


PLANTS = {"brightened by 3%": brightened, "JPEG 75": recompressed(75), "JPEG 90": recompressed(90)}
