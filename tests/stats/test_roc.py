"""ROC, AUC, DeLong and TPR at a small FPR, against scikit-learn, against O(nm) sums, and by their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import binom, norm
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from auditor.stats.delong import auc_exceeds, auc_interval, excess_interval, placements
from auditor.stats.intervals import clopper_pearson
from auditor.stats.roc import auc, roc_curve, tpr_at_fpr

scores = st.lists(st.integers(-5, 5), min_size=2, max_size=30)  # small integers, so that ties are common


def plain_kernel(members, nonmembers):
    """psi(x, y) = 1 for x > y, 1/2 for a tie, over all pairs: the definition, O(m n)."""
    x, y = np.asarray(members, float)[:, None], np.asarray(nonmembers, float)[None]
    return (x > y) + 0.5 * (x == y)


def labels(members, nonmembers):
    return np.r_[np.ones(len(members)), np.zeros(len(nonmembers))], np.r_[members, nonmembers]


@given(scores, scores)
def test_auc_equals_all_pairs_and_sklearn(members, nonmembers):
    assert auc(members, nonmembers) == pytest.approx(plain_kernel(members, nonmembers).mean(), abs=1e-12)
    assert auc(members, nonmembers) == pytest.approx(roc_auc_score(*labels(members, nonmembers)), abs=1e-12)


@given(scores, scores)
def test_auc_mirrors_when_sides_or_signs_swap(members, nonmembers):
    assert auc(members, nonmembers) + auc(nonmembers, members) == pytest.approx(1, abs=1e-12)
    assert auc(-np.array(members), -np.array(nonmembers)) == pytest.approx(auc(nonmembers, members), abs=1e-12)


@given(scores, scores)
def test_placements_equal_all_pairs(members, nonmembers):
    placed, kernel = placements(members, nonmembers), plain_kernel(members, nonmembers)
    assert placed.members == pytest.approx(kernel.mean(1), abs=1e-12)
    assert placed.nonmembers == pytest.approx(kernel.mean(0), abs=1e-12)


@given(scores, scores)
def test_curve_equals_sklearn(members, nonmembers):
    curve = roc_curve(members, nonmembers)
    fpr, tpr, threshold = sklearn_roc_curve(*labels(members, nonmembers), drop_intermediate=False)
    assert curve.fpr == pytest.approx(fpr, abs=1e-12)
    assert curve.tpr == pytest.approx(tpr, abs=1e-12)
    assert np.array_equal(curve.threshold, threshold)


def test_delong_variance_equals_all_pairs():
    """On the logit scale the half-width is z sqrt(S10 / m + S01 / n) / (A (1 - A)), S from the kernel's margins."""
    draw = np.random.default_rng(0)
    members, nonmembers = draw.normal(0.7, 1, 40), draw.normal(0, 1, 60)
    kernel = plain_kernel(members, nonmembers)
    value = kernel.mean()
    variance = kernel.mean(1).var(ddof=1) / 40 + kernel.mean(0).var(ddof=1) / 60
    half = norm.ppf(0.975) * math.sqrt(variance) / (value * (1 - value))
    estimate = auc_interval(members, nonmembers)
    ends = logit([estimate.lower, estimate.upper])
    assert ends == pytest.approx([logit(value) - half, logit(value) + half], abs=1e-9)


def test_paired_variance_equals_all_pairs():
    draw = np.random.default_rng(1)
    attack = draw.normal(0.7, 1, 40), draw.normal(0, 1, 60)
    blind = attack[0] + draw.normal(0, 1, 40), attack[1] + draw.normal(0, 1, 60)
    kernel = plain_kernel(*attack) - plain_kernel(*blind)
    half = norm.ppf(0.975) * math.sqrt(kernel.mean(1).var(ddof=1) / 40 + kernel.mean(0).var(ddof=1) / 60)
    estimate = excess_interval(attack, blind)
    assert estimate.value == pytest.approx(kernel.mean(), abs=1e-12)
    assert (estimate.lower, estimate.upper) == pytest.approx((kernel.mean() - half, kernel.mean() + half), abs=1e-12)


REPEATS = 1000


def binormal(draw, shift, m, n):
    """Two Gaussian samples whose true AUC is Phi(shift / sqrt 2)."""
    return draw.normal(shift, 1, m), draw.normal(0, 1, n)


