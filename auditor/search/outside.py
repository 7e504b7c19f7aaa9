"""The nearest other image of a pool row, its duplicates left aside: how near a mere look-alike comes to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.search.exact import nearest_neighbours
from auditor.search.rows import Rows

NO_OTHER = -1.0  # similarity to the nearest other image where there is none


@dataclass(frozen=True)
class Nearest:
    """The nearest pool image outside a row's own duplicate group."""

    similarity: NDArray[np.float64]  # [Q]; -1 where every pool image is in the group
    index: NDArray[np.int64]  # [Q]; -1 likewise


def nearest_outside_group(
    rows: NDArray[np.int64],
    embeddings: Rows,
    group: NDArray[np.int64],
    *,
    queries: NDArray[np.float32] | None = None,
) -> Nearest:
    """Nearest pool image of each row that is no duplicate of it, training and held-out alike; exact, streamed.

    Args:
      rows: Int64[Q] pool rows.
      embeddings: Float32[N D] unit rows of the pool, an ``np.memmap`` or shards.
      group: Int64[N] duplicate group of each pool row.
      queries: Unit vectors Float32[Q D] that stand for the rows, such as their mirrored images; None = their own.
    """
    asked = embeddings if queries is None else queries
    similarity, index = np.full(len(rows), NO_OTHER), np.full(len(rows), -1)
    # Among size + 1 neighbours one is outside the group. Queries are batched by size, so that a group of hundreds
    # does not make every search deep.
    depth = 2 ** np.ceil(np.log2(np.bincount(group)[group[rows]])).astype(np.int64) + 1
    for k in np.unique(depth):
        which = np.flatnonzero(depth == k)
        own = rows[which] if queries is None else which
        found = nearest_neighbours(np.ascontiguousarray(asked[own]), embeddings, int(k))
        outside = group[found.index] != group[rows[which]][:, None]
        column = outside.argmax(axis=1)
        some = outside[np.arange(len(which)), column]
        similarity[which[some]] = found.similarity[some, column[some]]
        index[which[some]] = found.index[some, column[some]]
    return Nearest(similarity, index)
