"""Single images against training set, held-out set and generations, under one encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.search.exact import Neighbours, best_match, nearest_neighbours
from auditor.search.outside import NO_OTHER
from auditor.search.rows import Rows

LISTED = 16  # neighbours looked for at first
BLOCK = 512  # images whose similarity to all generations is in memory at once


@dataclass(frozen=True)
class Surroundings:
    """What lies around Q images."""

    training: Neighbours  # [Q K] nearest training rows
    holdout: Neighbours  # [Q 1] nearest held-out rows; no column without any
    other: NDArray[np.float64]  # [Q] similarity of the nearest image of either set that is no duplicate; -1 = none
    generation: NDArray[np.int64]  # [Q] row of the nearest generation
    similarity: NDArray[np.float64]  # [Q] of it
    landing: NDArray[np.int64]  # [Q] generations nearer to the image than ``other``
    rivals: NDArray[np.int64]  # [Q] held-out images that are no duplicates of it
    as_near: NDArray[np.int64]  # [Q] of those, how many have a generation as near as this image has

    @property
    def p_value(self) -> NDArray[np.float64]:
        """Float64[Q]: (1 + as_near) / (1 + rivals).

        Uniform or larger for an image of the held-out set's origin that the checkpoint does not favour (conformal;
        Bates et al. 2023, arXiv 2104.08279), one image at a time.
        """
        return (1.0 + self.as_near) / (1.0 + self.rivals)


def survey_surroundings(
    images: NDArray[np.float32],
    training: Rows,
    holdout: Rows,
    generations: NDArray[np.float32],
    threshold: float,
) -> Surroundings:
    """Everything exact, the training set streaming through.

    Args:
      images: Unit vectors Float32[Q D], Q >= 1.
      training: Unit vectors Float32[N D], may be an ``np.memmap``.
      holdout: Unit vectors Float32[M D], M may be 0.
      generations: Unit vectors Float32[G D], G >= 1.
      threshold: Similarity from which two images count as duplicates.
    """
    found = nearest_neighbours(images, training, LISTED)
    held = nearest_neighbours(images, holdout, LISTED) if len(holdout) else _nothing(len(images))
    other = np.maximum(
        nearest_beyond(images, training, found, threshold), nearest_beyond(images, holdout, held, threshold)
    )  # of either set
    match = best_match(images, generations)
    landing = np.concatenate(
        [
            (images[start : start + BLOCK] @ generations.T > other[start : start + BLOCK, None]).sum(axis=1)
            for start in range(0, len(images), BLOCK)
        ]
    )
    scores = best_match(holdout, generations).similarity if len(holdout) else np.empty(0)
    duplicate = [held.index[row][held.similarity[row] >= threshold] for row in range(len(images))]
    rivals = np.array([len(holdout) - len(rows) for rows in duplicate])
    above = len(scores) - np.searchsorted(np.sort(scores), match.similarity, side="left")
    itself = [int((scores[rows] >= match.similarity[place]).sum()) for place, rows in enumerate(duplicate)]
    return Surroundings(
        training=found,
        holdout=Neighbours(held.similarity[:, :1], held.index[:, :1]),
        other=other,
        generation=match.index,
        similarity=match.similarity,
        landing=np.maximum(landing, match.similarity > other),  # float64 has the last word on the nearest one
        rivals=rivals,
        as_near=above - np.array(itself),
    )


def _nothing(queries: int) -> Neighbours:
    return Neighbours(np.empty((queries, 0)), np.empty((queries, 0), np.int64))


def nearest_beyond(images: NDArray[np.float32], pool: Rows, found: Neighbours, threshold: float) -> NDArray[np.float64]:
    """Float64[Q]: similarity of the nearest pool row below the threshold; looks deeper where all found are above."""
    similarity = np.full(len(images), NO_OTHER)
    left, depth = np.arange(len(images)), found.similarity.shape[1]
    while len(left) and depth:
        below = found.similarity < threshold
        some = below.any(axis=1)
        similarity[left[some]] = found.similarity[some, below[some].argmax(axis=1)]
        left = left[~some]
        if depth >= len(pool) or not len(left):
            break
        depth = min(4 * depth, len(pool))
        found = nearest_neighbours(np.ascontiguousarray(images[left]), pool, depth)
    return similarity


def listed(found: Neighbours, row: int, threshold: float, ids: Sequence[str]) -> list[tuple[str, float]]:
    """(id, similarity) of one image's neighbours at or above the threshold."""
    keep = found.similarity[row] >= threshold
    return [
        (ids[int(at)], float(similarity))
        for at, similarity in zip(found.index[row][keep], found.similarity[row][keep], strict=True)
    ]
