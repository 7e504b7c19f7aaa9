"""Hits of placebo queries: held-out images used as if the checkpoint had generated them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.groups import GroupClass, Groups
from auditor.copies.items import score_items
from auditor.copies.pool import Pool
from auditor.copies.queries import Queries, as_queries
from auditor.search.exact import nearest_neighbours

ROWS_PER_QUERY = 16  # items examined per query, label-blind: a query is nearest other image of about one item


@dataclass(frozen=True)
class PlaceboHits:
    """What placebo queries hit in a competition of n training against m held-out items."""

    queries: int  # used
    duplicates: int  # left out: as near to a pool image as a planted copy to its original
    training_hits: int
    holdout_hits: int
    n: int
    m: int


def placebo_hits(
    pool: Pool,
    groups: Groups,
    competes: NDArray[np.bool_],
    queries: NDArray[np.float32] | Queries,
    *,
    duplicate_threshold: float,
) -> PlaceboHits:
    """Competing items hit by placebo images, by the rule that decides about generations; as many are examined always.

    No model produced the queries, so their hits split like the items do, n to m, if the two sides are exchangeable.
    Queries that duplicate a pool image are left out whatever its label: the placebo slice and the competition slice
    come from one set, so they would favour the held-out side.

    Args:
      queries: The K placebo images under the views that generations are looked at in.
      groups, competes: As the decision found them.
    """
    asked = as_queries(queries)
    used = asked.only(_nearest(pool, asked) < duplicate_threshold)
    is_training = (groups.kind == GroupClass.TRAINING)[competes]
    n, m = int(is_training.sum()), int((~is_training).sum())
    training_hits = holdout_hits = 0
    if used.generations:
        most_rows = ROWS_PER_QUERY * used.generations
        items = score_items(pool, groups, used, competes, alpha=None, most_rows=most_rows)
        hits = items.is_hit[competes]
        training_hits, holdout_hits = int((hits & is_training).sum()), int((hits & ~is_training).sum())
    duplicates = asked.generations - used.generations
    return PlaceboHits(used.generations, duplicates, training_hits, holdout_hits, n, m)


def _nearest(pool: Pool, queries: Queries) -> NDArray[np.float64]:
    """Similarity of each query to its nearest pool image in its best view, Float64[K]."""
    if queries.generations == 0:
        return np.empty(0)
    similarity = nearest_neighbours(queries.vectors, pool.embeddings, 1).similarity[:, 0]
    best: NDArray[np.float64] = similarity.reshape(len(queries.views), -1).max(axis=0)
    return best
