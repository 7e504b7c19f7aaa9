"""Verbatim copies: the pixels themselves agree everywhere, so no held-out set is needed to call them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TILES = 4  # per side: 16 tiles, so that agreement of a large background cannot hide a different object
MOST_TILE_RMSE = 6.0  # pixel levels of 255, in the worst tile
LEAST_ENTROPY = 1.0  # bits per pixel at 16 grey levels: below it an image is so flat that agreement says little
GREY_LEVELS = 16


def verbatim_copies(generations: NDArray[np.uint8], originals: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Bool[P]: whether generation p repeats original p in every tile, and the original is not flat.

    The rule is meant to have no false positives: of 3,000 16x16 garments the nearest among 20,000 others differ by
    13.5 levels or more in their worst tile, while storing a photograph as JPEG at quality 90 costs 2 to 5.

    Args:
      generations: UInt8[P C H W], pixels 0..255.
      originals: UInt8[P C H W], the candidate that each may repeat.

    Source:
      The tiles are those of Carlini et al. 2023, arXiv 2301.13188 (patched l2). Differs: a fixed strict threshold on
      absolute error where they take 0.15 of the range and cliques, and flat images are left out.
    """
    if generations.shape != originals.shape or generations.ndim != 4:
        raise ValueError(f"pixels: got {generations.shape} and {originals.shape}; expected equal [P C H W]")
    agree = worst_tile_rmse(generations, originals) <= MOST_TILE_RMSE
    return agree & (entropy(originals) >= LEAST_ENTROPY)


def worst_tile_rmse(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Float64[P]: largest root mean square pixel difference of a tile, 0..255; UInt8[P C H W] each."""
    error = np.square(left.astype(np.float64) - right.astype(np.float64)).mean(axis=1)
    height, width = error.shape[1:]
    rows, cols = _starts(height), _starts(width)
    sums = np.add.reduceat(np.add.reduceat(error, rows, axis=1), cols, axis=2)
    sizes = np.outer(np.diff([*rows, height]), np.diff([*cols, width]))
    worst: NDArray[np.float64] = np.sqrt((sums / sizes).reshape(len(error), -1).max(axis=1, initial=0.0))
    return worst


def entropy(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Float64[P]: Shannon entropy of each image's grey levels (16 bins, all channels together), in bits, 0..4."""
    levels = images.reshape(len(images), -1) // (256 // GREY_LEVELS)
    counts = np.stack([(levels == level).sum(axis=1) for level in range(GREY_LEVELS)], axis=1)
    share = counts / max(levels.shape[1], 1)
    bits: NDArray[np.float64] = -(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)
    return bits


def _starts(length: int) -> NDArray[np.int64]:
    """First pixel of each tile along one side; fewer tiles where there are fewer pixels."""
    return np.unique(np.linspace(0, length, TILES, endpoint=False).astype(np.int64))
