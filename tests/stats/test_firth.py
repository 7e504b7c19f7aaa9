"""Firth's logistic line: closed form of the saturated table, separation, and coverage of its profile intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from auditor.stats.firth import fit_line


def test_two_values_are_the_table_with_half_added_to_each_cell() -> None:
    """Saturated: Jeffreys' prior adds 1/2 to each cell, so log-odds are log((k + 1/2) / (n - k + 1/2))."""
    hits, trials = np.array([3, 17]), np.array([40, 25])
    line = fit_line(np.array([0.0, 2.0]), hits, trials)
    expected = np.log((hits + 0.5) / (trials - hits + 0.5))
    assert line.intercept == pytest.approx(expected[0], abs=1e-3)
    assert line.slope == pytest.approx((expected[1] - expected[0]) / 2, abs=1e-3)


def test_separation_gives_finite_values() -> None:
    """Never at once, always at forty times: maximum likelihood has no finite slope here."""
    line = fit_line(np.log2([1, 40]), np.array([0, 40]), np.array([1_960, 40]))
    value, lower, upper = line.slope_ends()
    assert 1.5 < lower < value < upper < np.inf
    assert line.at(0.0).upper < 0.003 and line.at(float(np.log2(40))).lower > 0.9


def test_no_effect_has_an_interval_around_zero() -> None:
    line = fit_line(np.arange(4.0), np.array([10, 10, 10, 10]), np.array([100, 100, 100, 100]))
    value, lower, upper = line.slope_ends()
    assert abs(value) < 1e-3 and lower < 0 < upper
    at = line.at(1.5)
    assert at.value == pytest.approx(40.5 / 401, abs=0.003) and at.lower < 0.1 < at.upper


@pytest.mark.parametrize(("intercept", "slope"), [(-3.0, 1.0), (-5.0, 2.0), (0.0, 0.0)])
def test_intervals_cover(intercept: float, slope: float) -> None:
    """200 draws: 95% intervals cover 190 on average; below 180 has probability 0.001."""
    rng = np.random.default_rng(0)
    x, trials = np.arange(6.0), np.array([200, 100, 50, 25, 12, 6])
    slopes = means = 0
    for _ in range(200):
        line = fit_line(x, rng.binomial(trials, expit(intercept + slope * x)), trials)
        ends, middle = line.slope_ends(), line.at(2.0)
        slopes += ends.lower <= slope <= ends.upper
        means += middle.lower <= expit(intercept + 2 * slope) <= middle.upper
    assert slopes >= 180 and means >= 180


@pytest.mark.parametrize(("x", "trials"), [([1.0], [3]), ([1.0, 1.0], [3, 3]), ([0.0, 1.0], [3, 0])])
def test_what_has_no_line_is_refused(x: list[float], trials: list[int]) -> None:
    with pytest.raises(ValueError, match="distinct values"):
        fit_line(np.array(x), np.zeros(len(x), np.int64), np.array(trials))
