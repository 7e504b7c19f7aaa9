"""Where each generation lands: its nearest real images, and the item that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.groups import Groups
from auditor.copies.items import ItemScores
from auditor.copies.pool import Pool
from auditor.copies.published import RATIO_NEIGHBOURS
from auditor.search.exact import nearest_neighbours


@dataclass(frozen=True)
class Landing:
    """Per generation; G rows, K training neighbours, descending."""

    training_similarity: NDArray[np.float64]  # [G K]
    training_row: NDArray[np.int64]  # [G K]
    holdout_similarity: NDArray[np.float64]  # [G]; -1 without held-out images
    holdout_row: NDArray[np.int64]  # [G] pool row; -1 likewise
    item: NDArray[np.int64]  # [G] item of the nearest pool image; a tie goes to the held-out image
    on_item: NDArray[np.bool_]  # [G] nearer to that image than any image outside the item is

    def counts(self, items: int) -> NDArray[np.int64]:
        """Int64[I]: generations whose nearest pool image belongs to each item."""
        return np.bincount(self.item, minlength=items)


def land(pool: Pool, groups: Groups, items: ItemScores, generations: NDArray[np.float32]) -> Landing:
    """The 50 nearest training images and the nearest held-out image of every generation, exact."""
    n = pool.training
    training = nearest_neighbours(generations, pool.embeddings[:n], RATIO_NEIGHBOURS)
    held_similarity, held_row = np.full(len(generations), -1.0), np.full(len(generations), -1)
    if n < len(pool.ids):
        held = nearest_neighbours(generations, pool.embeddings[n:], 1)
        held_similarity, held_row = held.similarity[:, 0], held.index[:, 0] + n
    to_training = training.similarity[:, 0] > held_similarity
    item = groups.group[np.where(to_training, training.index[:, 0], held_row)]
    best = np.maximum(training.similarity[:, 0], held_similarity)
    with np.errstate(invalid="ignore"):
        on_item = best > items.nearest_other[item]  # False where the item was not examined
    return Landing(training.similarity, training.index, held_similarity, held_row, item, on_item)
