"""Blends: a generation that two real pictures, laid over each other, explain better than either.

With g, x_i, x_j as reduced pixels without their mean and a, b >= 0 by least squares,

    R2(i, j) = 1 - |g - a x_i - b x_j|^2 / |g|^2,    R2(i) likewise with one picture
    score of i in its generation's best pair (i, j) = R2(i, j) - best R2 of any pair or single picture without i

so a picture that the other one makes superfluous scores nothing, and neither does one that another could replace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.alignment import rasters
from auditor.copies.shortlist import Pairs, PixelsOf

SIDE = 32
LEAST_EXPLAINED = 0.7  # R2 of the best pair
LEAST_SHARE = 0.15  # of either picture in it, as a coefficient
ROWS = 128


@dataclass(frozen=True)
class Blends:
    """Per shortlisted pair, P rows."""

    score: NDArray[np.float64]  # -inf where the picture is not of its generation's best two
    beside: NDArray[np.int64]  # the pair that holds the other picture, -1 likewise
    explained: NDArray[np.float64]  # R2 of the two, 0 likewise
    share: NDArray[np.float64]  # coefficient of this picture, 0 likewise
    mirrored: NDArray[np.bool_]  # the picture, mirrored, is what the generation shows


def blends(pairs: Pairs, generations: PixelsOf, pool: PixelsOf) -> Blends:
    """The two pictures of the shortlist, as they are or mirrored, that explain each generation best.

    Args:
      generations: Pixels of generations by number.
      pool: Pixels of pool rows, asked for at most 128 at a time.
    """
    count = len(pairs)
    none = np.full(count, -np.inf), np.full(count, -1), np.zeros(count), np.zeros(count), np.zeros(count, np.bool_)
    found = Blends(*none)
    rows = np.unique(pairs.row)
    blocks = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
    pictures = np.concatenate([_levels(pool(block)) for block in blocks]) if blocks else np.empty(0, np.float32)
    numbers, first = np.unique(pairs.generation, return_index=True)
    ends = np.r_[first[1:], count]
    for block in range(0, len(numbers), ROWS):
        made = _levels(generations(numbers[block : block + ROWS]))
        for target, start, end in zip(made, first[block:], ends[block:], strict=False):
            place = np.arange(start, end)
            shown = pictures[np.searchsorted(rows, pairs.row[place])]
            if pairs.both_ways:
                place, shown = np.r_[place, place], np.concatenate([shown, shown[..., ::-1]])
            _settle(found, place, target.ravel(), shown.reshape(len(place), -1), end - start)
    return found


def _settle(
    found: Blends, place: NDArray[np.int64], target: NDArray[np.float32], pictures: NDArray[np.float32], straight: int
) -> None:
    """Enter one generation's best two pictures, if they explain it.

    Args:
      place: Int64[K] pair of each picture; the first ``straight`` are as they are, the others mirrored.
    """
    energy = float(target @ target)
    if straight < 2 or energy == 0:
        return
    explained, shares = _pairwise(pictures @ pictures.T, pictures @ target, energy, place)
    one, other = np.unravel_index(explained.argmax(), explained.shape)
    two = shares[one, other], shares[other, one]
    if place[one] == place[other] or explained[one, other] < LEAST_EXPLAINED or min(two) < LEAST_SHARE:
        return
    for this, that in ((one, other), (other, one)):
        without = place != place[this]
        found.score[place[this]] = explained[one, other] - explained[np.ix_(without, without)].max()
        found.beside[place[this]], found.explained[place[this]] = place[that], explained[one, other]
        found.share[place[this]], found.mirrored[place[this]] = shares[this, that], this >= straight


def _pairwise(
    gram: NDArray[np.float32], inner: NDArray[np.float32], energy: float, place: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(R2, coefficients) of every two pictures, Float64[K K] each; single pictures on the diagonal.

    coefficients[i, j] is that of i beside j; where one of the two would be negative, the pair counts as the better one.
    """
    gram, inner = gram.astype(np.float64), inner.astype(np.float64)
    own = np.diag(gram)
    alone = np.where(own > 0, np.maximum(inner, 0) ** 2 / np.where(own > 0, own, 1), 0) / energy
    determinant = own[:, None] * own[None, :] - gram**2
    solvable = determinant > 1e-9 * own[:, None] * own[None, :]
    solvable &= place[:, None] != place[None, :]  # a picture and its own mirror image are no two pictures
    safe = np.where(solvable, determinant, 1)
    share = (own[None, :] * inner[:, None] - gram * inner[None, :]) / safe
    both = solvable & (share > 0) & (share.T > 0)
    together = (share * inner[:, None] + share.T * inner[None, :]) / energy
    return np.where(both, together, np.maximum(alone[:, None], alone[None, :])), np.where(both, share, 0)


def _levels(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Reduced pixels without the mean of each channel, Float32[B C SIDE SIDE]."""
    reduced = rasters(pixels, SIDE)
    return np.asarray(reduced - reduced.mean(axis=(2, 3), keepdims=True), np.float32)
