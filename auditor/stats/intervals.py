"""Intervals of shares and means: exact binomial ones for k hits among n trials, Student's for a mean."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta
from scipy.stats import t as student_t

from auditor.store.parts import Estimate

Side = Literal["two-sided", "lower", "upper"]


class Interval(NamedTuple):
    """Ends of a confidence interval for a probability, both in [0, 1]."""

    lower: float
    upper: float


def clopper_pearson(hits: int, trials: int, level: float = 0.95, side: Side = "two-sided") -> Interval:
    """The interval of a success probability that covers it with probability at least ``level``, whatever it is.

    Args:
      hits: Successes, 0..trials.
      trials: Independent trials; 0 gives (0, 1).
      level: Coverage in (0, 1).
      side: ``"lower"`` spends all of 1 - level on the lower end and has upper = 1; ``"upper"`` the reverse.

    Source:
      Clopper and Pearson 1934, Biometrika 26, by quantiles of the beta distribution.
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"hits: got {hits}; expected 0..{trials}")
    tail = (1.0 - level) / 2.0 if side == "two-sided" else 1.0 - level
    lower, upper = 0.0, 1.0
    if side != "upper" and hits > 0:
        lower = float(beta.ppf(tail, hits, trials - hits + 1))
    if side != "lower" and hits < trials:
        upper = float(beta.isf(tail, hits + 1, trials - hits))
    return Interval(lower, upper)


def mean_interval(values: ArrayLike, *, level: float = 0.95, name: str = "mean", unit: str = "") -> Estimate:
    """The mean of independent values with Student's interval; unscored below two values.

    Args:
      values: Float[N], finite; independent draws, roughly symmetric or many.
      level: Coverage in (0, 1).
    """
    x = np.asarray(values, np.float64)
    if len(x) < 2:
        reason = f"{len(x)} values are too few: 2 are needed"
        return Estimate(name=name, value=None, n=len(x), unit=unit, unscored=reason)
    width = float(student_t.isf((1 - level) / 2, len(x) - 1) * x.std(ddof=1)) / math.sqrt(len(x))
    mean = float(x.mean())
    return Estimate(
        name=name, value=mean, lower=mean - width, upper=mean + width, level=level, method="t interval", n=len(x),
        unit=unit,
    )  # fmt: skip