# Binomial error of a coverage of 0.95 over 1,000 repeats: sd 0.007, so three of them are 0.021; a further 0.011
# is granted to the asymptotics at sizes of 50 to 300.
@pytest.mark.parametrize("shift, m, n", [(0.0, 300, 300), (0.5, 50, 300), (1.5, 100, 100), (3.0, 100, 300)])
def test_auc_interval_covers(shift, m, n):
    draw, truth = np.random.default_rng(int(10 * shift) + m), norm.cdf(shift / math.sqrt(2))
    estimates = [auc_interval(*binormal(draw, shift, m, n)) for _ in range(REPEATS)]
    covered = np.mean([e.lower <= truth <= e.upper for e in estimates])
    assert 0.95 - 0.032 < covered < 0.95 + 0.032


def test_a_narrower_interval_would_not_cover():
    """The control: at half its width the interval fails the bound above (it would cover about 0.67)."""
    draw = np.random.default_rng(2)
    estimates = [auc_interval(*binormal(draw, 0.5, 100, 100)) for _ in range(300)]
    truth = norm.cdf(0.5 / math.sqrt(2))
    covered = np.mean([abs(truth - e.value) < (e.upper - e.lower) / 4 for e in estimates])
    assert covered < 0.8


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_paired_excess_covers_zero_for_equals(shift):
    """Two scores of the same strength, correlated through the image: the true excess is 0."""
    draw, covered = np.random.default_rng(3), 0
    for _ in range(REPEATS):
        common = binormal(draw, shift, 150, 250)
        attack, blind = ([side + draw.normal(0, 0.5, len(side)) for side in common] for _ in range(2))
        estimate = excess_interval(tuple(attack), tuple(blind))
        covered += estimate.lower <= 0 <= estimate.upper
    assert 0.95 - 0.032 < covered / REPEATS < 0.95 + 0.032


def test_paired_excess_finds_a_difference():
    draw = np.random.default_rng(4)
    blind = binormal(draw, 0.0, 500, 500)
    attack = blind[0] + 1.0, blind[1]
    assert excess_interval(attack, blind).lower > 0.1


def test_pairing_narrows_the_interval():
    draw = np.random.default_rng(5)
    common = binormal(draw, 1.0, 300, 300)
    other = common[0] + draw.normal(0, 0.1, 300), common[1] + draw.normal(0, 0.1, 300)
    paired = excess_interval(common, other)
    alone = auc_interval(*common)
    assert paired.upper - paired.lower < 0.5 * (alone.upper - alone.lower)


@pytest.mark.parametrize("members, nonmembers, value", [([2.0] * 40, [1.0] * 30, 1.0), ([1.0] * 40, [2.0] * 30, 0.0)])
def test_perfect_separation_keeps_an_honest_interval(members, nonmembers, value):
    estimate = auc_interval(members, nonmembers)
    # 30 disjoint pairs in order: A^30 >= 0.025 leaves A >= 0.025^(1/30) = 0.884
    nearest, farthest = (estimate.upper, estimate.lower) if value == 1 else (estimate.lower, estimate.upper)
    assert estimate.value == nearest == value
    assert abs(farthest - value) == pytest.approx(1 - 0.025 ** (1 / 30), abs=1e-12)


def test_the_bound_of_perfect_separation_holds():
    """Among samples of 20 and 20 at a true AUC just below the bound, perfect separation is rarer than its tail."""
    draw, bound = np.random.default_rng(6), 0.025 ** (1 / 20)
    shift = norm.ppf(bound - 0.001) * math.sqrt(2)
    perfect = np.mean([auc(*binormal(draw, shift, 20, 20)) == 1 for _ in range(REPEATS)])
    assert perfect <= 0.025


def test_tied_scores_say_nothing():
    estimate = auc_interval(np.zeros(100), np.zeros(100))
    assert estimate.value == 0.5
    assert estimate.lower < 0.4 and estimate.upper > 0.6  # Hoeffding: sqrt(ln(40) / 200) = 0.136


