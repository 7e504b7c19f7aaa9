"""Pictures with texture at every scale, drawn from a seed: no two share a detail; and pieces of them in others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]


def textures(rng: np.random.Generator, count: int, side: int = 64, channels: int = 3) -> Pictures:
    """UInt8[count C side side]: noise of six scales, the coarse ones stronger."""
    total = np.zeros((count, channels, side, side))
    for octave in range(6):
        cells = min(side, 2 ** (octave + 1))
        noise = rng.standard_normal((count, channels, cells, cells)) * 0.7**octave
        total += np.kron(noise, np.ones((side // cells, side // cells)))
    spread = total.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(np.rint(127.5 + 48 * total / spread), 0, 255).astype(np.uint8)


def pasted(picture: Pictures, host: Pictures, top: int, left: int, side: int) -> Pictures:
    """``host`` with a square of ``picture`` in its own place."""
    whole = host.copy()
    whole[:, top : top + side, left : left + side] = picture[:, top : top + side, left : left + side]
    return whole


def moved(picture: Pictures, host: Pictures, side: int) -> Pictures:
    """``host`` with the middle square of ``picture`` in its upper left corner."""
    start = (picture.shape[1] - side) // 2
    whole = host.copy()
    whole[:, :side, :side] = picture[:, start : start + side, start : start + side]
    return whole
