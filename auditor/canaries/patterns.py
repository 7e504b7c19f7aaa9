"""Canary images: smooth random patterns with the data's size, channels, mean and contrast.

A pattern has an independent normal coefficient for every cosine wave of up to :data:`WAVES` half periods a side (the
constant one left out), all of the same variance. So two patterns of one channel correlate like random vectors of 63
dimensions: with a standard deviation of 0.13, whatever the size. Blends of training images would look more like the
data, but carry real records into images that are meant to be published, and an image left out would be half trained
on. White noise has no structure that a network can draw or an autoencoder keep. A 1/f spectrum, as natural images have
(Field 1987), puts the variance into so few waves that some patterns correlate with each other at 0.9.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.probes import generator

WAVES = 8  # half periods a side; at least two pixels each, and four latents of an 8x autoencoder from 256 pixels on
RANGE = 2.0  # standard deviations that must fit between black and white


@dataclass(frozen=True)
class Look:
    """What canaries share with the data.

    Attributes:
      mean: Float64[C] in grey levels, 0..255.
      deviation: Float64[C], of the pixels of all images together, in grey levels.
      correlation: Float64[C C] of the channels; ones on the diagonal.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    correlation: NDArray[np.float64]


def look_of(images: Iterable[NDArray[np.uint8]]) -> Look:
    """Mean, contrast and colour of images UInt8[C H W], at least one; one at a time is held in memory.

    Sums are of integers, and exact: every pixel counts alike, whatever the order.

    Raises:
      ValueError: There are no images.
    """
    count = 0
    total: NDArray[np.int64] = np.zeros(1, np.int64)
    products: NDArray[np.int64] = np.zeros((1, 1), np.int64)
    for image in images:
        values = image.reshape(len(image), -1).astype(np.int64)
        count += values.shape[1]
        total = total + values.sum(axis=1)
        products = products + values @ values.T
    if count == 0:
        raise ValueError("images: got none; expected at least one")
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    scale = np.maximum(deviation, 1e-9)
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)  # of a channel without contrast too
    return Look(mean, deviation, correlation)


def draw_pattern(seed: str, index: int, shape: tuple[int, int, int], look: Look) -> NDArray[np.uint8]:
    """Canary ``index`` of a salt: UInt8[C H W], the same whatever else is drawn.

    Every channel has its mean and contrast, moved and narrowed where needed so that :data:`RANGE` standard deviations
    fit between black and white; what lies beyond is clipped.
    """
    channels, height, width = shape
    down, across = waves(height), waves(width)
    coefficients = generator(seed, "canary pattern", index).standard_normal((channels, len(down), len(across)))
    coefficients[:, 0, 0] = 0.0
    field = np.einsum("ckl,kh,lw->chw", coefficients, down, across).reshape(channels, -1)
    field /= field.std(axis=1, keepdims=True)
    # channels as alike as the data's; a little of the identity keeps the factor defined for grey data in colour
    mixed = np.linalg.cholesky(look.correlation + 1e-6 * np.eye(channels)) @ field
    mixed = (mixed - mixed.mean(axis=1, keepdims=True)) / mixed.std(axis=1, keepdims=True)
    deviation = np.clip(look.deviation, 1.0, 255 / (2 * RANGE))
    centre = np.clip(look.mean, RANGE * deviation, 255 - RANGE * deviation)
    values = np.clip(np.rint(centre[:, None] + deviation[:, None] * mixed), 0, 255)
    pixels: NDArray[np.uint8] = values.astype(np.uint8).reshape(shape)
    return pixels


def waves(size: int) -> NDArray[np.float64]:
    """Cosine waves Float64[K size] of 0..K-1 half periods, of equal power; none so fine that a half is below 2 pixels.

    The basis of the discrete cosine transform (Ahmed, Natarajan and Rao 1974).
    """
    count = max(2, min(WAVES, size // 2))
    place = (np.arange(size) + 0.5) / size
    rows = np.cos(np.pi * np.arange(count)[:, None] * place)
    scaled: NDArray[np.float64] = rows / np.sqrt(np.square(rows).mean(axis=1, keepdims=True))
    return scaled
