"""Distances between images without a training set: patched pixels, or embeddings, of a cloud of generations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from auditor.copies.verbatim import TILES

MAX_SIDE = 64  # longer sides are reduced by area averaging: what lies below a pixel of 64 is no picture
BLOCK = 1_024  # rows of one tile of distances


@dataclass(frozen=True)
class Cloud:
    """G points; the distance of two is the largest Euclidean distance over the parts that they are made of."""

    parts: list[NDArray[np.float32]]  # each [G d]

    def __len__(self) -> int:
        return len(self.parts[0])

    def take(self, rows: NDArray[np.int64]) -> Cloud:
        """The cloud of some rows, in their order."""
        return Cloud([part[rows] for part in self.parts])

    def to(self, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
        """Float64[A B] distances of rows to others, from differences: exact to float32's own rounding of the points."""
        found = np.zeros((len(rows), len(others)))
        for part in self.parts:
            there = part[others].astype(np.float64)
            for place, row in enumerate(rows):
                square = np.square(there - part[row]).sum(axis=1)
                np.maximum(found[place], square, out=found[place])
        return np.sqrt(found)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first row, Float32[b G] distances of b rows to all), from inner products: some 1e-3 off near zero."""
        norms = [np.einsum("gd,gd->g", part, part) for part in self.parts]
        for start in range(0, len(self), BLOCK):
            rows = slice(start, start + BLOCK)
            square = np.zeros((len(self.parts[0][rows]), len(self)), np.float32)
            for part, norm in zip(self.parts, norms, strict=True):
                np.maximum(square, norm[rows, None] + norm[None] - 2 * part[rows] @ part.T, out=square)
            yield start, np.sqrt(square)


def patched(batches: Iterable[NDArray[np.uint8]]) -> Cloud:
    """Images under the patched distance: root mean square pixel difference, 0..1, of the worst of 16 tiles.

    Args:
      batches: UInt8[B C H W] each; sides beyond 64 pixels are reduced by area averaging first.

    Source:
      Carlini et al. 2023, arXiv 2301.13188, section 4 (tiles of 128x128 pixels of a 512x512 image). Differs: 4 tiles a
      side at any size, and large images reduced.
    """
    images = np.concatenate([reduced(batch) for batch in batches])
    images -= images.mean(axis=0)  # distances stay, rounding of inner products falls
    rows, cols = (np.linspace(0, side, min(TILES, side) + 1).astype(int) for side in images.shape[2:])
    parts = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(cols):
            tile = images[:, :, top:bottom, left:right].reshape(len(images), -1)
            parts.append(np.ascontiguousarray(tile / np.sqrt(tile.shape[1]), np.float32))
    return Cloud(parts)


def embedded(vectors: NDArray[np.float32]) -> Cloud:
    """Unit vectors Float32[G D] under their Euclidean distance, sqrt(2 - 2 similarity)."""
    return Cloud([np.ascontiguousarray(vectors)])


def reduced(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """UInt8[B C H W] as Float32 in [0, 1], sides at most 64."""
    images: NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
    for axis in (2, 3):
        size = images.shape[axis]
        if size > MAX_SIDE:
            edges = np.arange(MAX_SIDE + 1) * (size / MAX_SIDE)
            at = np.arange(size)
            overlap = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
            weights = (np.maximum(overlap, 0) * (MAX_SIDE / size)).astype(np.float32)
            images = np.moveaxis(np.moveaxis(images, axis, -1) @ weights.T, -1, axis)
    return images
