"""Clopper-Pearson against scipy, its closed forms, and its promise of coverage."""

from __future__ import annotations

import pytest
from scipy.stats import binom, binomtest

from auditor.stats.intervals import clopper_pearson
from auditor.stats.power import zero_hit_bound


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (3, 10), (10, 10), (1, 1), (37, 5_000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_agrees_with_scipy(hits: int, trials: int, level: float) -> None:
    theirs = binomtest(hits, trials).proportion_ci(level, "exact")
    assert clopper_pearson(hits, trials, level) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_ends_have_closed_forms() -> None:
    # All of n hit: the lower end p solves p^n = 0.05. None hit: the upper end solves (1 - p)^n = 0.05.
    assert clopper_pearson(20, 20, 0.95, "lower") == pytest.approx((0.05 ** (1 / 20), 1.0))
    assert clopper_pearson(0, 4_096, 0.95, "upper") == pytest.approx((0.0, zero_hit_bound(4_096)))


def test_no_trials_say_nothing() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("side", ["two-sided", "lower", "upper"])
def test_covers_every_probability_at_its_level(side: str) -> None:
    # Exact coverage by summing the binomial law, no simulation.
    trials, level = 25, 0.9
    intervals = [clopper_pearson(hits, trials, level, side) for hits in range(trials + 1)]
    coverage = [_coverage(p / 200, intervals) for p in range(1, 200)]
    assert min(coverage) >= level


def test_the_textbook_interval_would_not_cover() -> None:
    # Negative control: value +- 1.645 standard errors covers p = 0.01 hardly ever at 25 trials.
    wald = [(h / 25 - 1.645 * (h / 25 * (1 - h / 25) / 25) ** 0.5, h / 25 + 0.2) for h in range(26)]
    wald[0] = (0.0, 0.0)
    assert _coverage(0.01, wald) < 0.3


@pytest.mark.parametrize("hits", [-1, 6])
def test_impossible_counts_are_refused(hits: int) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.\.5"):
        clopper_pearson(hits, 5)


def _coverage(p: float, intervals: list[tuple[float, float]]) -> float:
    trials = len(intervals) - 1
    inside = [hits for hits, (low, high) in enumerate(intervals) if low <= p <= high]
    return float(binom.pmf(inside, trials, p).sum())
