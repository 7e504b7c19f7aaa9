"""Receiver operating characteristic: thresholds, the curve, and the true positive rate at a small false one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    definitions in use (nearest point, first point above, interpolation) overstate it. The interval is
    Clopper-Pearson's for the members at that threshold; the threshold itself comes from the non-members, whose
    sampling error it does not include. ``sharing`` as in :func:`auditor.stats.delong.auc_interval`.

    Returns:
      An estimate; withheld when the non-members are fewer than 1 / max_fpr, so that not even one may be passed.
    """
    above, below = np.asarray(members, np.float64), np.asarray(nonmembers, np.float64)
    name = name or f"TPR at {max_fpr:.3g} FPR"
    needed = math.ceil(1 / max_fpr - 1e-9)
    if len(above) == 0 or len(below) < needed:
        reason = f"{len(below)} non-members cannot resolve a false positive rate of {max_fpr:.3g}; {needed} can"
        return Estimate(name=name, value=None, n=len(above), unscored=reason)
    allowed = math.floor(max_fpr * len(below) + 1e-9)
    # Passing scores lie strictly above the first non-member that must not pass; ties with it fall with it.
    barrier = -np.inf if allowed >= len(below) else np.partition(below, len(below) - 1 - allowed)[-1 - allowed]
    hits = int((above > barrier).sum())
    lower = clopper_pearson(hits, len(above), 1 - (1 - level) / 2 / sharing, "lower").lower
    upper = clopper_pearson(hits, len(above), 1 - (1 - level) / 2, "upper").upper
    shared = f", lower bound shared by {sharing}" if sharing > 1 else ""
    method = (
        f"Clopper-Pearson at a threshold that {int((below > barrier).sum())} of {len(below)} non-members pass{shared}"
    )
    return Estimate(
        name=name,
        value=hits / len(above),
        lower=lower,
        upper=upper,
        level=level,
        method=method,
        n=len(above),
        unit="share of members",
    )
