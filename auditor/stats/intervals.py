"""Exact binomial intervals: k hits among n independent trials."""

from __future__ import annotations

from typing import Literal, NamedTuple

from scipy.stats import beta

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
