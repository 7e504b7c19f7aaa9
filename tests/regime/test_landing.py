"""Landings against brute force, copies against look-alikes."""

from __future__ import annotations

import numpy as np

from auditor.regime.landing import item_of, land
from tests.regime.columns import unit

# Both sides are float64 on float32 vectors; the order of summation differs by a few ulp of 1.
CLOSE = 1e-12


def world(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """300 images in 240 groups: 60 have a near-duplicate."""
    distinct = unit(rng.standard_normal((240, 16)))
    again = unit(distinct[:60] + 0.05 * rng.standard_normal((60, 16)))
    return np.concatenate([distinct, again]), np.concatenate([np.arange(240), np.arange(60)])


def test_landings_are_brute_force() -> None:
    rng = np.random.default_rng(1)
    pool, group = world(rng)
    generations = unit(pool[rng.integers(0, 300, 500)] + 0.3 * rng.standard_normal((500, 16)))
    found = land(generations, pool, group)
    wide = pool.astype(np.float64)
    similarity = generations.astype(np.float64) @ wide.T
    between = np.where(group[:, None] == group[None, :], -1.0, wide @ wide.T)
    row = similarity.argmax(axis=1)
    assert np.array_equal(found.row, row) and np.array_equal(found.item, group[row])
    assert np.abs(found.similarity - similarity.max(axis=1)).max() < CLOSE
    expected = similarity.max(axis=1) > between[row].max(axis=1)
    assert np.array_equal(found.on_item, expected) and 50 < expected.sum() < 450
    assert np.array_equal(found.landed, np.where(expected, group[row], -1))


def test_copies_land_on_what_they_copy_and_look_alikes_nowhere() -> None:
    rng = np.random.default_rng(2)
    pool, group = world(rng)
    copies = unit(pool + 0.01 * rng.standard_normal(pool.shape))
    assert np.array_equal(land(copies, pool, group).landed, group)
    # Negative control: nearest to an image without being as near as that one's look-alike, which is another image
    likes = unit(pool[:240] + 0.1 * rng.standard_normal((240, 16)))
    both = np.concatenate([pool[:240], likes])
    near = land(unit(pool[:240] + 0.2 * rng.standard_normal((240, 16))), both, np.arange(480))
    assert (near.item % 240 == np.arange(240)).mean() > 0.5 and near.on_item.mean() < 0.05
    # A fresh image is about as near to its nearest as that one is to its own, so landing alone accuses nobody
    fresh = unit(rng.standard_normal((500, 16)))
    assert 0.3 < land(fresh, pool, group).on_item.mean() < 0.7


def test_a_duplicate_is_no_other_image() -> None:
    rng = np.random.default_rng(3)
    pool, group = world(rng)
    halfway = unit(pool[:60] + pool[240:])  # nearer to neither of the two duplicates than they are to each other
    assert np.array_equal(land(halfway, pool, group).landed, np.arange(60))
    apart = land(halfway, pool, np.arange(300))  # were they two images, their likeness would leave some undecided
    assert (apart.landed >= 0).sum() < 60 or not np.array_equal(apart.item, np.arange(60))


def test_no_generation_and_one_group() -> None:
    pool, group = world(np.random.default_rng(4))
    none = land(np.empty((0, 16), np.float32), pool, group)
    assert none.item.shape == none.on_item.shape == none.similarity.shape == (0,)
    assert land(pool[:3], pool, np.zeros(300, np.int64)).on_item.all()  # there is no other image to be nearer to


def test_memorizer_items_are_those_of_the_nearest_point() -> None:
    rng = np.random.default_rng(5)
    pool, group = world(rng)
    training = rng.permutation(300)[:100]
    reached = item_of(pool[training[::-1]], pool[training], group[training])
    assert np.array_equal(reached, group[training[::-1]])
