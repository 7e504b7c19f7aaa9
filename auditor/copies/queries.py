"""The queries of the copy decision: every generation once per view.

A copy seen in a mirror, or shown small within another picture, is far from its original under an encoder that does not
see through that. So each generation stands among the queries as it is, mirrored, and so on. The views are fixed before
any label is read and are the same for every item, so training and held-out items stay exchangeable: an item's score is
merely another function of the generations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.encoders.views import IDENTITY
from auditor.search.exact import BestMatch

Vectors = NDArray[np.float32]
RowViews = Callable[[NDArray[np.int64], str], Vectors]  # (pool rows Int64[Q], a view) to that view of them


@dataclass(frozen=True)
class Queries:
    """Generations under all their views: one row per view and generation, the views one after another."""

    vectors: Vectors  # [V * G, D]
    views: tuple[str, ...]  # V names, the picture as it is first
    others: RowViews | None = None  # the same views of pool images, for their margins
    best: BestMatch | None = None  # of every pool row among these queries, where that was searched beforehand
    prompts: NDArray[np.int64] | None = None  # [G], which prompt each generation was made under; None = under none
    unit: str = "prompts"  # what these numbers count, in words

    @property
    def generations(self) -> int:
        """G."""
        return len(self.vectors) // len(self.views)

    def split(self, row: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(generation, number of the view) of query rows."""
        return row % self.generations, row // self.generations

    def only(self, which: NDArray[np.bool_]) -> Queries:
        """Some of the generations, Bool[G], under all views."""
        vectors = np.ascontiguousarray(self.vectors[np.tile(which, len(self.views))])
        prompts = None if self.prompts is None else self.prompts[which]
        return Queries(vectors, self.views, self.others, prompts=prompts, unit=self.unit)


def queries_of(
    generations: Vectors, further: Mapping[str, Vectors] | None = None, others: RowViews | None = None
) -> Queries:
    """Generations as they are, then their further views.

    Args:
      generations: Float32[G D] unit vectors.
      further: Per view the generations' vectors under it, Float32[G D] each.
      others: Vectors of pool images under the views that are their own inverse. An item whose best generation is a
        mirrored one is a hit only if no other image, mirrored, comes as near; without it, no other image as it is.
    """
    further = further or {}
    if any(vectors.shape != generations.shape for vectors in further.values()):
        raise ValueError("views: every view has one vector per generation")
    stacked = np.concatenate([generations, *further.values()]) if further else generations
    return Queries(stacked, (IDENTITY, *further), others)


def as_queries(generations: Vectors | Queries) -> Queries:
    """Vectors without further views as queries; queries as they are."""
    return generations if isinstance(generations, Queries) else queries_of(generations)
