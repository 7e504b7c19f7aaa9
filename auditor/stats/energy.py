"""Are two samples from one distribution? By distances between their members, for samples of any size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 999


def energy_p_value(distances: NDArray[np.float64], first: NDArray[np.bool_], draw: np.random.Generator) -> float:
    """p-value of the energy distance between the two samples, small = they differ; at least 1 / 1,000.

    Twice the mean distance between the samples less the mean distances within each, held against that of 999 random
    deals of the same sizes. Exact whatever the sizes; even a single one on a side can stand apart.

    Args:
      distances: Float64[N N], symmetric, larger = less alike.
      first: Bool[N], who belongs to the first sample; both samples have at least one member.
      draw: For the deals.

    Source:
      Szekely and Rizzo 2004, Testing for equal distributions in high dimension, InterStat 5.
    """
    smaller = first if 2 * first.sum() <= len(first) else ~first  # the statistic is the same for either
    size, others = int(smaller.sum()), int((~smaller).sum())
    of_row, total = distances.sum(1), distances.sum()

    def statistic(rows: NDArray[np.int64]) -> float:
        within, reached = distances[np.ix_(rows, rows)].sum(), of_row[rows].sum()
        beyond = total - 2 * reached + within
        return float(2 * (reached - within) / (size * others) - within / size**2 - beyond / others**2)

    found = statistic(np.flatnonzero(smaller))
    rounding = 1e-9 * max(abs(found), float(distances.max()))
    dealt = [statistic(draw.permutation(len(first))[:size]) for _ in range(PERMUTATIONS)]
    return (1 + sum(one >= found - rounding for one in dealt)) / (PERMUTATIONS + 1)
