"""Where each generation lands: its nearest real images, and the item that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.groups import Groups
from auditor.copies.items import ItemScores
from auditor.copies.pool import Pool
from auditor.copies.published import RATIO_NEIGHBOURS
from auditor.copies.queries import Queries, as_queries
from auditor.search.exact import nearest_neighbours


@dataclass(frozen=True)
class Landing:
    """Per generation; G rows, K training neighbours, descending. Similarities are of generations as they are."""

    training_similarity: NDArray[np.float64]  # [G K]
    training_row: NDArray[np.int64]  # [G K]
    holdout_similarity: NDArray[np.float64]  # [G]; -1 without held-out images
    holdout_row: NDArray[np.int64]  # [G] pool row; -1 likewise
    item: NDArray[np.int64]  # [G] item of the pool image nearest to any view; a tie goes to the held-out image
    on_item: NDArray[np.bool_]  # [G] nearer to that image than any image outside the item is

    def counts(self, items: int) -> NDArray[np.int64]:
        """Int64[I]: generations whose nearest pool image belongs to each item."""
        return np.bincount(self.item, minlength=items)


def land(pool: Pool, groups: Groups, items: ItemScores, generations: NDArray[np.float32] | Queries) -> Landing:
    """The 50 nearest training images and the nearest held-out image of each generation, exact; its item in any view."""
    asked = as_queries(generations)
    first = slice(0, asked.generations)
    training = nearest_neighbours(asked.vectors[first], pool.embeddings[: pool.training], RATIO_NEIGHBOURS)
    held_similarity, held_row = _nearest_held_out(pool, asked.vectors)
    similarity, row = training.similarity[:, 0], training.index[:, 0]
    if len(asked.views) > 1:
        rest = nearest_neighbours(asked.vectors[asked.generations :], pool.embeddings[: pool.training], 1)
        similarity, row = np.r_[similarity, rest.similarity[:, 0]], np.r_[row, rest.index[:, 0]]
    item = groups.group[np.where(similarity > held_similarity, row, held_row)]
    best = np.maximum(similarity, held_similarity).reshape(len(asked.views), -1)
    view = best.argmax(axis=0)
    item = item.reshape(best.shape)[view, np.arange(asked.generations)]
    with np.errstate(invalid="ignore"):
        on_item = best.max(axis=0) > items.nearest_other[item]  # False where the item was not examined
    return Landing(training.similarity, training.index, held_similarity[first], held_row[first], item, on_item)


def _nearest_held_out(pool: Pool, queries: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(similarity, pool row) of each query's nearest held-out image; -1 without any."""
    n = pool.training
    if n == len(pool.ids):
        return np.full(len(queries), -1.0), np.full(len(queries), -1)
    held = nearest_neighbours(queries, pool.embeddings[n:], 1)
    return held.similarity[:, 0], held.index[:, 0] + n
