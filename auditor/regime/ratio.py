"""How many times as frequent something is in one sample as in another."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from scipy.optimize import brentq
from scipy.stats import chi2

FARTHEST = 300.0  # log ratio that stands for an infinite one; its square does not overflow

# A fitted probability of 0 or 1 is off by the square root of the float's rounding. A deviation this small adds less
# than 1e-6 to the statistic: next to 0 or 1 the variance is as small as the deviation itself.
NO_DEVIATION = 1e-6


class RatioInterval(NamedTuple):
    """Ends of a confidence interval for a ratio, 0 <= lower <= upper; the upper end may be infinite."""

    lower: float
    upper: float


def koopman(hits: int, trials: int, base_hits: int, base_trials: int, level: float = 0.95) -> RatioInterval:
    """Interval of theta = p / p0 for independent Binomial(trials, p) and Binomial(base_trials, p0).

    All theta whose chi-squared score statistic, with p and p0 fitted under that ratio, is within its quantile. It uses
    no logarithm of a zero count and keeps close to its level for small counts, where log and delta methods do not:
    at a level of 0.95 it covers 0.950 to 0.953 on average over p and p0, and 0.914 at the worst pair of 10 against 10,
    0.92 from 12 against 30 on (summed exactly over 33 x 33 pairs of probabilities). At a
    level of 0.995, 12 against 12 cover 0.993 on average.

    Args:
      hits: 0..trials; 0 gives a lower end of 0.
      base_hits: 0..base_trials; 0 gives an infinite upper end. With no hit on either side it is (0, infinity).

    Source:
      Koopman 1984, Biometrics 40, 513-517.
    """
    for name, k, n in (("hits", hits, trials), ("base_hits", base_hits, base_trials)):
        if not 0 <= k <= n or n == 0:
            raise ValueError(f"{name}: got {k} of {n}; expected 0..n of n >= 1")
    limit = float(chi2.isf(1 - level, 1))
    if hits == base_hits == 0:
        return RatioInterval(0.0, math.inf)

    def excess(log_ratio: float) -> float:
        return _score(math.exp(log_ratio), hits, trials, base_hits, base_trials) - limit

    # The statistic is 0 at the observed ratio and grows on both sides; where that is 0 or infinite, on one
    start = (math.log(hits) if hits else -FARTHEST) - (math.log(base_hits) if base_hits else -FARTHEST)
    if hits and base_hits:
        start += math.log(base_trials / trials)
    start = min(max(start, -FARTHEST), FARTHEST)
    return RatioInterval(
        0.0 if hits == 0 else math.exp(_crossing(excess, start, -1.0)),
        math.inf if base_hits == 0 else math.exp(_crossing(excess, start, 1.0)),
    )


def _crossing(excess: Callable[[float], float], start: float, direction: float) -> float:
    """Where the statistic crosses its limit on one side of the observed log ratio."""
    inside, step = start, 0.5
    while excess(inside + direction * step) < 0:
        inside, step = inside + direction * step, 2 * step
    return float(brentq(excess, inside, inside + direction * step, xtol=1e-10))


def _score(ratio: float, x: int, m: int, y: int, n: int) -> float:
    """Koopman's statistic U(theta), from fitted p = theta p0, the smaller root of a quadratic."""
    b = ratio * (m + y) + x + n
    root = math.sqrt(max(b * b - 4 * ratio * (m + n) * (x + y), 0.0))
    p = min(2 * ratio * (x + y) / (b + root), 1.0)  # the smaller root, written without cancellation
    p0 = min(p / ratio, 1.0)
    statistic = 0.0
    for k, trials, fitted in ((x, m, p), (y, n, p0)):
        variance = trials * fitted * (1 - fitted)
        deviation = k - trials * fitted
        if abs(deviation) > NO_DEVIATION:
            statistic += deviation * deviation / variance if variance > 0 else math.inf
    return statistic
