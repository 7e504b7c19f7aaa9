"""Real garments from the fixtures, and ways to copy a picture, for the encoder tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def garments(fixtures: Path, count: int) -> np.ndarray:
    """The first ``count`` held-out garments of ``memorized``, UInt8[count 1 16 16]."""
    files = sorted((fixtures / "memorized" / "holdout").glob("*.png"))[:count]
    return np.stack([np.asarray(Image.open(file)) for file in files])[:, None]


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """The same pictures after JPEG at ``quality``, UInt8[B C H W]."""
    return np.stack([_jpeg_one(image, quality) for image in pixels])


def _jpeg_one(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    picture.save(buffer, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(buffer))
    return decoded[None] if decoded.ndim == 2 else decoded.transpose(2, 0, 1)


def noisy(pixels: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """The same pictures with Gaussian noise of ``sigma`` levels."""
    noise = np.random.default_rng(seed).normal(0, sigma, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def ranks_of_originals(copies: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """Int[N]: how many originals are nearer to copy n than its own is; 0 = found first. Unit vectors."""
    similarity = copies.astype(np.float64) @ originals.astype(np.float64).T
    return (similarity > np.diag(similarity)[:, None]).sum(axis=1)
