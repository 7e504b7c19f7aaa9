"""Items that the split dealt as one compete as one: X keeps its level where relatives are hit together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auditor.copies.compete import compete, leads, settled
from auditor.copies.groups import duplicate_groups
from auditor.copies.pool import Pool
from auditor.copies.relatives import families

SIZES = np.r_[np.ones(160, np.int64), np.full(30, 12)]  # many images alone, and thirty series of a dozen
DEALS = 2_000


def series(rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Families, scores and hits of items that the checkpoint favours none of: a series is hit as a whole."""
    family = np.repeat(np.arange(len(SIZES)), SIZES)
    liking = rng.random(len(SIZES))
    score = liking[family] + 0.02 * rng.random(len(family))
    return family, score, liking[family] > 0.4


def dealt(rng: np.random.Generator, family: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whole families to either side, Bool[I]."""
    return (rng.permutation(len(SIZES)) < len(SIZES) // 2)[family]


def test_bounds_hold_where_families_compete_and_fail_where_items_do() -> None:
    """A bound of 95% may be wrong in one deal of twenty. Nothing is copied here: any X above 0 is wrong."""
    rng = np.random.default_rng(0)
    wrong = {"families": 0, "items": 0}
    calls = 0
    for _ in range(DEALS):
        family, score, hit = series(rng)
        is_training = dealt(rng, family)
        by_family = compete(score, hit, is_training, family=family)
        wrong["families"] += by_family.lower_bound > 0
        wrong["items"] += compete(score, hit, is_training).lower_bound > 0
        calls += bool(by_family.certified.any())
    assert wrong["families"] <= 0.05 * DEALS + 3 * np.sqrt(0.05 * 0.95 * DEALS)
    assert calls <= 0.10 * DEALS + 3 * np.sqrt(0.10 * 0.90 * DEALS)
    assert wrong["items"] > 0.20 * DEALS  # negative control: relatives counted one by one


def test_copied_families_are_found() -> None:
    rng = np.random.default_rng(1)
    family, score, hit = series(rng)
    is_training = dealt(rng, family)
    copied = rng.choice(np.unique(family[is_training]), 40, replace=False)
    which = np.isin(family, copied)
    score[which] += 2.0
    hit = hit | which
    contest = compete(score, hit, is_training, family=family)
    assert 30 <= contest.lower_bound <= 40  # families, not their images
    assert contest.certified[which].all()  # every image of them
    assert (contest.n, contest.m) == (len(SIZES) // 2, len(SIZES) - len(SIZES) // 2)


def test_the_best_hit_leads_its_family() -> None:
    family = np.array([5, 5, 5, 2, 2, 9])
    score, hit = np.array([0.9, 0.8, 0.8, 0.4, 0.5, 0.1]), np.array([False, True, True, True, False, False])
    assert np.flatnonzero(leads(score, hit, family)).tolist() == [1, 3, 5]


def test_everyone_alone_is_no_family() -> None:
    rng = np.random.default_rng(2)
    score, hit, is_training = rng.random(200), rng.random(200) < 0.5, rng.random(200) < 0.5
    alone, plain = compete(score, hit, is_training, family=np.arange(200)), compete(score, hit, is_training)
    assert np.array_equal(alone.q_value, plain.q_value, equal_nan=True)
    assert (alone.lower_bound, alone.floor, alone.n) == (plain.lower_bound, plain.floor, plain.n)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.3]))
def test_stopping_where_settled_changes_nothing_among_families(seed: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    size = 300
    score = np.sort(np.round(rng.random(size), 2))[::-1]
    family, hit = rng.integers(0, 120, size), rng.random(size) < 0.7
    is_training = (rng.random(120) < 0.5)[family]
    is_training[: int(rng.integers(0, 40))] = True
    family = 2 * family + is_training
    n, m = len(np.unique(family[is_training])), len(np.unique(family[~is_training]))
    stops = [k for k in range(1, size + 1) if settled(is_training, hit[:k], k, n, m, alpha, family)]
    everything = compete(score, hit, is_training, alpha=alpha, family=family)
    for stop in stops[:1]:
        stopped = compete(score, hit & (np.arange(size) < stop), is_training, alpha=alpha, family=family)
        assert np.array_equal(stopped.certified, everything.certified)
        assert stopped.lower_bound == everything.lower_bound


@pytest.mark.parametrize("names", [["a", "a", None, "b", "a", "b"], ["a", "a", None, None, "a", "a"]])
def test_families_join_names_and_duplicates_on_one_side(names: list[str | None]) -> None:
    vectors = np.eye(6, dtype=np.float32)
    digest = np.array(["p", "q", "q", "r", "s", "t"])  # the second and third image are equal
    pool = Pool(vectors, [str(row) for row in range(6)], np.arange(6) < 4, digest)
    groups = duplicate_groups(pool, 0.9)
    family = families(pool, groups, names)[groups.group]
    assert family[0] == family[1] == family[2]  # by name, and by pixels
    assert len({family[0], family[3], family[4]}) == 3  # "b" stands on both sides, and so does "a"
    assert (family[4] == family[5]) == (names[4] == names[5])
