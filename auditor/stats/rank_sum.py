"""The rank-sum test: do members score above non-members more often than exchangeable labels would?

The hypothesis tested is that every image is as likely to carry either label (the checkpoint treats what it was trained
on like what it was not), under which all assignments of the labels to the pooled scores are equally likely.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

EXACT_UP_TO = 80  # pooled scores; the count of label assignments takes m * N^2 cells, a tenth of a second there


def rank_sum_p_value(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """One-sided p-value of "members score no higher": P(AUC as large as seen) over all assignments of the labels.

    Exact up to 80 scores, by counting assignments per rank sum; beyond, normal with the variance of tied mid-ranks and
    a continuity correction, whose error at these sizes is below 0.002. All scores tied, or an empty side: 1.

    Args:
      members: Float[m] finite scores, larger = more likely a member.
      nonmembers: Float[n] finite scores.

    Source:
      Mann and Whitney 1947, Annals of Mathematical Statistics 18; ties as Lehmann 1975, Nonparametrics, section 1.4.
    """
    above, below = np.asarray(members, np.float64), np.asarray(nonmembers, np.float64)
    m, n = len(above), len(below)
    pooled = np.concatenate([above, below])
    if min(m, n) == 0 or (pooled == pooled[0]).all():
        return 1.0
    doubled = np.rint(2 * rankdata(pooled)).astype(np.int64)  # mid-ranks are multiples of one half
    seen = int(doubled[:m].sum())
    if m + n <= EXACT_UP_TO:
        return _exact_tail(doubled, m, seen)
    _, ties = np.unique(pooled, return_counts=True)
    total = m + n
    variance = m * n / 12 * (total + 1 - float((ties**3.0 - ties).sum()) / (total * (total - 1)))
    # A rank sum moves in steps of 1, or of 1/2 where mid-ranks occur; half of the larger step is the safe side.
    return float(norm.sf((seen / 2 - m * (total + 1) / 2 - 0.5) / math.sqrt(variance)))


def two_sided_rank_sum_p_value(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Twice the smaller of both one-sided p-values, at most 1."""
    above, below = np.asarray(members, np.float64), np.asarray(nonmembers, np.float64)
    return min(1.0, 2 * min(rank_sum_p_value(above, below), rank_sum_p_value(below, above)))


def _exact_tail(doubled: NDArray[np.int64], size: int, seen: int) -> float:
    """P(sum >= seen) of ``size`` values drawn without replacement from the pooled doubled mid-ranks."""
    most = int(np.sort(doubled)[-size:].sum())
    ways = np.zeros((size + 1, most + 1))  # subsets by number and sum; at most C(80, 40) = 1e23, exact to 1e-13
    ways[0, 0] = 1.0
    for rank in doubled:
        # the right side is complete before it is stored, so that a value enters each subset once
        ways[1:, rank:] = ways[1:, rank:] + ways[:-1, : most + 1 - rank]
    return float(min(ways[size, seen:].sum() / ways[size].sum(), 1.0))
