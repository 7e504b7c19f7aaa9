"""The competition itself: hand-computed values, ties, monotonicity, and independence of the order of items."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auditor.copies.compete import compete, settled
from auditor.stats.bounds import DEPTH, simultaneous_bounds

SCORES = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans()), min_size=1, max_size=40)


def columns(rows: list[tuple[int, bool, bool]]) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """(score, is_hit, is_training); few distinct scores, so that ties are common."""
    score, hit, training = (np.array(column) for column in zip(*rows, strict=True))
    return score / 7.0, hit, training


def definition(score: NDArray[np.float64], hit: NDArray[np.bool_], training: NDArray[np.bool_], i: int) -> float:
    """q of item i straight from its definition: least FDR(s) over all thresholds s up to its score."""
    n, m = training.sum(), (~training).sum()
    rates = [
        n * (1 + (hit & ~training & (score >= s)).sum()) / ((m + 1) * (hit & training & (score >= s)).sum())
        for s in score[hit & training & (score <= score[i])]
    ]
    return float(min(*rates, 1.0, 1.0))


def test_hand_computed() -> None:
    # Falling: T T H T T H, n = 4, m = 3 (one held-out item is no hit). 4 (1 + D) / (4 T) at the training hits:
    # 1/1, 1/2, then after one held-out hit 2/3, 2/4. Running minimum from below: 1/2, 1/2, 1/2, 1/2.
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.95])
    training = np.array([True, True, False, True, True, False, False])
    hit = np.array([True] * 6 + [False])
    contest = compete(score, hit, training, alpha=0.5)
    assert contest.q_value[training] == pytest.approx([0.5] * 4)
    assert contest.certified.tolist() == training.tolist()
    assert (contest.n, contest.m, contest.training_hits, contest.holdout_hits) == (4, 3, 4, 2)
    assert not compete(score, hit, training, alpha=0.49).certified.any()


def test_a_tie_counts_as_held_out() -> None:
    # One training and one held-out hit at 0.9, n = m = 1: (1 + 1) / (2 * 1) = 1, not (1 + 0) / 2.
    contest = compete(np.array([0.9, 0.9]), np.array([True, True]), np.array([True, False]), alpha=0.5)
    assert contest.q_value[0] == 1.0
    above = compete(np.array([0.9, 0.89]), np.array([True, True]), np.array([True, False]), alpha=0.5)
    assert above.q_value[0] == 0.5


@pytest.mark.parametrize(("n", "m", "expected"), [(2_000, 4_000, 37), (2_000, 2_000, 34), (20_000, 20_000, 34)])
def test_forty_of_forty_found(n: int, m: int, expected: int) -> None:
    score, training = np.zeros(n + m), np.arange(n + m) < n
    score[:40] = np.linspace(0.9, 1.0, 40)
    contest = compete(score, score > 0, training)
    assert contest.lower_bound == expected
    assert contest.certified.sum() == 40


def test_below_the_floor_nothing_is_called() -> None:
    # n = m = 1,000 at alpha 0.1: 1000 / (0.1 * 1001) = 9.99, so ten hits are needed.
    training = np.arange(2_000) < 1_000
    for hits, called in ((9, 0), (10, 10)):
        score = np.where(np.arange(2_000) < hits, 1.0, 0.0)
        contest = compete(score, score > 0, training)
        assert (contest.floor, contest.certified.sum()) == (10, called)


def test_one_side_empty_certifies_nothing() -> None:
    for training in (np.ones(5, np.bool_), np.zeros(5, np.bool_)):
        contest = compete(np.linspace(0, 1, 5), np.ones(5, np.bool_), training)
        assert not contest.certified.any()
        assert contest.lower_bound == 0


@settings(deadline=None)
@given(SCORES)
def test_q_values_are_their_definition(rows: list[tuple[int, bool, bool]]) -> None:
    score, hit, training = columns(rows)
    q = compete(score, hit, training).q_value
    for i in range(len(score)):
        if hit[i] and training[i]:
            assert q[i] == pytest.approx(definition(score, hit, training, i))
        else:
            assert np.isnan(q[i])


@settings(deadline=None)
@given(SCORES)
def test_lower_bound_is_its_definition(rows: list[tuple[int, bool, bool]]) -> None:
    score, hit, training = columns(rows)
    bounds = simultaneous_bounds(int(training.sum()), int((~training).sum()))
    best = 0
    for s in score:
        t, d = (hit & training & (score >= s)).sum(), (hit & ~training & (score >= s)).sum()
        if d <= DEPTH:
            best = max(best, int(t) - bounds[d])
    assert compete(score, hit, training).lower_bound == best


@settings(deadline=None)
@given(SCORES)
def test_a_higher_score_never_has_a_higher_q(rows: list[tuple[int, bool, bool]]) -> None:
    score, hit, training = columns(rows)
    q = compete(score, hit, training).q_value
    scored = ~np.isnan(q)
    order = np.argsort(-score[scored], kind="stable")
    assert (np.diff(q[scored][order]) >= 0).all()


@settings(deadline=None)
@given(SCORES, st.integers(0, 2**32 - 1))
def test_the_order_of_items_does_not_matter(rows: list[tuple[int, bool, bool]], seed: int) -> None:
    score, hit, training = columns(rows)
    order = np.random.default_rng(seed).permutation(len(score))
    straight, shuffled = compete(score, hit, training), compete(score[order], hit[order], training[order])
    assert np.array_equal(straight.q_value[order], shuffled.q_value, equal_nan=True)
    assert straight.lower_bound == shuffled.lower_bound


@settings(deadline=None)
@given(SCORES)
def test_another_held_out_hit_never_helps(rows: list[tuple[int, bool, bool]]) -> None:
    score, hit, training = columns(rows)
    before = compete(score, hit, training)
    turned = hit | (np.arange(len(score)) == int(np.argmax(~training))) & ~training
    after = compete(score, turned, training)
    assert after.certified.sum() <= before.certified.sum()
    assert after.lower_bound <= before.lower_bound


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.3, 0.6]))
def test_stopping_where_settled_changes_no_call_and_no_bound(seed: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    size, n, m = 300, 150, 150
    copies = int(rng.integers(0, 40))
    score = np.sort(np.round(rng.random(size), 2))[::-1]
    training, hit = np.arange(size) < copies, rng.random(size) < 0.7
    training[rng.choice(np.arange(copies, size), n - copies, replace=False)] = True
    stops = [k for k in range(1, size + 1) if settled(training, hit[:k], k, n, m, alpha)]
    everything = compete(score, hit, training, alpha=alpha)
    for stop in stops[:1]:
        seen = hit & (np.arange(size) < stop)
        stopped = compete(score, seen, training, alpha=alpha)
        assert np.array_equal(stopped.certified, everything.certified)
        assert stopped.lower_bound == everything.lower_bound


def test_settling_does_happen_before_the_end() -> None:
    # 200 held-out hits in a row after nothing: D = 41 and more gives 200 (1 + D) / (201 * 200) > 0.1 from D = 20 on.
    training = np.r_[np.zeros(200, np.bool_), np.ones(200, np.bool_)]
    assert not settled(training, np.ones(20, np.bool_), 20, 200, 200, 0.1)
    assert settled(training, np.ones(25, np.bool_), 25, 200, 200, 0.1)
