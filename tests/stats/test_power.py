"""Power figures against published arithmetic and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.stats.power import (
    competition_floor,
    detectable_auc_excess,
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
