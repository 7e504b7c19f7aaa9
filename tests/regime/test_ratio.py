"""Koopman's interval: a published example, and its coverage summed exactly over all outcomes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from auditor.regime.ratio import koopman


def coverage(trials: int, base_trials: int, level: float = 0.95) -> np.ndarray:
    """Exact coverage over a grid of 13 x 13 pairs of probabilities."""
    ends = np.array([[koopman(x, trials, y, base_trials, level) for y in range(base_trials + 1)] for x in
                     range(trials + 1)])  # fmt: skip
    found = []
    for p in np.linspace(0.02, 0.98, 13):
        for p0 in np.linspace(0.02, 0.98, 13):
            weight = np.outer(
                binom.pmf(range(trials + 1), trials, p), binom.pmf(range(base_trials + 1), base_trials, p0)
            )
            found.append(weight[(ends[..., 0] <= p / p0) & (p / p0 <= ends[..., 1])].sum())
    return np.array(found)


def test_the_published_example() -> None:
    # Koopman 1984, section 3: 36 of 40 against 16 of 80
    assert koopman(36, 40, 16, 80) == pytest.approx((2.94, 7.15), abs=0.005)


@pytest.mark.parametrize(("trials", "base_trials"), [(10, 10), (12, 30), (30, 12), (30, 30)])
def test_it_covers_close_to_its_level_even_for_small_samples(trials: int, base_trials: int) -> None:
    found = coverage(trials, base_trials)
    assert found.mean() > 0.949 and found.min() > 0.91
    assert found.mean() < 0.965  # it is no wider than it has to be


def test_a_higher_level_covers_more() -> None:
    found = coverage(12, 12, 0.995)  # a Bonferroni level of ten values, at the smallest samples
    assert found.mean() > 0.992 and found.min() > 0.96


def test_zero_counts_have_one_open_end() -> None:
    assert koopman(0, 40, 0, 80) == (0.0, math.inf)
    nothing = koopman(0, 40, 16, 80)
    assert nothing.lower == 0.0 and 0 < nothing.upper < 1
    everything = koopman(5, 40, 0, 80)
    assert everything.upper == math.inf and everything.lower > 1


def test_both_saturated_sides_contain_one() -> None:
    interval = koopman(40, 40, 80, 80)
    assert interval.lower < 1 < interval.upper < 1.2


@pytest.mark.parametrize(("x", "y"), [(1, 30), (7, 7), (29, 2), (30, 15)])
def test_exchanging_the_sides_inverts_it(x: int, y: int) -> None:
    forward, backward = koopman(x, 30, y, 30), koopman(y, 30, x, 30)
    assert forward == pytest.approx((1 / backward.upper, 1 / backward.lower), rel=1e-6)
    assert forward.lower <= x / y <= forward.upper


def test_large_samples_agree_with_the_log_delta_interval() -> None:
    x, m, y, n = 3_000, 10_000, 24_000, 100_000
    width = 1.959964 * math.sqrt(1 / x - 1 / m + 1 / y - 1 / n)
    centre = math.log((x / m) / (y / n))
    assert koopman(x, m, y, n) == pytest.approx((math.exp(centre - width), math.exp(centre + width)), rel=1e-3)


@pytest.mark.parametrize(("hits", "trials"), [(-1, 4), (5, 4), (0, 0)])
def test_impossible_counts_are_refused(hits: int, trials: int) -> None:
    with pytest.raises(ValueError, match="hits"):
        koopman(hits, trials, 1, 2)
