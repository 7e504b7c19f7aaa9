"""Simultaneous bounds against enumeration of all label orders, scipy's marginal law, and simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import nhypergeom

from auditor.stats.bounds import DEPTH, crossing_probability, exceedance, simultaneous_bounds

SMALL = [(1, 1), (3, 2), (2, 5), (5, 5), (6, 3), (1, 8), (9, 1)]


def outranking(n: int, m: int) -> NDArray[np.int64]:
    """V_0..V_{m-1} of every one of the C(n + m, m) label orders: training items before each held-out one."""
    places = np.array(list(combinations(range(n + m), m)))  # positions of the held-out items
    return places - np.arange(m)


def test_enumeration_itself_on_a_case_counted_by_hand() -> None:
    # n = m = 2, T training, H held-out: HHTT HTHT HTTH THHT THTH TTHH
    assert outranking(2, 2).tolist() == [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]]


@pytest.mark.parametrize(("n", "m"), SMALL)
def test_crossing_probability_is_a_count_of_label_orders(n: int, m: int) -> None:
    orders = outranking(n, m)
    rng = np.random.default_rng(n * 10 + m)
    for _ in range(20):
        bounds = np.sort(rng.integers(0, n + 1, m))
        counted = (orders > bounds).any(axis=1).mean()
        assert crossing_probability(n, m, bounds) == pytest.approx(counted, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [*SMALL, (40, 25), (1_000, 100), (100, 1_000)])
def test_marginal_law_is_scipys_negative_hypergeometric(n: int, m: int) -> None:
    for d in range(min(m, 5)):
        v = np.unique(np.linspace(0, n, 12).astype(np.int64))
        ours = np.exp(exceedance(n, m, np.full_like(v, d), v))
        theirs = nhypergeom.sf(v - 1, n + m, n, d + 1)  # training items drawn before the (d + 1)-th held-out one
        assert ours == pytest.approx(theirs, rel=1e-7, abs=1e-9)  # scipy sums the other tail and subtracts from 1


@pytest.mark.parametrize(("n", "m"), SMALL)
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_bounds_hold_for_all_depths_at_once_by_enumeration(n: int, m: int, level: float) -> None:
    bounds = np.array(simultaneous_bounds(n, m, level))[:m]
    assert (outranking(n, m) > bounds).any(axis=1).mean() <= 1 - level + 1e-12


def test_marginal_bounds_taken_together_would_not_hold() -> None:
    # Negative control: each 95% quantile alone (4, 6, 8, ... at n = m, from the reference tables) fails jointly.
    n = m = 1_000
    marginal = [int(nhypergeom.isf(0.05, n + m, n, d + 1)) for d in range(DEPTH + 1)]
    assert marginal[:3] == [4, 6, 8]
    assert crossing_probability(n, m, np.array(marginal)) > 0.15


@pytest.mark.parametrize(
    ("n", "m", "expected"),
    [
        (1_000, 1_000, {0: 6, 1: 8, 2: 10, 5: 16, 10: 24}),
        (20_000, 20_000, {0: 6, 1: 8, 2: 10, 5: 16, 10: 24}),
        (2_000, 4_000, {0: 3}),
    ],
)
def test_published_figures(n: int, m: int, expected: dict[int, int]) -> None:
    # At n = m the values simulated in published tables; 40 of 40 found then give X = 34, and 37 at 2,000:4,000.
    bounds = simultaneous_bounds(n, m)
    assert {d: bounds[d] for d in expected} == expected


def test_ten_to_one_is_near_the_simulated_table() -> None:
    # Simulated with 10,000 permutations: 50, 70, 85, 133, 205 at d = 0, 1, 2, 5, 10. Exact ones differ by at most 5%.
    bounds = simultaneous_bounds(20_000, 2_000)
    assert [bounds[d] for d in (0, 1, 2, 5, 10)] == pytest.approx([50, 70, 85, 133, 205], rel=0.05)


def test_a_million_against_ten_thousand_can_bound_no_forty_copies() -> None:
    assert simultaneous_bounds(1_000_000, 10_000)[0] > 40


@pytest.mark.parametrize(("n", "m"), [(300, 300), (1_000, 100), (50, 800)])
def test_simulated_orders_cross_no_more_often_than_computed(n: int, m: int) -> None:
    bounds = np.array(simultaneous_bounds(n, m))
    rng = np.random.default_rng(7)
    repetitions, crossed = 4_000, 0
    for _ in range(repetitions):
        places = np.sort(rng.choice(n + m, m, replace=False))[: DEPTH + 1]
        crossed += bool((places - np.arange(len(places)) > bounds[: len(places)]).any())
    computed = crossing_probability(n, m, bounds)
    assert computed <= 0.05
    # Standard error sqrt(0.05 * 0.95 / 4000) = 0.0034; four of them.
    assert crossed / repetitions == pytest.approx(computed, abs=0.014)


def test_beyond_the_held_out_items_every_training_item_may_be_chance() -> None:
    assert simultaneous_bounds(7, 3)[3:] == (7,) * (DEPTH - 2)
    assert simultaneous_bounds(7, 0) == (7,) * (DEPTH + 1)
    assert simultaneous_bounds(0, 5) == (0,) * (DEPTH + 1)


def test_bounds_rise_with_depth_and_level() -> None:
    strict, loose = simultaneous_bounds(500, 400, 0.99), simultaneous_bounds(500, 400, 0.8)
    assert list(strict) == sorted(strict)
    assert all(high >= low for high, low in zip(strict, loose, strict=True))
