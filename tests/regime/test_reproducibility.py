"""Reproducibility of columns whose relation is known, and the coverage of what it claims."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auditor.errors import DataError
from auditor.regime.reproducibility import reproducibility
from auditor.store.comparison import Reproducibility
from tests.regime.columns import two_columns

REPETITIONS = 300


def compare(left: np.ndarray, right: np.ndarray) -> Reproducibility:
    return reproducibility(left, right, encoder="pixel", names=("a", "b"), data="disjoint")


@pytest.fixture(scope="module")
def independent() -> list[Reproducibility]:
    rng = np.random.default_rng(1)
    return [compare(*two_columns(rng, 120, 24, 0.0)) for _ in range(REPETITIONS)]


@pytest.fixture(scope="module")
def correlated() -> list[Reproducibility]:
    rng = np.random.default_rng(2)
    return [compare(*two_columns(rng, 120, 24, 0.5)) for _ in range(REPETITIONS)]


def test_identical_columns_reproduce_everything() -> None:
    left, _ = two_columns(np.random.default_rng(3), 500, 32, 0.0)
    found = compare(left, left)
    for estimate in (found.matched, found.rp, found.rp_published, found.identified):
        assert estimate.value == pytest.approx(1.0, abs=1e-9)
    assert found.rp.lower == pytest.approx(0.025 ** (1 / 250))  # Clopper-Pearson at 250 of 250
    assert found.mismatched.value == pytest.approx(-1 / 499, abs=2e-3)  # what own means leave
    assert found.similarity.series["same noise"][-1] == 1.0


def test_of_independent_columns_one_percent_exceed_the_threshold(independent: list[Reproducibility]) -> None:
    # 300 x 60 reported probes at 1%: standard error 0.0007, plus that of thresholds from 60 probes each
    assert np.mean([found.rp.value for found in independent]) == pytest.approx(0.01, abs=0.004)
    assert np.mean([found.mismatched_above for found in independent]) == pytest.approx(0.01, abs=0.002)
    # negative control: columns that do agree exceed it far more often
    left, right = two_columns(np.random.default_rng(4), 400, 24, 0.5)
    assert (compare(left, right).rp.lower or 0) > 0.3


def test_the_calibrated_interval_covers_the_true_exceedance(independent: list[Reproducibility]) -> None:
    # The truth at each repetition's own threshold, from 200,000 independent pairs
    left, right = two_columns(np.random.default_rng(5), 200_000, 24, 0.0)
    left, right = left - left.mean(axis=0), right - right.mean(axis=0)
    cosine = np.einsum("gd,gd->g", left, right) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    truth = [float((cosine > found.threshold).mean()) for found in independent]
    missed = [not found.rp.lower <= t <= found.rp.upper for found, t in zip(independent, truth, strict=True)]
    assert np.mean(missed) < 0.05 + 2 * math.sqrt(0.05 * 0.95 / REPETITIONS)


def test_independent_columns_are_identified_by_chance(independent: list[Reproducibility]) -> None:
    counts = [found.identified.value * found.probes for found in independent]
    assert np.mean(counts) == pytest.approx(1.0, abs=4 / math.sqrt(REPETITIONS))  # one of G; Poisson, four errors
    covered = [found.identified.lower <= 1 / found.probes <= found.identified.upper for found in independent]
    assert np.mean(covered) > 0.95 - 2 * math.sqrt(0.05 * 0.95 / REPETITIONS)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_mean_similarity_covers_its_truth(
    correlation: float, independent: list[Reproducibility], correlated: list[Reproducibility]
) -> None:
    truth = compare(*two_columns(np.random.default_rng(6), 20_000, 24, correlation)).matched.value
    assert truth == pytest.approx(correlation, abs=0.02)  # of Gaussians in D dimensions: r up to O(1 / D)
    runs = correlated if correlation else independent
    missed = np.mean([not found.matched.lower <= truth <= found.matched.upper for found in runs])
    assert missed < 0.05 + 2 * math.sqrt(0.05 * 0.95 / REPETITIONS)
    assert missed > 0.005  # an interval that never misses is too wide to say anything


def test_mismatched_similarity_covers_its_mean(
    independent: list[Reproducibility], correlated: list[Reproducibility]
) -> None:
    for runs, matched in ((independent, 0.0), (correlated, 0.5)):
        mean = np.mean([found.mismatched.value for found in runs])
        assert mean == pytest.approx(-matched / 119, abs=5e-4)  # 0 but for the columns' own means
        missed = np.mean([not found.mismatched.lower <= mean <= found.mismatched.upper for found in runs])
        assert missed < 0.05 + 2 * math.sqrt(0.05 * 0.95 / REPETITIONS)
        assert max(found.mismatched.upper - found.mismatched.lower for found in runs) < 0.02


def test_the_published_score_is_of_plain_cosines_at_six_tenths() -> None:
    # Around a common direction of length 3 nearly every pair exceeds 0.6, related or not: the published score is high
    left, right = two_columns(np.random.default_rng(7), 200, 24, 0.0)
    assert compare(left, right).rp_published.value == 1.0
    plane = np.array([[1.0, 0.0], [0.59, math.sqrt(1 - 0.59**2)], [0.61, math.sqrt(1 - 0.61**2)]], np.float32)
    found = compare(np.repeat(plane[:1], 3, axis=0), plane).rp_published
    assert found.value == pytest.approx(2 / 3) and found.n == 3


@pytest.mark.parametrize("probes", [0, 1, 2, 3, 10, 29])
def test_few_probes_leave_estimates_unscored(probes: int) -> None:
    found = compare(*two_columns(np.random.default_rng(8), probes, 24, 0.5))
    for estimate in (found.matched, found.mismatched, found.rp, found.identified):
        assert estimate.value is None and (estimate.unscored or "").startswith(f"{probes} probe")
    assert (found.rp_published.value is None) == (probes == 0)
    assert found.similarity.x == [] and found.threshold == 1.0 and found.mismatched_above == 0.0
    Reproducibility.model_validate_json(found.model_dump_json())


def test_thirty_probes_are_enough() -> None:
    found = compare(*two_columns(np.random.default_rng(9), 30, 24, 0.9))
    assert found.matched.lower > found.mismatched.upper
    assert Reproducibility.model_validate_json(found.model_dump_json()) == found


def test_columns_that_all_give_one_image_are_similar_to_nothing() -> None:
    same = np.tile(np.eye(1, 8, dtype=np.float32), (60, 1))
    found = compare(same, same)
    assert found.matched.value == found.rp.value == found.identified.value == 0.0
    assert found.rp_published.value == 1.0  # which is why it is uncalibrated


def test_the_histogram_holds_both_series_as_shares(correlated: list[Reproducibility]) -> None:
    curve = correlated[0].similarity
    assert len(curve.x) == 60 and curve.x[0] == pytest.approx(-1 + 1 / 60)
    mean = {name: float(np.dot(curve.x, shares)) for name, shares in curve.series.items()}
    assert all(sum(shares) == pytest.approx(1.0) for shares in curve.series.values())
    assert mean["same noise"] == pytest.approx(correlated[0].matched.value, abs=1 / 60)
    assert mean["different noise"] == pytest.approx(0.0, abs=1 / 60)


def test_columns_of_different_length_are_refused() -> None:
    left, right = two_columns(np.random.default_rng(10), 40, 8, 0.0)
    with pytest.raises(DataError, match="one row per probe"):
        compare(left, right[:39])
