"""Item scores, margins and landings against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.copies.groups import duplicate_groups
from auditor.copies.items import score_items
from auditor.copies.landing import land
from auditor.copies.margin import NO_OTHER, examine_from_the_top, nearest_outside_group
from tests.copies.worlds import blurred, labels, pool_of, population

# Both sides are exact in float64 on float32 vectors; the order of summation differs by a few ulp of 1.
CLOSE = 1e-12


def world() -> tuple:
    rng = np.random.default_rng(4)
    vectors = population(rng, 250)
    vectors[200:] = vectors[:50]  # exact repeats, and at 0.9 near-duplicates
    pool = pool_of(vectors, labels(rng, 250, 120), np.r_[np.arange(200), np.arange(50)])
    groups = duplicate_groups(pool, 0.9)
    return pool, groups, blurred(rng, vectors, 80)


def brute_margin(pool, groups, row: int) -> float:
    wide = pool.embeddings.astype(np.float64)
    outside = groups.group != groups.group[row]
    return float((wide[outside] @ wide[row]).max())


def test_nearest_outside_group_is_brute_force() -> None:
    pool, groups, _ = world()
    rows = np.arange(250)
    found = nearest_outside_group(rows, pool.embeddings, groups.group)
    expected = [brute_margin(pool, groups, row) for row in rows]
    assert found.similarity == pytest.approx(expected, abs=CLOSE)
    assert (groups.group[found.index] != groups.group).all()


def test_nothing_outside_the_group_is_farther_than_everything() -> None:
    pool = world()[0]
    found = nearest_outside_group(np.arange(3), pool.embeddings, np.zeros(250, np.int64))
    assert (found.similarity == NO_OTHER).all()
    assert (found.index == -1).all()


def test_scores_are_brute_force() -> None:
    pool, groups, generations = world()
    items = score_items(pool, groups, generations, np.ones(len(groups), np.bool_), alpha=0.1)
    similarity = pool.embeddings.astype(np.float64) @ generations.astype(np.float64).T
    for item in range(len(groups)):
        rows = np.flatnonzero(groups.group == item)
        training = rows[pool.is_training[rows]]
        rows = training if len(training) else rows
        # The winner is float32's, so it may miss the maximum by rounding: 2 * (1.01 * 16 + 2) * 2^-24 = 2.2e-6.
        assert items.score[item] == pytest.approx(similarity[rows].max(), abs=2.2e-6)
        assert items.score[item] == pytest.approx(similarity[items.row[item], items.generation[item]], abs=CLOSE)
        assert items.row[item] in rows
        assert items.nearest_other[item] == pytest.approx(brute_margin(pool, groups, items.row[item]), abs=CLOSE)
    assert 0 < items.is_hit.sum() < len(groups)


def test_chunks_stop_when_enough_is_known_and_at_the_limit() -> None:
    pool, groups, _ = world()
    rows = np.arange(250)
    seen: list[int] = []

    def nearest(place: slice) -> np.ndarray:
        return nearest_outside_group(rows[place], pool.embeddings, groups.group).similarity

    def enough(known: np.ndarray) -> bool:
        seen.append(len(known))
        return len(known) >= 60

    known = examine_from_the_top(250, nearest, enough, chunk_rows=25)
    assert seen == [25, 50, 75]
    whole = examine_from_the_top(250, nearest, lambda _: False, chunk_rows=40, most_rows=100)
    assert len(whole) == 100
    assert known == pytest.approx(whole[:75], abs=CLOSE)


def test_landings_are_brute_force() -> None:
    pool, groups, generations = world()
    items = score_items(pool, groups, generations, np.ones(len(groups), np.bool_), alpha=0.1)
    landing = land(pool, groups, items, generations)
    similarity = generations.astype(np.float64) @ pool.embeddings.astype(np.float64).T
    n = pool.training
    assert landing.training_similarity[:, 0] == pytest.approx(similarity[:, :n].max(axis=1), abs=CLOSE)
    assert landing.holdout_similarity == pytest.approx(similarity[:, n:].max(axis=1), abs=CLOSE)
    for generation, item in enumerate(landing.item):
        assert similarity[generation, groups.group == item].max() == pytest.approx(
            similarity[generation].max(), abs=CLOSE
        )
    assert landing.counts(len(groups)).sum() == len(generations)
