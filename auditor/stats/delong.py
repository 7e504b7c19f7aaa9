"""AUC with its sampling variance, and the paired difference of two AUCs (DeLong, DeLong and Clarke-Pearson 1988)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from auditor.store.parts import Estimate

# Out-of-fold scores depend on each other: folds k and j lend each other their chance differences d_k, d_j, so that
# the AUC of a meaningless split varies as sum_k d_k . sum_{j != k} d_j = 2 sum_{j < k} d_j . d_k, with twice the
# variance of independent folds. Where there is a difference to learn the excess fades, and 2 is on the safe side.
OUT_OF_FOLD_VARIANCE = 2.0


@dataclass(frozen=True)
class Placements:
    """Where each score stands among those of the other side; the AUC is the mean of either.

    Attributes:
      members: Float64[m], the share of non-members below each member's score, ties counting one half.
      nonmembers: Float64[n], the share of members above each non-member's score, ties counting one half.
    """

    members: NDArray[np.float64]
    nonmembers: NDArray[np.float64]

    @property
    def auc(self) -> float:
        return float(self.members.mean())

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.members), len(self.nonmembers)


def placements(members: ArrayLike, nonmembers: ArrayLike) -> Placements:
    """Placement values of two samples of scores, by mid-ranks in O(n log n) (Sun and Xu 2014).

    Raises:
      ValueError: A side is empty, or a score is not finite.
    """
    above, below = np.asarray(members, np.float64), np.asarray(nonmembers, np.float64)
    if not len(above) or not len(below) or not np.isfinite(above).all() or not np.isfinite(below).all():
        raise ValueError(f"scores: got {len(above)} and {len(below)}; expected finite scores on both sides")
    ranks = rankdata(np.concatenate([above, below]))
    m, n = len(above), len(below)
    return Placements((ranks[:m] - rankdata(above)) / n, 1 - (ranks[m:] - rankdata(below)) / m)


def auc_interval(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    level: float = 0.95,
    name: str = "AUC",
    sharing: int = 1,
    variance_factor: float = 1.0,
) -> Estimate:
    """The probability that a member scores above a non-member (ties one half), with its interval.

    DeLong's variance on the logit scale, which keeps the interval within [0, 1] and its coverage near the ends. Where
    that variance vanishes or has no meaning (perfect separation, all scores tied, fewer than 10 on a side) the interval
    comes from min(m, n) disjoint pairs of a member and a non-member, which holds at any size: for perfect separation
    the bound (tail)^(1 / pairs), otherwise Hoeffding's (1963, section 5b).

    Args:
      members: Float[m] scores of members, larger = more likely a member.
      nonmembers: Float[n] scores of non-members.
      level: Two-sided coverage.
      name: Name of the estimate.
      sharing: How many estimates compete for one claim that "some AUC is large": the lower bound spends 1/sharing of
        its tail (Bonferroni). The upper bound needs no correction for the claim that all are small.
      variance_factor: Multiplies DeLong's variance, for scores that are not independent given the image.
    """
    m, n = len(np.asarray(members)), len(np.asarray(nonmembers))
    if min(m, n) < 2:
        return Estimate(name=name, value=None, n=m + n, unscored=f"{m} members and {n} non-members are too few")
    placed = placements(members, nonmembers)
    tails = ((1 - level) / 2 / sharing, (1 - level) / 2)
    variance = variance_factor * _variance(placed.members, placed.nonmembers)
    if variance > 0 and 0 < placed.auc < 1 and min(m, n) >= 10:
        method = "DeLong, logit scale" + (f", variance x {variance_factor:g}" if variance_factor != 1 else "")
        slope = math.sqrt(variance) / (placed.auc * (1 - placed.auc))
        lower = float(expit(logit(placed.auc) - norm.isf(tails[0]) * slope))
        upper = float(expit(logit(placed.auc) + norm.isf(tails[1]) * slope))
    else:
        method = "disjoint pairs"
        lower, upper = _pairs_bounds(placed.auc, min(m, n), tails)
    if sharing > 1:
        method += f", lower bound shared by {sharing}"
    return Estimate(
        name=name, value=placed.auc, lower=lower, upper=upper, level=level, method=method, n=m + n, unit="probability"
    )


def auc_exceeds(members: ArrayLike, nonmembers: ArrayLike, bound: float, *, variance_factor: float = 1.0) -> float:
    """One-sided p-value of "the AUC is at most ``bound``", by the distribution behind :func:`auc_interval`."""
    placed, pairs = placements(members, nonmembers), min(len(np.asarray(members)), len(np.asarray(nonmembers)))
    variance = variance_factor * _variance(placed.members, placed.nonmembers) if pairs >= 10 else 0.0
    if placed.auc <= bound:
        return float(norm.sf((placed.auc - bound) / math.sqrt(variance))) if variance > 0 else 1.0
    if placed.auc == 1:
        return float(bound**pairs)
    if variance == 0:
        return math.exp(-2 * pairs * (placed.auc - bound) ** 2)
    slope = math.sqrt(variance) / (placed.auc * (1 - placed.auc))
    return float(norm.sf((logit(placed.auc) - logit(bound)) / slope))


def excess_interval(
    attack: tuple[ArrayLike, ArrayLike],
    baseline: tuple[ArrayLike, ArrayLike],
    *,
    level: float = 0.95,
    name: str = "AUC excess",
    sharing: int = 1,
    baseline_variance_factor: float = 1.0,
) -> Estimate:
    """AUC(attack) - AUC(baseline) on the same images, each given as (member scores, non-member scores).

    Paired: the placements of one image under both scores are subtracted, so that what both find hard cancels. Where
    the variance vanishes (both separate perfectly, say) each AUC's disjoint-pairs bound is used and the two are added.
    ``level`` and ``sharing`` as :func:`auc_interval`; ``baseline_variance_factor`` - 1 times the baseline's own
    variance is added, for baseline scores that are not independent given the image.

    Raises:
      ValueError: The two do not score the same number of images on each side.
    """
    one, other = placements(*attack), placements(*baseline)
    if one.sizes != other.sizes:
        raise ValueError(f"paired scores: got {one.sizes} and {other.sizes}; expected the same images")
    m, n = one.sizes
    value = one.auc - other.auc
    if min(m, n) < 2:
        return Estimate(name=name, value=None, n=m + n, unscored=f"{m} members and {n} non-members are too few")
    tails = ((1 - level) / 2 / sharing, (1 - level) / 2)
    variance = _variance(one.members - other.members, one.nonmembers - other.nonmembers)
    variance += (baseline_variance_factor - 1) * _variance(other.members, other.nonmembers)
    if variance > 0 and min(m, n) >= 10:
        method = "paired DeLong"
        lower = value - float(norm.isf(tails[0])) * math.sqrt(variance)
        upper = value + float(norm.isf(tails[1])) * math.sqrt(variance)
    else:
        method = "disjoint pairs"
        halves = tuple(tail / 2 for tail in tails)
        one_bounds, other_bounds = (_pairs_bounds(part.auc, min(m, n), halves) for part in (one, other))
        lower, upper = one_bounds[0] - other_bounds[1], one_bounds[1] - other_bounds[0]
    if sharing > 1:
        method += f", lower bound shared by {sharing}"
    return Estimate(
        name=name, value=value, lower=max(lower, -1.0), upper=min(upper, 1.0), level=level, method=method, n=m + n
    )


def _variance(members: NDArray[np.float64], nonmembers: NDArray[np.float64]) -> float:
    """DeLong's variance of a mean placement: each side's sample variance over its size.

    Rounding leaves 1e-33 where all placements are equal; that is no variance.
    """
    variance = float(members.var(ddof=1) / len(members) + nonmembers.var(ddof=1) / len(nonmembers))
    return variance if variance > 1e-24 else 0.0


def _pairs_bounds(auc: float, pairs: int, tails: tuple[float, ...]) -> tuple[float, float]:
    """Bounds of an AUC that need no variance, from ``pairs`` independent pairs hidden in the sample.

    All of them are in order with probability AUC^pairs, so a perfect sample leaves AUC >= tail^(1 / pairs).
    """
    lower = tails[0] ** (1 / pairs) if auc == 1 else auc - math.sqrt(-math.log(tails[0]) / (2 * pairs))
    upper = 1 - tails[1] ** (1 / pairs) if auc == 0 else auc + math.sqrt(-math.log(tails[1]) / (2 * pairs))
    return max(lower, 0.0), min(upper, 1.0)
