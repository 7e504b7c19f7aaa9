"""GL scores and plausibility where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auditor.regime.gl import gl_published, gl_score, nearest_similarity, plausible
from tests.regime.columns import unit

REPETITIONS = 200


def smooth(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """Generations of the population's kind but smoother: nearer to the common direction than images are."""
    return unit(np.eye(dim)[0] + 0.7 * rng.standard_normal((count, dim)) / np.sqrt(dim))


def images(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    return unit(np.eye(dim)[0] + rng.standard_normal((count, dim)) / np.sqrt(dim))


def one_audit(rng: np.random.Generator, copies: float) -> tuple:
    generations, training, control = smooth(rng, 400, 12), images(rng, 150, 12), images(rng, 150, 12)
    copied = rng.random(400) < copies
    generations[copied] = training[rng.integers(0, 150, copied.sum())]
    return gl_score(nearest_similarity(generations, training), nearest_similarity(generations, control)), copied


def test_of_exchangeable_sets_gl_is_about_ninety_nine_percent() -> None:
    rng = np.random.default_rng(1)
    found = [one_audit(rng, 0.0)[0] for _ in range(REPETITIONS)]
    # rank 199 of 200: a further generation exceeds it with probability 2 / 201 = 0.995%; sets of 150 images add noise
    assert np.mean([estimate.value for estimate in found]) == pytest.approx(0.99, abs=0.003)
    assert found[0].n == 200


def test_gl_falls_by_the_share_of_copies() -> None:
    rng = np.random.default_rng(2)
    for copies in (0.1, 0.5):
        found = [one_audit(rng, copies) for _ in range(40)]
        expected = np.mean([0.99 * (1 - copied[1::2].mean()) for _, copied in found])
        assert np.mean([estimate.value for estimate, _ in found]) == pytest.approx(expected, abs=0.01)


def test_real_images_would_calibrate_it_wrongly() -> None:
    # Held-out images in the place of generations put the threshold too low for smooth ones, which nobody copied
    rng = np.random.default_rng(3)
    generations, training, control = smooth(rng, 400, 64), images(rng, 150, 64), images(rng, 150, 64)
    to_training = nearest_similarity(generations, training)
    wrong = gl_score(to_training, nearest_similarity(images(rng, 400, 64), control))
    right = gl_score(to_training, nearest_similarity(generations, control))
    assert (right.lower or 0) > (wrong.upper or 1) and right.value > 0.97


def test_few_generations_or_no_control_leave_it_unscored() -> None:
    values = np.linspace(0.1, 0.9, 196)
    assert gl_score(values, None).value is None
    assert "196 generations are too few" in (gl_score(values, values).unscored or "")
    enough = np.linspace(0.1, 0.9, 198)
    assert gl_score(enough, enough).n == 99  # the largest of 99: exceeded by the one above it
    assert gl_score(np.empty(0), np.empty(0)).value is None


def test_the_published_score_counts_similarities_above_six_tenths() -> None:
    found = gl_published(np.array([0.59, 0.6, 0.61, 0.99]))
    assert found.value == 0.5 and found.method.startswith("uncalibrated") and found.n == 4
    assert gl_published(np.empty(0)).value is None


def test_images_of_the_population_are_plausible_and_noise_is_not() -> None:
    rng = np.random.default_rng(4)
    real = images(rng, 600, 12)
    wide = real.astype(np.float64)
    between = np.where(np.eye(600, dtype=bool), -1, wide @ wide.T).max(axis=1)[:300]  # to any other real image
    fresh = [plausible(nearest_similarity(images(rng, 400, 12), real), between).value for _ in range(30)]
    assert np.mean(fresh) == pytest.approx(0.99, abs=0.01)  # 3 of 300: the quantile itself is off by sqrt(3) / 300
    assert plausible(nearest_similarity(real[:100], real), between).value == 1.0  # copies are plausible
    noise = plausible(nearest_similarity(unit(rng.standard_normal((400, 12))), real), between)
    assert (noise.upper or 1) < 0.5


def test_few_held_out_images_leave_plausibility_unscored() -> None:
    assert "99 held-out images" in (plausible(np.ones(5), np.ones(99)).unscored or "")
    assert plausible(np.ones(5), np.ones(100)).value == 1.0
    assert plausible(np.empty(0), np.ones(100)).value is None


def test_gl_intervals_cover_given_their_threshold() -> None:
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(REPETITIONS):
        sample = rng.normal(size=400)
        found = gl_score(sample, sample)  # the reported half is fresh to a threshold from the other
        threshold = np.sort(sample[0::2])[198]
        truth = 0.5 * math.erfc(-threshold / math.sqrt(2))
        missed += not found.lower <= truth <= found.upper
    assert missed / REPETITIONS < 0.05 + 2 * math.sqrt(0.05 * 0.95 / REPETITIONS)
