"""From scores of canaries to what the record says, tier by tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.stats.delong import auc_interval
from auditor.stats.epsilon import FRACTIONS, audit_epsilon
from auditor.stats.intervals import clopper_pearson
from auditor.stats.roc import tpr_at_fpr
from auditor.store.canaries import Canary, CanaryTier
from auditor.store.parts import Estimate

MAX_FPR = 0.05  # what about 32 canaries left out can resolve


@dataclass(frozen=True)
class Signals:
    """What the checkpoint says about each canary, in the order of the ledger; larger = more likely trained on.

    Attributes:
      attack: Name of the membership attack, with its variant.
      membership: Float64[N], its score; NaN where there is none.
      similarity: Float64[N], of the nearest generation.
      landed: Bool[N], whether a generation reproduces the canary.
    """

    attack: str
    membership: NDArray[np.float64]
    similarity: NDArray[np.float64]
    landed: NDArray[np.bool_]


def measure_tiers(
    canaries: Sequence[Canary], signals: Signals, *, level: float = 0.95, delta: float = 0.0
) -> list[CanaryTier]:
    """One entry per number of repetitions, ascending.

    Lower bounds hold for all tiers together (Bonferroni); those on epsilon besides for both signals and all numbers of
    guesses. Coins of one tier are independent of those of the others, whose canaries count as part of the data.

    Args:
      canaries: The ledger's, in the order of ``signals``.
      delta: For which epsilon is bounded; 0 = pure differential privacy.
    """
    repetitions = np.array([canary.repetitions for canary in canaries])
    included = np.array([canary.included for canary in canaries])
    tiers = np.unique(repetitions).tolist()
    return [_tier(tier, included, repetitions == tier, signals, level, delta, len(tiers)) for tier in tiers]


def _tier(
    repetitions: int,
    included: NDArray[np.bool_],
    here: NDArray[np.bool_],
    signals: Signals,
    level: float,
    delta: float,
    sharing: int,
) -> CanaryTier:
    scored = np.isfinite(signals.membership)
    ours, theirs = (signals.membership[here & scored & side] for side in (included, ~included))
    fpr = f"TPR at {MAX_FPR:.0%} FPR"
    landed = [
        share(f"{name} canaries reproduced", signals.landed[here & side], level)
        for name, side in (("included", included), ("left-out", ~included))
    ]
    bounds = [epsilon(signals, included, here, count, level, delta, sharing) for count in (1, repetitions)]
    return CanaryTier(
        repetitions=repetitions,
        included=int((here & included).sum()),
        excluded=int((here & ~included).sum()),
        auc=auc_interval(ours, theirs, level=level, sharing=sharing),
        tpr_at_5pct_fpr=tpr_at_fpr(ours, theirs, MAX_FPR, level=level, sharing=sharing, name=fpr),
        landed=landed[0],
        landed_excluded=landed[1],
        epsilon=bounds[0],
        epsilon_per_record=bounds[1],
    )


def share(name: str, hits: NDArray[np.bool_], level: float) -> Estimate:
    """The share of Bool[N] with its exact interval; unscored where there is none to look at."""
    if len(hits) == 0:
        return Estimate(name=name, value=None, n=0, unscored="there are no such canaries")
    interval = clopper_pearson(int(hits.sum()), len(hits), level)
    return Estimate(
        name=name, value=float(hits.mean()), lower=interval.lower, upper=interval.upper, level=level,
        method="Clopper-Pearson", n=len(hits), unit="share of canaries",
    )  # fmt: skip


def epsilon(
    signals: Signals,
    included: NDArray[np.bool_],
    here: NDArray[np.bool_],
    repetitions: int,
    level: float,
    delta: float,
    sharing: int,
) -> Estimate:
    """Lower bound on the epsilon of one in ``repetitions`` records that make a canary; 1 = of the canary as a whole."""
    sources = signals.membership[here], signals.similarity[here]
    place, found = audit_epsilon(
        sources, included[here], level=level, delta=delta, sharing=sharing, repetitions=repetitions
    )
    by = (signals.attack, "the nearest generation")[place]
    method = (
        f"one run with random inclusion, delta {delta:g}: {found.correct} of {found.guesses} guesses right by {by}; "
        f"shared by {len(sources)} signals, {len(FRACTIONS)} numbers of guesses and {sharing} tiers"
    )
    name = "epsilon per record, at least" if repetitions > 1 else "epsilon, at least"
    return Estimate(name=name, value=found.epsilon, lower=found.epsilon, level=level, method=method, n=found.coins)
