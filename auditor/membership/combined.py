"""All signals of all attacks as one more attack: a logistic regression, fitted where it is not reported.

Each slice of the images (calibration, report) is scored by a regression fitted on the other, so no image is scored by
a fit that saw it, nor, since near-duplicates count once a side, by one that saw its like. What is reported comes from
the fit on the calibration slice alone: given that fit a score depends on its own image only, so that the interval
holds as it does for any other attack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit

from auditor.diffusion.score_table import extend
from auditor.membership.evaluate import Side
from auditor.probes import generator
from auditor.stats.logistic import Logistic, fit_logistic

NAME = "combined"
LABELLED = frozenset({"gsa", "lira", "rmia", NAME})  # attacks whose scores depend on who is a member
PENALTIES = np.geomspace(1e-4, 10, 11)  # times the number of images; signals are standardised
FOLDS = 5
FARTHEST = 8.0  # robust deviations beyond which a signal says no more

Variants = Mapping[str, Mapping[str, NDArray[np.float64]]]


@dataclass(frozen=True)
class Scale:
    """Robust standardisation: deviations from the median, in interquartile ranges / 1.349 (a normal's deviation)."""

    centre: NDArray[np.float64]  # [D]
    width: NDArray[np.float64]  # [D], infinite for a signal that does not vary

    def __call__(self, signals: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip((signals - self.centre) / self.width, -FARTHEST, FARTHEST)


@dataclass(frozen=True)
class Combination:
    """A fit that scores any image from its signals: log-odds of membership, up to a constant."""

    scale: Scale
    fit: Logistic
    penalty: float

    def __call__(self, signals: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.fit.log_odds(self.scale(signals))


@dataclass(frozen=True)
class Combined:
    """Both sides with the attack "combined" added, and the two fits.

    Attributes:
      on_calibration: Fitted on the calibration slice; it scores the report slice and any other image.
      on_report: Fitted on the report slice; it scores the calibration slice.
    """

    members: Side
    nonmembers: Side
    on_calibration: Combination
    on_report: Combination


def signals_of(scores: Variants) -> NDArray[np.float64]:
    """Every variant of every attack as a column, Float64[N D], but of attacks that use labels themselves.

    Their scores of the images whose labels they used are of another kind than those of others, and a permutation of
    labels would have to go through them, too.
    """
    count = len(next(iter(next(iter(scores.values())).values())))
    columns = [x for name, variants in scores.items() if name not in LABELLED for x in variants.values()]
    return np.column_stack([np.empty((count, 0)), *columns])


def robust_scale(signals: NDArray[np.float64]) -> Scale:
    """The scale of each column, without looking at labels; the standard deviation where half the values are equal."""
    lower, centre, upper = np.quantile(signals, [0.25, 0.5, 0.75], axis=0)
    least = 1e-9 * np.abs(centre) + 1e-300  # what rounding leaves of a constant
    width = (upper - lower) / 1.349
    width = np.where(width > least, width, signals.std(0))
    return Scale(centre, np.where(width > least, width, np.inf))


def fit_combination(signals: NDArray[np.float64], is_member: NDArray[np.bool_], seed: str) -> Combination | None:
    """The regression of the label on all signals; its penalty has the least out-of-fold deviance.

    Sides of unequal size move the intercept, which ranks do not see.

    Args:
      signals: Float64[N D], larger = more likely a member each, though weights may have either sign: a contrast of two
        signals takes out how hard an image is in itself.
      is_member: Bool[N].
      seed: For the folds, dealt at random and evenly for each side.

    Returns:
      None where a side has fewer than two images, for then nothing can be left out.
    """
    folds = min(FOLDS, int(is_member.sum()), int((~is_member).sum()))
    if folds < 2:
        return None
    draw, fold_of = generator(seed, "membership/combined"), np.empty(len(signals), np.int64)
    for side in (is_member, ~is_member):
        fold_of[draw.permutation(np.flatnonzero(side))] = np.arange(side.sum()) % folds
    scale = robust_scale(signals)
    x, losses = scale(signals), np.zeros(len(PENALTIES))
    for fold in range(folds):
        kept = fold_of != fold
        sign = np.where(is_member[~kept], 1.0, -1.0)
        for place, penalty in enumerate(PENALTIES):
            fit = fit_logistic(x[kept], is_member[kept], penalty * kept.sum())
            losses[place] -= log_expit(sign * fit.log_odds(x[~kept])).sum()
    penalty = float(PENALTIES[np.argmin(losses)])
    return Combination(scale, fit_logistic(x, is_member, penalty * len(x)), penalty)


def combine(members: Side, nonmembers: Side, seed: str) -> Combined | None:
    """Both sides with the attack "combined": its one variant has a score of every image, larger = member.

    Args:
      members: Scored by the same attacks as ``nonmembers``; every image is a unit of its own.
      nonmembers: Likewise.
      seed: The audit's root seed.

    Returns:
      None where there are fewer than two signals, or a slice has fewer than two images of a side.
    """
    ours, theirs = signals_of(members.table.scores), signals_of(nonmembers.table.scores)
    if ours.shape[1] < 2:
        return None
    signals, is_member = np.concatenate([ours, theirs]), np.arange(len(ours) + len(theirs)) < len(ours)
    calibration = np.concatenate([members.calibration, nonmembers.calibration])
    fits = [fit_combination(signals[rows], is_member[rows], seed) for rows in (calibration, ~calibration)]
    on_calibration, on_report = fits
    if on_calibration is None or on_report is None:
        return None
    scores = np.where(calibration, on_report(signals), on_calibration(signals))
    sides = _add(members, scores[is_member]), _add(nonmembers, scores[~is_member])
    return Combined(*sides, on_calibration, on_report)


def _add(side: Side, scores: NDArray[np.float64]) -> Side:
    """The side with one more attack, which costs what its signals cost and nothing beyond."""
    table, cost = side.table, side.table.per_image
    spent = table.evaluations // max(len(table.ids) + len(table.unscored), 1)
    references = [cost[name] - cost["loss"] for name in ("lira", "rmia") if name in cost]
    others = cost.get("gsa", 0) + max(references, default=0)
    widened = extend(table, {NAME: {"all signals": scores}}, {}, 0)
    return replace(side, table=replace(widened, per_image=cost | {NAME: spent - others}))
