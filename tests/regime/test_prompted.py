"""Reproducibility under prompts: what the prompt decides is not taken for what the noise does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auditor.errors import DataError
from auditor.regime.prompted import prompted_reproducibility, threshold_of
from auditor.regime.reproducibility import reproducibility
from auditor.regime.shares import share_by_prompt
from auditor.store.comparison import Reproducibility

REPETITIONS = 200
SEEDS = 4


def under_prompts(
    rng: np.random.Generator, prompts: int, seeds: int, correlation: float, *, by_heart: float = 0.1, least: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two columns that follow prompts, and Int64[G] the prompt of each probe.

    Prompts differ in how many directions their pictures vary in, from one (what it shows is one thing in two colours)
    (``least``) to twelve, and a share of them brings the same picture back from nearly every noise.
    """
    prompt = np.arange(prompts * seeds) % prompts
    scene = rng.standard_normal((prompts, 24))
    directions, spread = rng.integers(least, 13, prompts), rng.uniform(0.2, 1.0, prompts)
    spread[: int(by_heart * prompts)] = 1e-3
    freedom = (np.arange(24) < directions[:, None]) * spread[:, None]
    noise = rng.standard_normal((len(prompt), 24))
    sides = []
    for _ in range(2):
        own = correlation * noise + math.sqrt(1 - correlation**2) * rng.standard_normal(noise.shape)
        rows = scene[prompt] + own * freedom[prompt]
        sides.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return sides[0], sides[1], prompt


def compare(left: np.ndarray, right: np.ndarray, prompt: np.ndarray) -> Reproducibility:
    return prompted_reproducibility(left, right, prompt, encoder="pixel", names=("a", "b"), data="disjoint")


@pytest.fixture(scope="module")
def independent() -> list[Reproducibility]:
    rng = np.random.default_rng(1)
    return [compare(*under_prompts(rng, 80, SEEDS, 0.0)) for _ in range(REPETITIONS)]


def test_columns_that_share_prompts_alone_do_not_reproduce_each_other(independent: list[Reproducibility]) -> None:
    # 200 x 40 reported prompts of 4 probes, that of thresholds from 40 prompts each beside it
    assert np.mean([found.rp.value for found in independent]) == pytest.approx(0.01, abs=0.005)
    assert np.mean([found.identified.value for found in independent]) == pytest.approx(1 / SEEDS, abs=0.01)
    assert np.mean([found.matched.value for found in independent]) == pytest.approx(0.0, abs=0.01)
    # without regard to prompts, half the probes would be reproduced: the prompt does it
    left, right, _ = under_prompts(np.random.default_rng(2), 80, SEEDS, 0.0)
    blind = reproducibility(left, right, encoder="pixel", names=("a", "b"), data="disjoint")
    assert (blind.rp.lower or 0) > 0.3
    # negative control: columns that do agree on what the noise decides
    agreeing = compare(*under_prompts(np.random.default_rng(3), 200, SEEDS, 0.9, least=8))
    assert (agreeing.rp.lower or 0) > 0.2
    assert (agreeing.identified.lower or 0) > 0.5


def test_intervals_cover_what_chance_gives(independent: list[Reproducibility]) -> None:
    allowed = 0.05 + 2 * math.sqrt(0.05 * 0.95 / REPETITIONS)
    for name, truth in (("identified", 1 / SEEDS), ("matched", 0.0), ("mismatched", 0.0)):
        found = [getattr(one, name) for one in independent]
        assert np.mean([not one.lower <= truth <= one.upper for one in found]) < allowed, name
    narrow = [one.matched.upper - one.matched.lower < 0.5 for one in independent]
    assert all(narrow)  # an interval that never misses may say nothing


