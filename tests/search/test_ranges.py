"""Range search against brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import ConfigError, DataError
from auditor.search.ranges import within


def unit(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def brute(queries: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """All similarities, one einsum per pair as the package sums them, so that equal vectors tie exactly."""
    return np.einsum("qd,nd->qn", queries.astype(np.float64), pool.astype(np.float64))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(0, 9), st.integers(1, 70), st.integers(1, 80), st.booleans())
def test_within_equals_brute_force_with_thresholds_that_are_similarities(
    seed: int, queries: int, rows: int, block_rows: int, each: bool
) -> None:
    # every threshold is the similarity of some pair, and rows repeat: ties at the threshold are the rule
    rng = np.random.default_rng(seed)
    pool = unit(rng, max(1, rows // 3), 9)[rng.integers(0, max(1, rows // 3), rows)]
    asked = np.concatenate([unit(rng, queries, 9), pool[:1]])
    similarity = brute(asked, pool)
    floors = similarity[np.arange(len(asked)), rng.integers(0, rows, len(asked))]
    threshold = floors if each else float(floors[0])
    found = list(within(asked, pool, threshold, block_rows=block_rows))
    query, row = np.nonzero(similarity >= (floors[:, None] if each else floors[0]))
    assert {pair for batch in found for pair in zip(batch.query, batch.row, strict=True)} == set(
        zip(query, row, strict=True)
    )
    assert sum(len(batch.query) for batch in found) == len(query)  # each once
    for batch in found:
        assert len(batch.query) > 0
        assert np.array_equal(batch.similarity, similarity[batch.query, batch.row])
        assert np.array_equal(np.lexsort((batch.row, batch.query)), np.arange(len(batch.query)))


def test_float64_settles_what_float32_confuses_at_the_threshold() -> None:
    # 200 rows whose similarities to the query differ by some 2e-9, below float32 resolution (6e-8) near 1
    rng = np.random.default_rng(6)
    query = unit(rng, 1, 64)
    pool = np.repeat(query, 200, axis=0)
    pool += rng.standard_normal(pool.shape).astype(np.float32) * np.float32(3e-5)
    similarity = brute(query, pool)[0]
    for threshold in np.sort(similarity)[[0, 50, 100, 199]]:
        rows = np.concatenate([batch.row for batch in within(query, pool, float(threshold), block_rows=37)])
        assert np.array_equal(np.sort(rows), np.flatnonzero(similarity >= threshold))


def test_within_finds_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(7)
    assert list(within(unit(rng, 5, 16), unit(rng, 50, 16), 1.01)) == []
    assert list(within(np.empty((0, 16), np.float32), unit(rng, 50, 16), 0.0)) == []
    assert list(within(unit(rng, 5, 16), np.empty((0, 16), np.float32), 0.0)) == []


def test_more_queries_than_a_tile_holds_are_all_served() -> None:
    rng = np.random.default_rng(8)
    queries = unit(rng, 1_100, 4)
    found = list(within(queries, queries, 1 - 1e-6, block_rows=300))
    pairs = {pair for batch in found for pair in zip(batch.query, batch.row, strict=True)}
    assert {(row, row) for row in range(1_100)} <= pairs


def test_thresholds_that_cannot_be_compared_are_refused() -> None:
    rng = np.random.default_rng(9)
    for threshold in (float("nan"), np.zeros(4), np.full(5, np.nan)):
        with pytest.raises(ConfigError, match="threshold"):
            list(within(unit(rng, 5, 8), unit(rng, 6, 8), threshold))
    with pytest.raises(DataError, match="one D"):
        list(within(unit(rng, 5, 8), unit(rng, 6, 9), 0.5))
