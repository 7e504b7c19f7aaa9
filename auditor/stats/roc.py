"""Receiver operating characteristic: thresholds, the curve, and the true positive rate at a small false one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from auditor.stats.delong import placements
from auditor.stats.intervals import clopper_pearson
from auditor.store.parts import Estimate


@dataclass(frozen=True)
class RocCurve:
    """Rates realised by "score >= threshold", from (0, 0) to (1, 1); tied scores enter together.

    Attributes:
      threshold: Float64[k], descending; the first is infinite.
      fpr: Float64[k], share of non-members at or above each threshold, ascending.
      tpr: Float64[k], share of members at or above each threshold, ascending.
    """

    threshold: NDArray[np.float64]
    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]

    def tpr_within(self, fpr: ArrayLike) -> NDArray[np.float64]:
        """Largest TPR whose realised FPR does not exceed each given rate; never interpolated."""
        place = np.searchsorted(self.fpr, np.asarray(fpr, np.float64) + 1e-12, side="right") - 1
        return self.tpr[place]


def roc_curve(members: ArrayLike, nonmembers: ArrayLike) -> RocCurve:
    """The empirical curve with one point per distinct score."""
    above, below = np.sort(np.asarray(members, np.float64)), np.sort(np.asarray(nonmembers, np.float64))
    distinct = np.unique(np.concatenate([above, below]))[::-1]
    fpr = 1 - np.searchsorted(below, distinct, side="left") / len(below)
    tpr = 1 - np.searchsorted(above, distinct, side="left") / len(above)
    return RocCurve(np.append(np.inf, distinct), np.append(0.0, fpr), np.append(0.0, tpr))


def auc(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Probability that a member scores above a non-member, ties one half: the area under the curve (Mann-Whitney)."""
    return placements(members, nonmembers).auc


def tpr_at_fpr(
    members: ArrayLike,
    nonmembers: ArrayLike,
    max_fpr: float = 0.01,
    *,
    level: float = 0.95,
    sharing: int = 1,
    name: str = "",
) -> Estimate:
    """The largest true positive rate of a threshold whose realised false positive rate is at most ``max_fpr``.

    Tied scores are on one side of a threshold together, and the realised rate never exceeds the target: other
    definitions in use (nearest point, first point above, interpolation) overstate it. The interval is for the rate at
    the threshold that exactly ``max_fpr`` of all non-members pass, not only of these: half of each end's error is spent
    on an order statistic of the non-members beyond which that threshold does not lie, half on Clopper-Pearson's bound
    for the members there. It covers whatever the two distributions are, ties included. ``sharing`` as in
    :func:`auditor.stats.delong.auc_interval`.

    Returns:
      An estimate; withheld when the non-members are fewer than 1 / max_fpr, so that not even one may be passed. The
      lower end is 0 where too few non-members bound the threshold from above (below 4.4 / max_fpr at 95%).
    """
    above, below = np.asarray(members, np.float64), np.asarray(nonmembers, np.float64)
    name = name or f"TPR at {max_fpr:.3g} FPR"
    needed = math.ceil(1 / max_fpr - 1e-9)
    if len(above) == 0 or len(below) < needed:
        reason = f"{len(below)} non-members cannot resolve a false positive rate of {max_fpr:.3g}; {needed} can"
        return Estimate(name=name, value=None, n=len(above), unscored=reason)
    hits = _passing(above, below, math.floor(max_fpr * len(below) + 1e-9))
    strict, lower_rest = strict_count(len(below), max_fpr, (1 - level) / 2 / sharing)
    loose, upper_rest = loose_count(len(below), max_fpr, (1 - level) / 2)
    surely, at_most = _passing(above, below, strict), _passing(above, below, loose)
    shared = f", lower bound shared by {sharing}" if sharing > 1 else ""
    method = (
        f"Clopper-Pearson where {max(strict, 0)} and {loose} of {len(below)} non-members may pass, which bound the "
        f"threshold{shared}"
    )
    return Estimate(
        name=name,
        value=hits / len(above),
        lower=clopper_pearson(surely, len(above), 1 - lower_rest, "lower").lower,
        upper=clopper_pearson(at_most, len(above), 1 - upper_rest, "upper").upper,
        level=level,
        method=method,
        n=len(above),
        unit="share of members",
    )


def loose_count(nonmembers: int, fpr: float, tail: float) -> tuple[int, float]:
    """(k, rest): how many non-members may pass so that the threshold is surely low enough, and the error then left.

    More than k of them lie above the true threshold with probability at most tail / 2, by the binomial law; the bound
    made at the (k + 1)-th largest may then err with probability ``rest``, and both together with ``tail``.
    """
    k = int(binom.isf(tail / 2, nonmembers, fpr))
    missed = float(binom.sf(k, nonmembers, fpr))
    return k, (tail - missed) / (1 - missed)


def strict_count(nonmembers: int, fpr: float, tail: float) -> tuple[int, float]:
    """(k, rest) as :func:`loose_count`, for a threshold that is surely high enough; -1 where no finite one is."""
    k = int(binom.ppf(tail / 2, nonmembers, fpr)) - 1
    missed = float(binom.cdf(k, nonmembers, fpr))
    return k, (tail - missed) / (1 - missed)


def _passing(members: NDArray[np.float64], nonmembers: NDArray[np.float64], allowed: int) -> int:
    """Members above the first non-member that must not pass where ``allowed`` may; ties with it fall with it."""
    if allowed < 0:
        return 0
    last = len(nonmembers) - 1 - allowed
    return int((members > (np.partition(nonmembers, last)[last] if last >= 0 else -np.inf)).sum())
