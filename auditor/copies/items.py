"""Scores of the database's items: the unit of the copy decision is the image that may be copied, not the generation.

item i      a duplicate group of pool images
S_i         max over generations g and images of the item of sim(g, image), kept with the pair that attains it
margin r_i  S_i - max similarity of that image to any pool image outside its group
hit         r_i > 0: the generation is nearer to this image than any other real image is
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.compete import settled
from auditor.copies.groups import GroupClass, Groups
from auditor.copies.margin import MOST_ROWS, examine_from_the_top
from auditor.copies.pool import Pool
from auditor.search.exact import best_match


@dataclass(frozen=True)
class ItemScores:
    """One row per item; arrays have length I."""

    score: NDArray[np.float64]  # S_i
    row: NDArray[np.int64]  # pool image that attains it; a training image wherever the item has one
    generation: NDArray[np.int64]  # generation that attains it
    nearest_other: NDArray[np.float64]  # similarity of `row` to the nearest image outside the item; NaN = not examined

    @property
    def margin(self) -> NDArray[np.float64]:
        """Float64[I], NaN where not examined."""
        return self.score - self.nearest_other

    @property
    def is_hit(self) -> NDArray[np.bool_]:
        """Bool[I]: positive margin; items ranked too low to be examined are no hits."""
        with np.errstate(invalid="ignore"):
            hit: NDArray[np.bool_] = self.margin > 0
        return hit


def score_items(
    pool: Pool,
    groups: Groups,
    queries: NDArray[np.float32],
    competes: NDArray[np.bool_],
    *,
    alpha: float,
    most_rows: int = MOST_ROWS,
) -> ItemScores:
    """Scores of all items, and margins of as many from the top as can matter.

    Args:
      queries: Unit vectors Float32[G D], the generations (or placebo images used as if generated).
      competes: Bool[I]; only these decide when enough items were examined.
      most_rows: Items examined at most, whatever their labels.
    """
    match = best_match(pool.embeddings, queries)
    row = _best_rows(pool, groups, match.similarity)
    score = match.similarity[row]
    order = np.lexsort((np.arange(len(row)), -score))  # ties by item number, which knows no labels
    in_contest = competes[order]
    is_training = (groups.kind == GroupClass.TRAINING)[order][in_contest]
    n, m = int(is_training.sum()), int((~is_training).sum())

    def enough(nearest: NDArray[np.float64]) -> bool:
        seen = in_contest[: len(nearest)]
        is_hit = (score[order[: len(nearest)]] > nearest)[seen]
        return settled(is_training, is_hit, int(seen.sum()), n, m, alpha)

    known = examine_from_the_top(row[order], pool.embeddings, groups.group, enough, most_rows=most_rows)
    nearest_other = np.full(len(row), np.nan)
    nearest_other[order[: len(known)]] = known
    return ItemScores(score, row, match.index[row], nearest_other)


def _best_rows(pool: Pool, groups: Groups, similarity: NDArray[np.float64]) -> NDArray[np.int64]:
    """Int64[I]: each item's most similar row, ties by lower row; among training rows where it has any.

    Only mixed groups, which do not compete, hold rows of both sides.
    """
    order = np.lexsort((np.arange(len(similarity)), -similarity, ~pool.is_training, groups.group))
    _, first = np.unique(groups.group[order], return_index=True)
    return order[first]
