"""Nearest rows by Euclidean distance against float64 brute force, above all the bound on what was not found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from auditor.errors import ConfigError, DataError
from auditor.search.euclidean import EuclideanIndex
from auditor.search.index import import_faiss


def distances(queries: np.ndarray, points: np.ndarray) -> np.ndarray:
    """All Euclidean distances, Float64[B N], by explicit differences."""
    return np.sqrt(((queries[:, None] - points[None].astype(np.float64)) ** 2).sum(2))


@pytest.mark.parametrize(
    "batch", [1, 7, 3300]
)  # FAISS sums differences of few queries, products of many (3,300 * 40 > 128,000)
@pytest.mark.parametrize("k", [1, 5, 64])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_nothing_that_was_not_found_is_nearer_than_the_bound(batch: int, k: int, scale: float, offset: float) -> None:
    rng = np.random.default_rng(1)
    # off the origin, where |q|^2 + |y|^2 - 2 q y cancels, and with repeats, where float32 sees ties
    points = (offset + rng.standard_normal((300, 40))).astype(np.float32)
    points[200:] = points[:100] + rng.standard_normal((100, 40)).astype(np.float32) * np.float32(1e-3)
    queries = offset + rng.standard_normal((batch, 40)) * scale
    queries[0] = points[7]
    near = EuclideanIndex(points)(queries, k)
    assert near.rows.shape == (batch, k) and all(len(set(rows)) == k for rows in near.rows.tolist())
    whole = distances(queries, points)
    listed = np.take_along_axis(whole, near.rows, axis=1).max(1)
    np.put_along_axis(whole, near.rows, np.inf, axis=1)
    assert (near.beyond <= whole.min(1)).all() and (near.beyond >= 0).all()
    if offset == 0:  # the bound also says something: eta = 44 * 6e-8 (|q| + R)^2 < 6e-6 (|q| + R)^2
        reach = np.linalg.norm(queries, axis=1) + np.linalg.norm(points, axis=1).max()
        assert (near.beyond**2 >= listed**2 - 1e-5 * reach**2).all()


@pytest.fixture
def by_products() -> Iterator[None]:
    """FAISS multiplies matrices whatever the batch; by default it does so above some number of queries only."""
    settings = import_faiss().cvar
    before, settings.distance_compute_blas_threshold = settings.distance_compute_blas_threshold, 1
    yield
    settings.distance_compute_blas_threshold = before


@pytest.mark.usefixtures("by_products")
def test_a_float32_distance_alone_would_be_no_bound() -> None:
    """The reason for eta: 50 off the origin, FAISS's k-th distance exceeds that of a row it left out."""
    rng = np.random.default_rng(2)
    points = (50 + rng.standard_normal((1, 64)) + 0.03 * rng.standard_normal((400, 64))).astype(np.float32)
    queries = points[:40].astype(np.float64)
    near = EuclideanIndex(points)(queries, 200)
    whole = distances(queries, points)
    np.put_along_axis(whole, near.rows, np.inf, axis=1)
    flat = import_faiss().IndexFlatL2(64)
    flat.add(points)
    claimed = np.sqrt(np.maximum(flat.search(points[:40], 200)[0][:, -1], 0))
    assert (claimed > whole.min(1)).any()
    assert (near.beyond <= whole.min(1)).all()


@pytest.mark.usefixtures("by_products")
def test_the_bound_holds_for_products_of_few_queries() -> None:
    test_nothing_that_was_not_found_is_nearer_than_the_bound(7, 5, 1.0, 50.0)


def test_all_rows_leave_nothing_beyond() -> None:
    points = np.random.default_rng(3).standard_normal((20, 8)).astype(np.float32)
    near = EuclideanIndex(points)(points[:3].astype(np.float64), 50)
    assert near.rows.shape == (3, 20) and np.isinf(near.beyond).all()


def test_memory_mapped_points_give_the_same(tmp_path: Path) -> None:
    points = np.random.default_rng(4).standard_normal((90, 16)).astype(np.float32)
    np.save(tmp_path / "points.npy", points)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    queries = points[:30] + 0.1
    ours, theirs = EuclideanIndex(mapped)(queries, 4), EuclideanIndex(points)(queries, 4)
    assert np.array_equal(ours.rows, theirs.rows) and np.array_equal(ours.beyond, theirs.beyond)
    assert len(EuclideanIndex(mapped)) == 90


def test_what_cannot_be_searched_is_refused() -> None:
    good = np.ones((4, 3), np.float32)
    for bad in (np.empty((0, 3), np.float32), good.astype(np.float64), np.ones(3, np.float32)):
        with pytest.raises(DataError, match="points"):
            EuclideanIndex(bad)
    with pytest.raises(DataError, match=r"points\[1\]"):
        EuclideanIndex(np.array([[0, 0], [np.nan, 1]], np.float32))
    with pytest.raises(DataError, match="queries"):
        EuclideanIndex(good)(np.ones((2, 5)), 1)
    with pytest.raises(DataError, match="queries"):
        EuclideanIndex(good)(np.full((2, 3), np.inf), 1)
    with pytest.raises(ConfigError, match="k: got 0"):
        EuclideanIndex(good)(np.ones((2, 3)), 0)
