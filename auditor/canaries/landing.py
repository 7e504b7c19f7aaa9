"""Which canaries a checkpoint reproduces: a rule that does not know which of them it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.search.exact import best_match, nearest_neighbours

NEARER = 0.5  # of the distance to the nearest other real image, at which a generation is a copy


class Landing(NamedTuple):
    """For each canary, what the generations make of it."""

    similarity: NDArray[np.float64]  # [N], of the nearest generation
    landed: NDArray[np.bool_]  # [N]


def land_on_canaries(
    canaries: NDArray[np.float32],
    digests: Sequence[bytes],
    generations: NDArray[np.float32],
    train: NDArray[np.float32],
    trained: Sequence[bytes],
    holdout: NDArray[np.float32],
) -> Landing:
    """A generation reproduces a canary if it is at most half as far from it as any other real image is.

    The relative distance of Carlini et al. 2023 (arXiv 2301.13188, section 4.2), with the canary's own nearest image in
    place of an average over many. Other real images are training and held-out images and all other canaries, included
    or not, so that the rule is the same for both kinds; a bare positive margin would not do, since canaries are so far
    from everything that chance comes nearer to them than their nearest neighbour.

    Args:
      canaries: Unit rows Float32[N D]; N >= 2.
      digests: N pixel digests.
      generations: Float32[G D].
      train: Float32[T D], repeats included.
      trained: T pixel digests.
      holdout: Float32[M D].
    """
    similarity = best_match(canaries, generations).similarity
    own, whose = np.array([d.hex() for d in digests]), np.array([d.hex() for d in trained])
    repeats = max(int((whose == name).sum()) for name in own)
    near = nearest_neighbours(canaries, train, repeats + 1)
    strange = whose[near.index] != own[:, None]
    other = np.where(strange, near.similarity, -1.0).max(axis=1)
    twins = nearest_neighbours(canaries, canaries, 2)
    among = np.where(twins.index != np.arange(len(canaries))[:, None], twins.similarity, -1.0).max(axis=1)
    nearest = np.maximum.reduce([other, among, nearest_neighbours(canaries, holdout, 1).similarity[:, 0]])
    return Landing(similarity, distance(similarity) <= NEARER * distance(nearest))


def distance(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distance of unit vectors from their inner product."""
    found: NDArray[np.float64] = np.sqrt(np.maximum(2 - 2 * similarity, 0.0))
    return found
