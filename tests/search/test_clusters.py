"""Clusters of vectors that do fall into clusters, and their determinism."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.errors import ConfigError, DataError
from auditor.search.clusters import kmeans


def clumps(rng: np.random.Generator, sizes: list[int], spread: float) -> tuple[np.ndarray, np.ndarray]:
    centres = np.eye(len(sizes), 16)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    rows = centres[truth] + spread * rng.standard_normal((len(truth), 16))
    order = rng.permutation(len(truth))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)[order], truth[order]


def cohesion(rows: np.ndarray, cluster: np.ndarray) -> float:
    """What spherical k-means maximises: the lengths of the clusters' sums."""
    return float(sum(np.linalg.norm(rows[cluster == c].sum(axis=0)) for c in np.unique(cluster)))


def test_separate_clumps_are_never_mixed_and_the_largest_comes_first() -> None:
    rows, truth = clumps(np.random.default_rng(1), [50, 200, 100], 0.05)
    best = max((kmeans(rows, 3, seed) for seed in range(8)), key=lambda cluster: cohesion(rows, cluster))
    assert np.array_equal(best, np.array([2, 0, 1])[truth])


def test_clusters_cohere_more_than_chance() -> None:
    rng = np.random.default_rng(2)
    rows = clumps(rng, [300], 1.0)[0]
    found = kmeans(rows, 6, 0)
    assert found.shape == (300,) and found.dtype == np.int64 and set(found) <= set(range(6))
    by_chance = [cohesion(rows, rng.permutation(found)) for _ in range(20)]
    assert cohesion(rows, found) > 1.5 * max(by_chance)
    assert all(np.diff(np.bincount(found)) <= 0)


def test_equal_inputs_give_equal_clusters_and_another_seed_may_not() -> None:
    rows = clumps(np.random.default_rng(3), [400], 1.0)[0]
    assert np.array_equal(kmeans(rows, 8, 5), kmeans(rows.copy(), 8, 5))
    assert any(not np.array_equal(kmeans(rows, 8, 5), kmeans(rows, 8, seed)) for seed in range(6, 9))


def test_one_cluster_per_vector_and_one_for_all() -> None:
    rows = np.eye(5, dtype=np.float32)
    assert sorted(kmeans(rows, 5, 0)) == [0, 1, 2, 3, 4]
    assert (kmeans(rows, 1, 0) == 0).all()
    repeated = np.tile(rows[:2], (10, 1))
    assert len(set(kmeans(repeated, 4, 0))) <= 4  # repeats leave clusters empty


@pytest.mark.parametrize("k", [0, 6])
def test_more_clusters_than_vectors_are_refused(k: int) -> None:
    with pytest.raises(ConfigError, match="1 to 5"):
        kmeans(np.eye(5, dtype=np.float32), k, 0)


def test_vectors_that_are_no_unit_vectors_are_refused() -> None:
    with pytest.raises(DataError, match="norm 2"):
        kmeans(2 * np.eye(5, dtype=np.float32), 2, 0)
