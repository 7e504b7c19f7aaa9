"""Power figures against published arithmetic and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.stats.power import (
    competition_floor,
    detectable_auc_excess,
    detectable_share,
    harmless_size,
    holdout_for_floor,
    nonmembers_for_fpr,
    zero_hit_bound,
)


@pytest.mark.parametrize(
    ("n", "m", "floor"),
    [(1_000_000, 10_000, 1000), (2_000, 4_000, 5), (128, 2_000, 1), (20_000, 20_000, 10)],
)
def test_floor(n: int, m: int, floor: int) -> None:
    # 1e6 / (0.1 * 10001) = 999.9; 2000 / 400.1 = 4.999; 128 / 200.1 = 0.64; 20000 / 2000.1 = 9.9995
    assert competition_floor(n, m, 0.1) == floor


@pytest.mark.parametrize("n", [1, 100, 12_345])
@pytest.mark.parametrize("floor", [1, 7, 50])
def test_held_out_items_for_a_floor_are_the_least_that_reach_it(n: int, floor: int) -> None:
    m = holdout_for_floor(n, floor, 0.1)
    assert competition_floor(n, m, 0.1) <= floor
    assert m == 1 or competition_floor(n, m - 1, 0.1) > floor


@pytest.mark.parametrize(("probes", "bound"), [(300, 0.00994), (1_000, 0.00299), (10_000, 0.00030)])
def test_zero_hit_bound(probes: int, bound: float) -> None:
    assert zero_hit_bound(probes) == pytest.approx(bound, abs=5e-6)
    assert (1 - zero_hit_bound(probes)) ** probes == pytest.approx(0.05)


@pytest.mark.parametrize(("n", "excess"), [(100, 0.102), (500, 0.045), (2_500, 0.020), (25_000, 0.006)])
def test_detectable_auc_excess(n: int, excess: float) -> None:
    assert detectable_auc_excess(n, n) == pytest.approx(excess, abs=6e-4)


def test_detectable_excess_is_found_with_the_stated_power() -> None:
    """Normal scores shifted so that the AUC is 1/2 + excess: a one-sided z test finds it in 80% of 2,000 draws."""
    from scipy.stats import norm, rankdata

    rng, n, m = np.random.default_rng(0), 200, 300
    excess = detectable_auc_excess(n, m)
    shift = norm.ppf(0.5 + excess) * np.sqrt(2)
    scores = np.concatenate([rng.normal(shift, 1, (2000, n)), rng.normal(0, 1, (2000, m))], axis=1)
    ranks = rankdata(scores, axis=1)[:, :n].sum(axis=1)
    auc = (ranks - n * (n + 1) / 2) / (n * m)
    found = np.mean((auc - 0.5) / np.sqrt((n + m + 1) / (12 * n * m)) > norm.ppf(0.95))
    assert found == pytest.approx(0.80, abs=0.03)  # binomial error 0.009, and the variance is not quite the null's


def test_nonmembers_for_fpr() -> None:
    assert nonmembers_for_fpr(0.01) == 100


@pytest.mark.parametrize(("members", "nonmembers"), [(700, 700), (200, 1000)])
def test_a_detectable_share_is_found_with_the_stated_power(members: int, nonmembers: int) -> None:
    """That share of members above everyone, the rest like non-members: the lower end exceeds 1% in 80% of 1,000 draws.

    Three binomial errors are 0.038; whole hits and a threshold at its mean rank take another 0.04.
    """
    from auditor.stats.roc import tpr_at_fpr

    share = detectable_share(members, nonmembers)
    assert share is not None and 0.01 < share < 0.1
    rng, found, control = np.random.default_rng(1), 0, 0
    for _ in range(1000):
        others = rng.random(nonmembers)
        recognised = rng.random(members) < share
        found += (tpr_at_fpr(np.where(recognised, 2.0, rng.random(members)), others, 0.01).lower or 0) > 0.01
        control += (tpr_at_fpr(rng.random(members), others, 0.01).lower or 0) > 0.01
    assert found / 1000 == pytest.approx(0.80, abs=0.08)
    assert control / 1000 < 0.025 + 0.015


def test_no_share_is_detectable_with_too_few() -> None:
    assert detectable_share(700, 150) is None and detectable_share(0, 10_000) is None


def test_a_harmless_checkpoint_passes_at_the_size_named() -> None:
    """Exchangeable scores at the size for the default policy's tail: the upper end is within 5% in at least 80%."""
    from auditor.stats.roc import tpr_at_fpr

    size = harmless_size(0.6, 0.1, 0.05)
    assert size is not None
    rng = np.random.default_rng(2)
    within = {
        count: np.mean(
            [(tpr_at_fpr(rng.random(count), rng.random(count), 0.01).upper or 1) <= 0.05 for _ in range(1000)]
        )
        for count in (size, size // 2)
    }
    assert within[size] > 0.80 - 0.038 and within[size // 2] < 0.70


@pytest.mark.parametrize("limits", [(0.5, 0.1, 0.05), (0.6, 0.0, 0.05), (0.6, 0.1, 0.01)])
def test_limits_at_chance_take_no_size(limits: tuple[float, float, float]) -> None:
    assert harmless_size(*limits) is None


def test_tighter_limits_take_more() -> None:
    # AUC alone: ((1.960 + 0.842) / 0.02)^2 / 6 = 3,270
    assert harmless_size(0.52, 1.0, 0.5) == pytest.approx(3271, abs=2)
    assert harmless_size(0.6, 0.1, 0.03) > harmless_size(0.6, 0.1, 0.05)