def test_sharing_lowers_only_the_lower_bound():
    draw = np.random.default_rng(7)
    sides = binormal(draw, 0.5, 200, 200)
    alone, shared = auc_interval(*sides), auc_interval(*sides, sharing=4)
    assert shared.upper == alone.upper
    wider = auc_interval(*sides, level=1 - 0.05 / 4)  # a quarter of the tail
    assert shared.lower == pytest.approx(wider.lower, abs=1e-12)
    assert shared.lower < alone.lower


def test_too_few_are_unscored():
    assert auc_interval([1.0], [0.0, 0.5]).value is None
    assert auc_interval([1.0], [0.0, 0.5]).unscored


def test_non_finite_scores_are_refused():
    with pytest.raises(ValueError, match="finite"):
        auc([1.0, float("nan")], [0.0])


def plain_tpr(members, nonmembers, max_fpr):
    """The definition by trying every threshold."""
    thresholds = [*members, *nonmembers, math.inf]
    rates = [(np.mean(np.array(nonmembers) >= t), np.mean(np.array(members) >= t)) for t in thresholds]
    return max(tpr for fpr, tpr in rates if fpr <= max_fpr + 1e-12)


@given(scores, st.lists(st.integers(-5, 5), min_size=10, max_size=40), st.sampled_from([0.1, 0.2, 0.25, 0.5, 1.0]))
def test_tpr_is_the_largest_within_the_rate(members, nonmembers, max_fpr):
    expected = plain_tpr(members, nonmembers, max_fpr)
    assert tpr_at_fpr(members, nonmembers, max_fpr).value == pytest.approx(expected, abs=1e-12)
    assert roc_curve(members, nonmembers).tpr_within(max_fpr) == pytest.approx(expected, abs=1e-12)


def test_tpr_ends_are_binomial_where_the_threshold_is_bounded():
    """600 non-members at 0.5, ..., 599.5 and 1,200 members at 0, 1/2, ..., 599.5 exclusive of ties with them.

    Each end has a tail of 0.025. For the upper one the least k with P(Bin(600, 0.01) > k) <= 0.0125 is 12; for the
    lower one P(Bin(600, 0.01) <= k) <= 0.0125 allows k = 0 (0.0024; k = 1 has 0.017).
    """
    members, nonmembers = np.arange(1200) / 2 + 0.25, np.arange(600) + 0.5
    estimate = tpr_at_fpr(members, nonmembers, 0.01)
    above = {k: int((members > nonmembers[599 - k]).sum()) for k in (0, 6, 12)}
    assert above == {0: 1, 6: 13, 12: 25}
    assert estimate.value == 13 / 1200
    loose, strict = binom.sf(12, 600, 0.01), binom.cdf(0, 600, 0.01)
    assert loose <= 0.0125 < binom.sf(11, 600, 0.01) and strict <= 0.0125 < binom.cdf(1, 600, 0.01)
    # both errors together are 0.025: missed + (1 - missed) * rest
    assert loose + (1 - loose) * binom.cdf(25, 1200, estimate.upper) == pytest.approx(0.025, abs=1e-9)
    assert strict + (1 - strict) * binom.sf(0, 1200, estimate.lower) == pytest.approx(0.025, abs=1e-9)


def true_tail(tpr, spread):
    """Mean of members N(mean, spread) of whom ``tpr`` pass the threshold that 1% of N(0, 1) pass."""
    return norm.isf(0.01) - spread * norm.isf(tpr)


# Each end may miss in 2.5% of 1,000 repeats; three binomial errors are 1.5%. Both are on the safe side: an error split
# in halves is rarely spent.
@pytest.mark.parametrize("spread", [0.6, 1.0, 1.5])  # steeper at the threshold than the ray from 0, and flatter
@pytest.mark.parametrize("tpr", [0.01, 0.05, 0.2, 0.6, 0.95])
@pytest.mark.parametrize("m, n", [(700, 700), (90, 700), (300, 150)])
def test_tpr_interval_covers_the_rate_at_the_true_threshold(tpr, spread, m, n):
    draw, mean = np.random.default_rng(int(100 * tpr)), true_tail(tpr, spread)
    ends = [tpr_at_fpr(draw.normal(mean, spread, m), draw.normal(0, 1, n), 0.01) for _ in range(REPEATS)]
    assert np.mean([end.upper < tpr for end in ends]) < 0.025 + 0.015
    assert np.mean([end.lower > tpr for end in ends]) < 0.025 + 0.015


