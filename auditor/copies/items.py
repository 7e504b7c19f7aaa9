"""Scores of the database's items: the unit of the copy decision is the image that may be copied, not the generation.

item i      a duplicate group of pool images
S_i         max over generations g and images of the item of sim(g, image), kept with the pair that attains it
view        what the generation was turned into where that was nearest: as it is, mirrored, a window of it
margin r_i  S_i - max similarity of that image to any pool image outside its group; mirrored pool images count as well
            where a mirrored generation gave S_i
hit         r_i > 0: the generation is nearer to this image than any other real image is
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.compete import count_families, settled
from auditor.copies.groups import GroupClass, Groups
from auditor.copies.margin import MOST_ROWS, examine_from_the_top, nearest_outside_group
from auditor.copies.pool import Pool
from auditor.copies.queries import Queries, RowViews, as_queries
from auditor.encoders.views import ITS_OWN_INVERSE
from auditor.search.exact import best_match


@dataclass(frozen=True)
class ItemScores:
    """One row per item; arrays have length I."""

    score: NDArray[np.float64]  # S_i
    row: NDArray[np.int64]  # pool image that attains it; a training image wherever the item has one
    generation: NDArray[np.int64]  # generation that attains it
    view: NDArray[np.int64]  # number of the view under which it does, 0 = as it is
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
    queries: NDArray[np.float32] | Queries,
    competes: NDArray[np.bool_],
    *,
    alpha: float | None,
    most_rows: int = MOST_ROWS,
    family: NDArray[np.int64] | None = None,
) -> ItemScores:
    """Scores of all items, and margins of as many from the top as can matter.

    Args:
      queries: Unit vectors Float32[G D], the generations (or placebo images used as if generated), as they are; or
        with their further views.
      competes: Bool[I]; only these decide when enough items were examined.
      alpha: Level of the calls to be made; None = hits are to be counted, for which all ``most_rows`` items are
        examined: to stop where no further call is possible looks at labels, and stops the sooner the more held-out
        items were hit.
      most_rows: Items examined at most, whatever their labels.
      family: Int64[I], as families compete (:func:`auditor.copies.compete.compete`); None = items do.
    """
    asked = as_queries(queries)
    match = best_match(pool.embeddings, asked.vectors) if asked.best is None else asked.best
    row = _best_rows(pool, groups, match.similarity)
    score = match.similarity[row]
    order = np.lexsort((np.arange(len(row)), -score))  # ties by item number, which knows no labels
    in_contest = competes[order]
    is_training = (groups.kind == GroupClass.TRAINING)[order][in_contest]
    families = None if family is None else family[order][in_contest]
    n, m = (count_families(side, families) for side in (is_training, ~is_training))

    def enough(nearest: NDArray[np.float64]) -> bool:
        if alpha is None:
            return False
        seen = in_contest[: len(nearest)]
        is_hit = (score[order[: len(nearest)]] > nearest)[seen]
        return settled(is_training, is_hit, int(seen.sum()), n, m, alpha, families)

    generation, view = asked.split(match.index[row])

    def nearest(place: slice) -> NDArray[np.float64]:
        which = order[place]
        return nearest_other_image(pool, groups, row[which], np.take(asked.views, view[which]), asked.others)

    known = examine_from_the_top(len(row), nearest, enough, most_rows=most_rows)
    nearest_other = np.full(len(row), np.nan)
    nearest_other[order[: len(known)]] = known
    return ItemScores(score, row, generation, view, nearest_other)


def nearest_other_image(
    pool: Pool, groups: Groups, rows: NDArray[np.int64], views: NDArray[np.str_], others: RowViews | None
) -> NDArray[np.float64]:
    """Similarity of pool images to the nearest image outside their groups, Float64[Q].

    Args:
      views: [Q] view of the generation that each is held against. Where it is its own inverse (a mirror), that view of
        the other images counts too: a generation of a garment that hangs the other way round is no copy of this one.
      others: See :func:`auditor.copies.views.queries_of`.
    """
    found = nearest_outside_group(rows, pool.embeddings, groups.group).similarity
    for name in sorted(ITS_OWN_INVERSE) if others else ():
        which = np.flatnonzero(views == name)
        if others and len(which):
            turned = others(rows[which], name)
            again = nearest_outside_group(rows[which], pool.embeddings, groups.group, queries=turned).similarity
            found[which] = np.maximum(found[which], again)
    return found


def _best_rows(pool: Pool, groups: Groups, similarity: NDArray[np.float64]) -> NDArray[np.int64]:
    """Int64[I]: each item's most similar row, ties by lower row; among training rows where it has any.

    Only mixed groups, which do not compete, hold rows of both sides.
    """
    order = np.lexsort((np.arange(len(similarity)), -similarity, ~pool.is_training, groups.group))
    _, first = np.unique(groups.group[order], return_index=True)
    return order[first]
