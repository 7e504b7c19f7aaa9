"""Rates of generations, their bounds, and the recall that corrects them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from auditor.copies.rates import copy_rate, planted_recall
from auditor.store.parts import Estimate

PERFECT = Estimate(name="recall", value=1.0, lower=1.0)


def first(hits: int, generations: int) -> NDArray[np.bool_]:
    """So many hits among so many generations."""
    return np.arange(generations) < hits


def test_no_hit_bounds_the_rate_by_the_closed_form() -> None:
    # 1 - 0.05^(1/4096) = 0.000731; at a recall of at least 0.8 it is 1/0.8 of that
    assert copy_rate(first(0, 4_096), first(0, 4_096), PERFECT, 0.95).upper == pytest.approx(1 - 0.05 ** (1 / 4_096))
    partial = Estimate(name="recall", value=0.9, lower=0.8)
    assert copy_rate(first(0, 4_096), first(0, 4_096), partial, 0.95).upper == pytest.approx(
        (1 - 0.05 ** (1 / 4_096)) / 0.8
    )


def test_hits_have_the_exact_interval() -> None:
    rate, exact = (
        copy_rate(first(7, 1_000), first(7, 1_000), PERFECT, 0.95),
        binomtest(7, 1_000).proportion_ci(0.95, "exact"),
    )
    assert (rate.value, rate.lower, rate.upper) == pytest.approx((0.007, exact.low, exact.high))
    assert "over 7 generations on" in rate.method
    assert "over 1 generation on" in copy_rate(first(0, 9), first(1, 9), PERFECT, 0.95).method


@pytest.mark.parametrize("lower", [None, 0.0])
def test_without_recall_there_is_no_bound_below_one(lower: float | None) -> None:
    assert (
        copy_rate(first(0, 4_096), first(0, 4_096), Estimate(name="recall", value=0.0, lower=lower), 0.95).upper == 1.0
    )


def test_recall_counts_originals_not_copies() -> None:
    # 20 originals found under both transformations or none: the bound is that of 20 trials, not of 40.
    hits = np.arange(20) < 15
    recall = planted_recall({"a": hits, "b": hits}, 0.95)
    assert (recall.value, recall.n) == (0.75, 20)
    assert recall.lower == pytest.approx(binomtest(15, 20, alternative="greater").proportion_ci(0.95, "exact").low)


def test_nothing_planted_is_unscored() -> None:
    recall = planted_recall({}, 0.95)
    assert recall.value is None
    assert recall.unscored


def test_what_is_as_near_as_a_copy_counts_into_the_upper_end_alone() -> None:
    rate = copy_rate(first(0, 1_000), first(300, 1_000), PERFECT, 0.95)
    assert rate.value == rate.lower == 0
    assert rate.upper == pytest.approx(binomtest(300, 1_000).proportion_ci(0.95, "exact").high)


def test_generations_of_one_prompt_are_one_trial() -> None:
    # 40 of 50 prompts unhit, ten hit by all their four generations: 10 of 50, not 40 of 200
    prompts = np.repeat(np.arange(50), 4)
    landing = prompts < 10
    rate = copy_rate(landing, landing, PERFECT, 0.95, prompts)
    exact = binomtest(10, 50).proportion_ci(0.95, "exact")
    assert (rate.value, rate.n, rate.unit) == (0.2, 50, "share of prompts")
    assert (rate.lower, rate.upper) == pytest.approx((exact.low, exact.high))
    alone = copy_rate(landing, landing, PERFECT, 0.95)
    assert alone.lower is not None and rate.lower is not None
    assert alone.lower > rate.lower  # counting generations would claim more than the prompts show


def test_a_prompt_of_many_generations_raises_the_upper_end() -> None:
    # one prompt of 40 generations, all copies, beside 80 of one: 1 of 81 prompts, but a third of the generations
    prompts = np.r_[np.zeros(40, np.int64), np.arange(1, 81)]
    landing = prompts == 0
    rate = copy_rate(landing, landing, PERFECT, 0.95, prompts, "prompts, and images without one")
    assert (rate.value, rate.n, rate.unit) == (1 / 81, 81, "share of prompts, and images without one")
    assert rate.upper == pytest.approx(binomtest(27, 81).proportion_ci(0.95, "exact").high)  # 40 / 120 of 81
    assert rate.lower == pytest.approx(binomtest(1, 81).proportion_ci(0.95, "exact").low)
