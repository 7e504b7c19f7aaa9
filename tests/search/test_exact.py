"""Search against brute force in float64, on sizes where every block edge and every tie occurs."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import ConfigError, DataError
from auditor.search.exact import best_match, first_occurrence, nearest_neighbours, pairs_above
from auditor.search.index import rounding, search_device

# float64 sums of D <= 64 products of unit vectors agree to D * 2^-53 < 1e-14, whatever their order
FLOAT64 = 1e-14


def unit(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def brute(queries: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """All similarities, one einsum per pair as the package sums them, so that equal vectors tie exactly."""
    return np.einsum("qd,nd->qn", queries.astype(np.float64), pool.astype(np.float64))


def brute_neighbours(queries: np.ndarray, pool: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    similarity = brute(queries, pool)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, order, axis=1), order


@pytest.mark.parametrize("block_rows", [1, 7, 19, 64, 1000])
def test_best_match_equals_brute_force(block_rows: int) -> None:
    rng = np.random.default_rng(1)
    items, references = unit(rng, 143, 24), unit(rng, 61, 24)
    found = best_match(items, references, block_rows=block_rows)
    similarity = brute(items, references)
    assert np.array_equal(found.index, similarity.argmax(axis=1))
    assert np.abs(found.similarity - similarity.max(axis=1)).max() < FLOAT64
    assert found.similarity.dtype == np.float64 and found.index.dtype == np.int64


def test_best_match_gives_equal_references_to_the_first() -> None:
    rng = np.random.default_rng(2)
    distinct = unit(rng, 50, 37)
    references = np.concatenate([distinct, distinct[::-1], distinct])  # every vector three times
    found = best_match(unit(rng, 300, 37), references)
    assert found.index.max() < 50  # 50 rows, each of whose first occurrence is itself


def test_best_match_of_a_copy_is_the_copied_reference() -> None:
    rng = np.random.default_rng(3)
    references = unit(rng, 500, 32)
    found = best_match(references[[4, 400]], references)
    assert found.index.tolist() == [4, 400]
    assert np.abs(found.similarity - 1).max() < 2e-7  # the norm error of float32 unit vectors, twice
    others = best_match(unit(rng, 200, 32), references)  # negative control: no copies, nothing near one
    assert others.similarity.max() < 0.9  # max of 1e5 cosines in 32 dimensions: 4.3 / sqrt(32) = 0.76


def test_best_match_of_no_items_is_empty() -> None:
    found = best_match(np.empty((0, 8), np.float32), unit(np.random.default_rng(4), 5, 8))
    assert found.similarity.shape == found.index.shape == (0,)


@pytest.mark.parametrize(("k", "block_rows"), [(1, 1000), (5, 3), (40, 17), (130, 64), (143, 50), (500, 20)])
def test_nearest_neighbours_equal_brute_force(k: int, block_rows: int) -> None:
    rng = np.random.default_rng(5)
    queries, pool = unit(rng, 23, 24), unit(rng, 143, 24)
    found = nearest_neighbours(queries, pool, k, block_rows=block_rows)
    similarity, index = brute_neighbours(queries, pool, k)
    assert found.index.shape == (23, min(k, 143))
    assert np.array_equal(found.index, index)
    assert np.abs(found.similarity - similarity).max() < FLOAT64


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 90), st.integers(9, 100), st.integers(2, 12))
def test_nearest_neighbours_break_ties_by_lower_index(seed: int, k: int, block_rows: int, distinct: int) -> None:
    # 90 rows with at most 12 distinct values: ties run far beyond the slack and across every block edge
    rng = np.random.default_rng(seed)
    pool = unit(rng, distinct, 9)[rng.integers(0, distinct, 90)]
    queries = unit(rng, 6, 9)
    found = nearest_neighbours(queries, pool, k, block_rows=block_rows)
    assert np.array_equal(found.index, brute_neighbours(queries, pool, k)[1])


def test_float64_decides_what_float32_confuses() -> None:
    # 200 pool rows whose similarities to the query differ by 2e-9, below float32 resolution (6e-8) near 1
    rng = np.random.default_rng(6)
    dim = 64
    query = unit(rng, 1, dim)
    pool = np.repeat(query, 200, axis=0)
    pool += rng.standard_normal(pool.shape).astype(np.float32) * np.float32(3e-5)
    found = nearest_neighbours(query, pool, 3, block_rows=37)
    assert np.array_equal(found.index, brute_neighbours(query, pool, 3)[1])


@pytest.mark.parametrize("block_rows", [5, 13, 64, 300, 5000])
@pytest.mark.parametrize("threshold", [-0.05, 0.3, 0.6])
def test_pairs_above_equal_brute_force(block_rows: int, threshold: float) -> None:
    rng = np.random.default_rng(7)
    pool = unit(rng, 290, 20)  # more than one range search of 256 queries
    pool[200:230] = pool[:30]  # exact duplicates across blocks
    rows, cols = np.nonzero(np.triu(brute(pool, pool) >= threshold, k=1))
    batches = list(pairs_above(pool, threshold, block_rows=block_rows))
    assert all(len(batch_rows) == len(batch_cols) > 0 for batch_rows, batch_cols in batches)
    found = sorted((int(i), int(j)) for batch in batches for i, j in zip(*batch, strict=True))
    assert found == list(zip(rows.tolist(), cols.tolist(), strict=True))


def test_pairs_above_decide_the_threshold_in_float64() -> None:
    rng = np.random.default_rng(8)
    pool = unit(rng, 60, 48)
    similarity = brute(pool, pool)
    exact = similarity[3, 17]  # a pair exactly at the threshold counts ...
    assert (3, 17) in {pair for batch in pairs_above(pool, exact) for pair in zip(*batch, strict=True)}
    above = np.nextafter(exact + FLOAT64, 2)  # ... and one just below, by less than float32 resolves, does not
    assert (3, 17) not in {pair for batch in pairs_above(pool, above) for pair in zip(*batch, strict=True)}


def test_memmaps_give_the_same_as_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    pool, other = unit(rng, 120, 16), unit(rng, 40, 16)
    np.save(tmp_path / "pool.npy", pool)
    mapped = np.load(tmp_path / "pool.npy", mmap_mode="r")
    for ours, theirs in (
        (best_match(mapped, other, block_rows=50), best_match(pool, other, block_rows=50)),
        (nearest_neighbours(other, mapped, 4, block_rows=50), nearest_neighbours(other, pool, 4, block_rows=50)),
    ):
        assert np.array_equal(ours.index, theirs.index) and np.array_equal(ours.similarity, theirs.similarity)


def peak_bytes(action: object) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_stays_far_below_the_streamed_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    rows, dim = 60_000, 64
    path = tmp_path / "items.npy"
    items = np.lib.format.open_memmap(path, "w+", np.float32, (rows, dim))  # 15.4 MB
    for start in range(0, rows, 5_000):
        items[start : start + 5_000] = unit(rng, 5_000, dim)
    few = unit(rng, 20, dim)
    mapped = np.load(path, mmap_mode="r")
    bound = 5_000_000  # results 1.0 MB + a block of 2,000 rows 0.5 MB, float64 chunks 0.5 MB; a third of the file
    assert peak_bytes(lambda: best_match(mapped, few, block_rows=2_000)) < bound
    assert peak_bytes(lambda: nearest_neighbours(few, mapped, 5, block_rows=2_000)) < bound
    assert peak_bytes(lambda: best_match(np.array(mapped), few, block_rows=2_000)) > bound  # negative control


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0, 0.0])
@pytest.mark.parametrize("row", [0, 29])
def test_a_row_that_is_no_unit_vector_is_named(value: float, row: int) -> None:
    good = unit(np.random.default_rng(11), 30, 6)
    bad = good.copy()
    bad[row] = value
    for action in (
        lambda: best_match(bad, good, block_rows=8),
        lambda: best_match(good, bad, block_rows=8),
        lambda: nearest_neighbours(good, bad, 2, block_rows=8),
        lambda: list(pairs_above(bad, 0.5, block_rows=8)),
    ):
        with pytest.raises(DataError, match=rf"\[{row}\]: got norm"):
            action()


def test_arrays_that_cannot_be_compared_are_refused() -> None:
    rng = np.random.default_rng(12)
    with pytest.raises(DataError, match="float64"):
        best_match(unit(rng, 3, 4).astype(np.float64), unit(rng, 3, 4))
    with pytest.raises(DataError, match="one D"):
        nearest_neighbours(unit(rng, 3, 4), unit(rng, 3, 5), 1)
    with pytest.raises(ConfigError, match="at least one generation"):
        best_match(unit(rng, 3, 4), np.empty((0, 4), np.float32))
    with pytest.raises(ConfigError, match="k: got 0"):
        nearest_neighbours(unit(rng, 3, 4), unit(rng, 3, 4), 0)


def test_float32_errors_stay_within_the_stated_bound() -> None:
    rng = np.random.default_rng(13)
    left, right = unit(rng, 400, 512), unit(rng, 400, 512)
    error = np.abs((left @ right.T).astype(np.float64) - brute(left, right)).max()
    assert 0 < error < rounding(512)


def test_first_occurrence_treats_signed_zeros_as_equal() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, -0.0], [0, 1]], np.float32)
    assert first_occurrence(vectors).tolist() == [0, 1, 0, 1]


def test_search_device_names_what_is_there() -> None:
    assert search_device() == "gpu" or search_device().startswith("cpu")
