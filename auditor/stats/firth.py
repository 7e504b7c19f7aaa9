"""Logistic curves in one variable by Firth's penalised likelihood, with profile intervals.

Plain maximum likelihood has no finite slope where the outcome changes once and for all somewhere along the variable,
which is the usual case for what is memorised: never seen once, always seen forty times. Jeffreys' prior keeps slope,
curve and intervals finite there, and takes the first-order bias away elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit, log_expit
from scipy.stats import chi2

STEEPEST = 60.0  # bound on |coefficient| on the log-odds scale, per unit of the variable
TOLERANCE = 1e-6


class Ends(NamedTuple):
    """A value with its interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class LogisticLine:
    """P(success | x) = expit(intercept + slope (x - centre)), fitted to counts at K values of x."""

    x: NDArray[np.float64]  # [K] distinct
    hits: NDArray[np.float64]  # [K]
    trials: NDArray[np.float64]  # [K] > 0
    intercept: float  # at x = 0
    slope: float
    level: float

    def at(self, x: float) -> Ends:
        """The fitted probability at x with its profile interval."""
        here = self.intercept + self.slope * x
        low, high = _profile_ends(self._centred(x), here, self.level, which=0)
        return Ends(float(expit(here)), float(expit(low)), float(expit(high)))

    def slope_ends(self) -> Ends:
        """The change in log-odds per unit of x with its profile interval."""
        low, high = _profile_ends(self._centred(0.0), self.slope, self.level, which=1)
        return Ends(self.slope, low, high)

    def _centred(self, x: float) -> _Counts:
        return _Counts(self.x - x, self.hits, self.trials)


class _Counts(NamedTuple):
    x: NDArray[np.float64]
    hits: NDArray[np.float64]
    trials: NDArray[np.float64]

    def penalised(self, intercept: float, slope: float) -> float:
        """Log-likelihood plus half the log-determinant of the information."""
        log_odds = intercept + slope * self.x
        likelihood = self.hits @ log_expit(log_odds) + (self.trials - self.hits) @ log_expit(-log_odds)
        # p (1 - p) from its logarithm: the determinant stays positive where both tails are far out
        log_weight = log_expit(log_odds) + log_expit(-log_odds) + np.log(self.trials)
        top = log_weight.max()
        weight = np.exp(log_weight - top)
        mean = weight @ self.x / weight.sum()
        spread = weight @ np.square(self.x - mean)
        determinant = np.log(weight.sum()) + np.log(max(spread, 1e-300)) + 2 * top
        return float(likelihood + determinant / 2)


def fit_line(
    x: NDArray[np.float64], hits: NDArray[np.int64], trials: NDArray[np.int64], level: float = 0.95
) -> LogisticLine:
    """The curve that maximises the penalised likelihood.

    Args:
      x: Float64[K], K >= 2 distinct values of order 1 apart.
      hits: Int64[K] successes at each.
      trials: Int64[K] > 0.
      level: Coverage of the intervals, pointwise.

    Raises:
      ValueError: Fewer than two distinct values of x, or no trials at one.

    Source:
      Firth 1993, Biometrika 80; Heinze and Schemper 2002, Statistics in Medicine 21 (profile intervals, separation).
    """
    if len(np.unique(x)) < max(2, len(x)) or (trials <= 0).any():
        raise ValueError(f"logistic line: got x {x.tolist()}; expected two or more distinct values, each with trials")
    counts = _Counts(np.asarray(x, np.float64), hits.astype(np.float64), trials.astype(np.float64))
    share = (hits.sum() + 0.5) / (trials.sum() + 1.0)
    start = np.array([np.log(share / (1 - share)), 0.0])
    middle = _Counts(counts.x - counts.x.mean(), counts.hits, counts.trials)
    bounds = [(-STEEPEST, STEEPEST)] * 2
    found = minimize(lambda at: -middle.penalised(*at), start, method="Nelder-Mead", bounds=bounds,
                     options={"xatol": TOLERANCE, "fatol": TOLERANCE * 1e-3, "maxiter": 4_000})  # fmt: skip
    at_mean, slope = map(float, found.x)
    return LogisticLine(counts.x, counts.hits, counts.trials, at_mean - slope * float(counts.x.mean()), slope, level)


def _profile_ends(counts: _Counts, best: float, level: float, which: int) -> tuple[float, float]:
    """Where the profile of one coefficient (0 intercept, 1 slope) has fallen by half the chi-square quantile."""

    def profile(value: float) -> float:
        def other(free: float) -> float:
            return -counts.penalised(*((value, free) if which == 0 else (free, value)))

        found = minimize_scalar(other, bounds=(-STEEPEST, STEEPEST), method="bounded", options={"xatol": 1e-5})
        return -float(found.fun)

    floor = profile(best) - float(chi2.ppf(level, 1)) / 2
    ends = []
    for direction in (-1.0, 1.0):
        step, edge = 0.5, best
        while profile(edge := best + direction * step) > floor and step < STEEPEST:
            step *= 2
        if step >= STEEPEST:
            ends.append(direction * np.inf)
            continue
        ends.append(float(brentq(lambda at: profile(at) - floor, *sorted((best, edge)), xtol=1e-4)))
    return ends[0], ends[1]