def test_one_network_twice_is_reproduced_whole() -> None:
    left, _, prompt = under_prompts(np.random.default_rng(4), 60, SEEDS, 0.0, by_heart=0.0)
    found = compare(left, left, prompt)
    assert found.matched.value == pytest.approx(1.0)
    assert found.rp.value == found.rp_published.value == 1.0
    assert found.identified.value == pytest.approx(1.0)
    assert found.rp.lower == pytest.approx(0.025 ** (1 / 30))  # Clopper-Pearson at 30 of 30 prompts
    assert found.mismatched.value == pytest.approx(-1 / (SEEDS - 1), abs=0.1)  # what prompts' own means leave
    assert (found.prompts, found.probes) == (60, 240)


def test_fewer_noises_raise_the_score_of_columns_that_agree_and_of_no_others() -> None:
    """The centre of K answers pushes mismatched ones apart, and the threshold down: by matched / (K - 1)."""
    scores = {}
    for correlation in (0.0, 0.7):
        for prompts, seeds in ((800, 2), (400, 4), (60, 32)):
            rng = np.random.default_rng(seeds)
            found = compare(*under_prompts(rng, prompts, seeds, correlation, least=8))
            scores[correlation, seeds] = found.rp.value or 0.0
            drift = (found.mismatched.value or 0.0) + (found.matched.value or 0.0) / (seeds - 1)
            assert drift == pytest.approx(0.0, abs=0.05)
    assert all(scores[0.0, seeds] < 0.03 for seeds in (2, 4, 32))
    assert scores[0.7, 2] > 1.5 * scores[0.7, 4] > 2 * scores[0.7, 32]


def test_prompts_with_one_answer_are_left_out() -> None:
    left, right, prompt = under_prompts(np.random.default_rng(5), 40, SEEDS, 0.5)
    kept = (prompt > 4) | (np.arange(len(prompt)) < 40)  # prompts 0 to 4 have one answer left
    found = compare(left[kept], right[kept], prompt[kept])
    assert (found.prompts, found.probes) == (35, 140)
    whole = compare(left[prompt > 4], right[prompt > 4], prompt[prompt > 4])
    assert found == whole


def test_too_few_prompts_are_unscored_and_unlike_rows_refused() -> None:
    left, right, prompt = under_prompts(np.random.default_rng(6), 29, SEEDS, 0.5)
    found = compare(left, right, prompt)
    assert found.rp.value is None and "29 prompts are too few" in (found.rp.unscored or "")
    assert found.rp_published.value is not None
    with pytest.raises(DataError, match="one row per probe"):
        compare(left, right[1:], prompt)


def test_order_of_probes_does_not_matter() -> None:
    left, right, prompt = under_prompts(np.random.default_rng(7), 40, SEEDS, 0.5)
    order = np.random.default_rng(8).permutation(len(prompt))
    shuffled, plain = compare(left[order], right[order], prompt[order]), compare(left, right, prompt)
    for name in ("matched", "mismatched", "rp", "identified"):
        assert getattr(shuffled, name).value == pytest.approx(getattr(plain, name).value)


def test_the_threshold_is_that_of_plain_counting() -> None:
    rng = np.random.default_rng(9)
    values = [rng.standard_normal(12).round(1) for _ in range(50)]  # ties
    flat = np.concatenate(values)
    candidates = sorted(value for value in set(flat) if (flat > value).mean() <= 0.01 + 1e-12)
    assert threshold_of(values) == candidates[0]


def test_shares_of_prompts_have_intervals_that_cover() -> None:
    """Beta shares that are far apart, those of a coin, and all alike."""
    rng, truth, repetitions = np.random.default_rng(10), 0.3, 400
    for spread in (0.5, 5.0, 500.0):
        missed = 0
        for _ in range(repetitions):
            shares = rng.beta(truth * spread, (1 - truth) * spread, 40)
            found = share_by_prompt("share", shares.tolist(), 0.95)
            missed += not (found.lower or 0.0) <= truth <= (found.upper or 1.0)
        assert missed / repetitions < 0.05 + 2 * math.sqrt(0.05 * 0.95 / repetitions)
    assert share_by_prompt("share", [], 0.95).value is None
