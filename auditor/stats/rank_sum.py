"""The rank-sum test: do members score above non-members more often than exchangeable labels would?

The hypothesis tested is that every image is as likely to carry either label (the checkpoint treats what it was trained
on like what it was not), under which all assignments of the labels to the pooled scores are equally likely.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from scipy.stats import hypergeom, norm, rankdata

EXACT_CELLS = 50_000_000  # additions spent on counting label assignments: up to a tenth of a second
LARGEST = 690.0  # log of the number of assignments, which has to be a float64


def rank_sum_p_value(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """One-sided p-value of "members score no higher": P(AUC as large as seen) over all assignments of the labels.

    Exact by counting assignments per rank sum where that takes at most 50 million additions: up to about 110 scores
    whatever they are, 1,000 where a side has up to 7, and any number where all but some dozens are tied; where only two
    different scores occur, always (a hypergeometric tail). Beyond, normal with the variance of tied mid-ranks and a
    continuity correction. Its error (measured against the exact law) is below 0.002 for 15 or more untied scores a
    side, below 0.006 for 5 to 14, and up to 0.02 where a few values tie most scores, for rank sums move in coarse steps
    there; it is larger (0.06 for one score) only for one to four scores against thousands. All tied, or an empty side:
    1.

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
    exact = _exact_tail(doubled, m, seen) if m <= n else _exact_tail(-doubled, n, seen - int(doubled.sum()))
    if exact is not None:
        return exact
    _, ties = np.unique(pooled, return_counts=True)
    total = m + n
    variance = m * n / 12 * (total + 1 - float((ties**3.0 - ties).sum()) / (total * (total - 1)))
    # A rank sum moves in steps of 1, or of 1/2 where mid-ranks occur; half of the larger step is the safe side.
    return float(norm.sf((seen / 2 - m * (total + 1) / 2 - 0.5) / math.sqrt(variance)))


def two_sided_rank_sum_p_value(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Twice the smaller of both one-sided p-values, at most 1."""
    above, below = np.asarray(members, np.float64), np.asarray(nonmembers, np.float64)
    return min(1.0, 2 * min(rank_sum_p_value(above, below), rank_sum_p_value(below, above)))


def _exact_tail(values: NDArray[np.int64], size: int, seen: int) -> float | None:
    """P(sum >= seen) of ``size`` of the values drawn without replacement, or None where counting takes too long.

    Counted from the commonest value, of which any number may be drawn: only the others, and how many of them are drawn,
    have to be enumerated.
    """
    distinct, counts = np.unique(values, return_counts=True)
    common = int(distinct[counts.argmax()])
    off = values[values != common] - common
    step = int(np.gcd.reduce(off))
    off, wanted = off // step, (seen - size * common) // step
    if len(distinct) == 2:
        law = hypergeom(len(values), len(off), size)
        return float(law.sf(wanted - 1) if off[0] > 0 else law.cdf(-wanted))
    most = min(size, len(off))
    ordered = np.sort(off)
    low, high = int(np.minimum(ordered[:most], 0).sum()), int(np.maximum(ordered[-most:], 0).sum())
    assignments = float(_log_choose(len(off), np.array(min(most, len(off) // 2))))
    if len(off) * most * (high - low + 1) > EXACT_CELLS or assignments > LARGEST:
        return None
    ways = np.zeros((most + 1, high - low + 1))  # subsets of the others by number and sum
    ways[0, -low] = 1.0
    for value in off.tolist():
        # the right side is complete before it is stored, so that a value enters each subset once
        if value > 0:
            ways[1:, value:] = ways[1:, value:] + ways[:-1, :-value]
        else:
            ways[1:, :value] = ways[1:, :value] + ways[:-1, -value:]
    reached = ways[:, max(wanted - low, 0) :].sum(1)
    drawn = np.arange(most + 1)
    tied = len(values) - len(off)
    possible = size - drawn <= tied
    share = np.zeros(most + 1)
    share[possible] = np.exp(_log_choose(tied, size - drawn[possible]) - _log_choose(len(values), np.array(size)))
    return float(min((reached * share).sum(), 1.0))


def _log_choose(total: int, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(gammaln(total + 1) - gammaln(chosen + 1) - gammaln(total - chosen + 1), np.float64)