def test_tpr_interval_covers_with_ties_and_a_jump_at_the_threshold():
    """The worst case: no member among the first 1% of false positives, then 30% of them at one score.

    A threshold that 1% of all non-members pass keeps none of these members; one that 1.2% pass keeps all.
    """
    draw, missed = np.random.default_rng(11), 0
    for _ in range(REPEATS):
        nonmembers = np.where(draw.random(700) < 0.0101, 2.0, np.where(draw.random(700) < 0.002, 1.0, draw.random(700)))
        members = np.where(draw.random(700) < 0.3, 1.0, draw.random(700))
        missed += tpr_at_fpr(members, nonmembers, 0.01).lower > 0
    assert missed / REPEATS < 0.025 + 0.015


def test_a_threshold_without_error_would_miss():
    """The control: Clopper-Pearson at the threshold that these non-members give misses a true 5% far too often."""
    draw, mean, missed = np.random.default_rng(12), true_tail(0.05, 1.0), 0
    for _ in range(300):
        members, nonmembers = draw.normal(mean, 1, 700), np.sort(draw.normal(0, 1, 700))
        hits = int((members > nonmembers[-8]).sum())
        missed += clopper_pearson(hits, 700, 0.975, "upper").upper < 0.05
    assert missed / 300 > 0.1


def test_larger_samples_narrow_the_tail():
    """The control of the other kind: the bound is no blanket. At 7,000 a side it is within 0.02 of the truth."""
    draw, mean = np.random.default_rng(13), true_tail(0.05, 1.0)
    estimate = tpr_at_fpr(draw.normal(mean, 1, 7000), draw.normal(0, 1, 7000), 0.01)
    assert 0.03 < estimate.lower < 0.05 < estimate.upper < 0.07


@pytest.mark.parametrize("nonmembers, scored", [(99, False), (100, True)])
def test_tpr_is_withheld_below_its_resolution(nonmembers, scored):
    estimate = tpr_at_fpr(np.arange(50), np.arange(nonmembers), 0.01)
    assert (estimate.value is not None) is scored
    assert scored or "cannot resolve" in estimate.unscored


def test_p_value_and_interval_agree():
    """The one-sided p-value of "AUC <= bound" is the tail at which the lower bound reaches it."""
    sides = binormal(np.random.default_rng(8), 0.5, 200, 300)
    for factor in (1.0, 2.0):
        p_value = auc_exceeds(*sides, 0.52, variance_factor=factor)
        at_it = auc_interval(*sides, level=1 - 2 * p_value, variance_factor=factor)
        assert at_it.lower == pytest.approx(0.52, abs=1e-9)


def test_p_value_is_valid_at_its_bound():
    """At a true AUC equal to the bound, p <= 0.05 in 5% of samples; three binomial errors of 1,000 repeats are 2.1%."""
    draw = np.random.default_rng(9)
    shift = norm.ppf(0.6) * math.sqrt(2)
    p_values = np.array([auc_exceeds(*binormal(draw, shift, 100, 200), 0.6) for _ in range(REPEATS)])
    assert 0.05 - 0.021 < np.mean(p_values <= 0.05) < 0.05 + 0.021


def test_p_values_without_variance():
    """Perfect separation of 20 and 30: all of 20 disjoint pairs in order has probability 0.52^20 at most."""
    assert auc_exceeds(np.ones(20), np.zeros(30), 0.52) == pytest.approx(0.52**20)
    assert auc_exceeds(np.zeros(20), np.zeros(30), 0.52) == 1.0  # all tied: 0.5, below the bound


def test_a_dependent_baseline_widens_the_excess():
    draw = np.random.default_rng(10)
    attack, blind = binormal(draw, 1.0, 200, 200), binormal(draw, 0.0, 200, 200)
    plain = excess_interval(attack, blind)
    wide = excess_interval(attack, blind, baseline_variance_factor=2.0)
    # independent scores: var = v + w, widened v + 2 w, here with v < w because AUC 0.76 varies less than AUC 0.5
    assert 1.2 < (wide.upper - wide.lower) / (plain.upper - plain.lower) < math.sqrt(2)
