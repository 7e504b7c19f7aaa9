"""Comparison figures against their definitions, and their behaviour with and without copies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from auditor.copies.published import (
    _weighted_rank_score,
    adaptive_ratio,
    data_copying_test,
    nearest_share,
    shares_above,
)
from auditor.search.exact import nearest_neighbours
from tests.copies.worlds import copies_of, population


def ratio(generations: np.ndarray, training: np.ndarray, distinct: np.ndarray | None = None) -> float:
    found = nearest_neighbours(generations, training, 50)
    distinct = np.arange(len(training)) if distinct is None else distinct
    return adaptive_ratio(generations, training, found.similarity, found.index, distinct, 0.95).value


def test_shares_above() -> None:
    half, six = shares_above(np.array([0.4, 0.5, 0.55, 0.7]), 0.95)
    assert (half.value, six.value) == (0.5, 0.25)
    assert half.method.startswith("uncalibrated")


def test_adaptive_ratio_is_its_definition_with_the_candidates_neighbourhood() -> None:
    rng = np.random.default_rng(1)
    training = population(rng, 200)
    generations = np.concatenate([copies_of(rng, training[:30], 0.12), population(rng, 30)])
    distance = np.linalg.norm(generations[:, None].astype(float) - training[None].astype(float), axis=2)
    near = np.sort(distance, axis=1)[:, :50]
    expected = float((near[:, 0] < 0.5 * near.mean(axis=1)).mean())
    assert 0.1 < expected < 0.9
    assert ratio(generations, training) == pytest.approx(expected)


def test_repeats_are_no_neighbourhood_of_their_own_copies() -> None:
    rng = np.random.default_rng(2)
    distinct = np.r_[np.zeros(70, np.int64), np.arange(1, 200)]
    images = population(rng, 200)
    copies = copies_of(rng, np.repeat(images[:1], 10, axis=0), 0.01)
    assert ratio(copies, images[distinct], distinct) == 1.0
    assert ratio(copies, images[distinct]) == 0.0  # control: with repeats counted, all 50 neighbours are equally near
    # Why the figure is no evidence: among 200 images in 12 classes it calls fresh points that copy nothing.
    assert ratio(population(rng, 100), images[distinct], distinct) > 0.2


@pytest.mark.parametrize(("n", "m"), [(1_000, 1_000), (4_000, 400), (300, 3_000)])
def test_nearest_share_is_half_without_copies_whatever_the_sizes(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    training, holdout, generations = (population(rng, size) for size in (n, m, 600))
    best = [nearest_neighbours(generations, side, 1).similarity[:, 0] for side in (training, holdout)]
    share = nearest_share(*best, n, m, 0.95)
    assert share.lower < 0.5 < share.upper
    with_copies = np.concatenate([generations, copies_of(rng, training[rng.integers(0, n, 400)], 0.02)])
    best = [nearest_neighbours(with_copies, side, 1).similarity[:, 0] for side in (training, holdout)]
    assert nearest_share(*best, n, m, 0.95).lower > 0.5


def test_nearest_share_counts_ties_half_and_doubts_them_in_the_interval() -> None:
    tied = nearest_share(np.ones(50), np.ones(50), 10, 10, 0.95)
    assert tied.value == 0.5
    assert (tied.lower, tied.upper) == (0.0, 1.0)
    assert nearest_share(np.ones(5), -np.ones(5), 10, 0, 0.95).unscored


def test_rank_score_of_one_cell_is_the_normal_approximation_of_mann_whitney() -> None:
    rng = np.random.default_rng(3)
    here, there = rng.random(80), rng.random(120) + 0.1
    ours = _weighted_rank_score(np.zeros(80, int), here, np.zeros(120, int), there)
    u = mannwhitneyu(here, there).statistic  # pairs with here > there
    assert ours == pytest.approx((u - 80 * 120 / 2) / np.sqrt(80 * 120 * 201 / 12))


def test_data_copying_test_is_near_zero_without_copies_and_far_below_with() -> None:
    rng = np.random.default_rng(4)
    training, holdout, fresh = (population(rng, 1_000) for _ in range(3))
    copying = copies_of(rng, training, 0.05)
    scores = []
    for generations in (fresh, copying):
        best = nearest_neighbours(generations, training, 1).similarity[:, 0]
        scores.append(data_copying_test(generations, best, training, holdout).value)
    assert abs(scores[0]) < 3.3  # 99.9% of a standard normal; the mean over cells varies less
    assert scores[1] < -10


def test_data_copying_test_without_usable_cells_is_unscored() -> None:
    rng = np.random.default_rng(5)
    few = population(rng, 5)
    assert data_copying_test(few, np.ones(5), population(rng, 50), few).value is None
