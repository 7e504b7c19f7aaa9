"""The rank-sum p-value against all assignments of the labels, against SciPy, and by its size under the null."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, mannwhitneyu, rankdata

from auditor.stats.rank_sum import rank_sum_p_value, two_sided_rank_sum_p_value

few = st.lists(st.integers(-3, 3), min_size=2, max_size=6)  # small integers, so that ties are common


def plain_p_value(members, nonmembers):
    """The definition: the share of label assignments whose rank sum is at least the one seen."""
    ranks, m = rankdata([*members, *nonmembers]), len(members)
    sums = [ranks[list(chosen)].sum() for chosen in combinations(range(len(ranks)), m)]
    return np.mean(np.array(sums) >= ranks[:m].sum() - 1e-9)


@settings(deadline=None)
@given(few, few)
def test_small_samples_are_exact_with_ties(members, nonmembers):
    assert rank_sum_p_value(members, nonmembers) == pytest.approx(plain_p_value(members, nonmembers), abs=1e-12)


@pytest.mark.parametrize("shift", [-0.3, 0.0, 0.3])
@pytest.mark.parametrize("levels", [None, 6])
def test_large_samples_equal_scipy(shift, levels):
    draw = np.random.default_rng(0)
    members, nonmembers = draw.normal(shift, 1, 150), draw.normal(0, 1, 230)
    if levels:
        members, nonmembers = np.round(members * levels / 6), np.round(nonmembers * levels / 6)
    expected = mannwhitneyu(members, nonmembers, alternative="greater", method="asymptotic").pvalue
    assert rank_sum_p_value(members, nonmembers) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("m", "n", "within"), [(40, 41, 1e-12), (2, 100, 1e-12), (100, 2, 1e-12), (6, 500, 1e-11), (80, 80, 0.002)]
)
def test_untied_scores_against_the_exact_law(m, n, within):
    """Counted where that is cheap, also for very unequal sides; the approximation takes over at 80 a side."""
    draw = np.random.default_rng(1)
    for _ in range(5):
        members, nonmembers = draw.normal(0.3, 1, m), draw.normal(0, 1, n)
        exact = mannwhitneyu(members, nonmembers, alternative="greater", method="exact").pvalue
        assert abs(rank_sum_p_value(members, nonmembers) - exact) < within


@pytest.mark.parametrize(("m", "n"), [(2, 40), (3, 30), (40, 2)])
@pytest.mark.parametrize("levels", [2, 3, 50])
def test_unequal_sides_equal_enumeration(m, n, levels):
    draw = np.random.default_rng(4)
    for _ in range(3):
        members, nonmembers = draw.integers(0, levels, m), draw.integers(-1, levels, n)
        expected = plain_p_value(members, nonmembers) if m < n else plain_p_value(-nonmembers, -members)
        assert rank_sum_p_value(members, nonmembers) == pytest.approx(expected, abs=1e-11)


def test_two_on_top_of_a_hundred():
    """The normal tail would say 0.0082."""
    assert rank_sum_p_value([200, 201], np.arange(100)) == pytest.approx(1 / comb(102, 2))


@pytest.mark.parametrize(("side", "untied"), [(50, 6), (700, 6), (2000, 300)])
def test_few_scores_off_one_tie(side, untied):
    """All scores off the tie among the members: C(m, k) / C(2 m, k), whether they tie among themselves or not."""
    nonmembers, expected = np.zeros(side), comb(side, untied) / comb(2 * side, untied)
    members = np.zeros(side)
    members[:untied] = 1
    assert rank_sum_p_value(members, nonmembers) == pytest.approx(expected, rel=1e-8)
    assert rank_sum_p_value(nonmembers, -members) == pytest.approx(expected, rel=1e-8)
    if untied < 10:
        members[:untied] = np.arange(1, untied + 1)
        assert rank_sum_p_value(members, nonmembers) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("m", "n", "levels"), [(20, 25, 5), (300, 300, None), (300, 300, 4), (60, 500, 2)])
def test_p_values_are_valid_under_exchangeable_labels(m, n, levels):
    """1,000 draws: P(p <= 0.05) exceeds 5% by at most three binomial errors of 0.0069."""
    draw = np.random.default_rng(2)
    scores = draw.normal(size=(1000, m + n))
    scores = scores if levels is None else np.floor(scores * levels / 4)
    p_values = np.array([rank_sum_p_value(row[:m], row[m:]) for row in scores])
    assert np.mean(p_values <= 0.05) <= 0.05 + 3 * 0.0069
    if levels is None:
        assert kstest(p_values, "uniform").pvalue > 0.001


def test_a_difference_is_found():
    """The control, both ways."""
    draw = np.random.default_rng(3)
    members, nonmembers = draw.normal(0.5, 1, 200), draw.normal(0, 1, 200)
    assert rank_sum_p_value(members, nonmembers) < 1e-4
    assert rank_sum_p_value(nonmembers, members) > 0.999
    assert two_sided_rank_sum_p_value(nonmembers, members) < 1e-4


def test_nothing_to_rank_says_nothing():
    assert rank_sum_p_value(np.zeros(100), np.zeros(100)) == 1.0
    assert rank_sum_p_value([], [1.0]) == 1.0
    assert two_sided_rank_sum_p_value([1.0, 1.0], [1.0]) == 1.0
