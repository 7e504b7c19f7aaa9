"""Mismatched pairs, streamed, against the whole G x G matrix."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.errors import DataError
from auditor.regime import pairs
from tests.regime.columns import two_columns

# float64 sums in another order: a few ulp of 1
CLOSE = 1e-12


@pytest.fixture(params=[3, 40, 255, 256, 257, 700])
def columns(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    left, right = two_columns(np.random.default_rng(request.param), request.param, 12, 0.3)
    return pairs.centred(left), pairs.centred(right)


def off_diagonal(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    matrix = left @ right.T
    return matrix[~np.eye(len(matrix), dtype=bool)].reshape(len(matrix), -1)


def test_centred_rows_have_unit_length_and_no_common_direction() -> None:
    left, _ = two_columns(np.random.default_rng(0), 2_000, 16, 0.0)
    assert left.mean(axis=0)[0] > 0.9  # as embeddings are: nearly all their length is common
    rows = pairs.centred(left)
    assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() < CLOSE
    assert np.linalg.norm(rows.mean(axis=0)) < 4 / np.sqrt(2_000)  # a mean of 2,000 unit vectors


def test_a_row_that_equals_the_mean_is_similar_to_nothing() -> None:
    same = np.tile(np.array([[0.6, 0.8, 0.0]], np.float32), (50, 1))
    assert (pairs.centred(same) == 0).all()
    mixed = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)  # mean 0: nothing is lost
    assert np.array_equal(pairs.centred(mixed), mixed)


def test_rows_that_are_no_unit_vectors_are_refused() -> None:
    with pytest.raises(DataError, match="left\\[1\\]: got norm 2"):
        pairs.centred(np.array([[1, 0], [2, 0]], np.float32), "left")


def test_the_threshold_is_exceeded_by_one_percent_exactly(columns: tuple[np.ndarray, np.ndarray]) -> None:
    values = np.sort(off_diagonal(*columns), axis=None)
    for share in (0.01, 0.3):
        allowed = int(share * len(values) + 1e-9)
        assert pairs.exceeded_by(*columns, share) == pytest.approx(values[-1 - allowed], abs=CLOSE)
        assert (values > pairs.exceeded_by(*columns, share) + CLOSE).sum() <= allowed


def test_the_share_above_is_that_of_all_pairs(columns: tuple[np.ndarray, np.ndarray]) -> None:
    values = off_diagonal(*columns)
    for threshold in (-2.0, -0.1, 0.2, 2.0):
        assert pairs.share_above(*columns, threshold) == pytest.approx((values > threshold).mean(), abs=CLOSE)


def test_identified_is_the_strict_maximum_of_its_row(columns: tuple[np.ndarray, np.ndarray]) -> None:
    own = np.einsum("gd,gd->g", *columns)
    assert np.array_equal(pairs.identified(*columns), own > off_diagonal(*columns).max(axis=1))


def test_ties_count_against_identification() -> None:
    rows = pairs.centred(two_columns(np.random.default_rng(1), 40, 12, 0.0)[0])
    assert pairs.identified(rows, rows).all()
    repeated = np.concatenate([rows, rows[:10]])  # ten answers given twice
    assert pairs.identified(repeated, repeated).sum() == 30
    assert not pairs.identified(np.zeros((5, 3)), np.zeros((5, 3))).any()  # a column of one image identifies nothing


def test_jackknife_values_are_those_of_leaving_probes_out(columns: tuple[np.ndarray, np.ndarray]) -> None:
    left, right = columns
    whole, g = off_diagonal(left, right).mean(), len(left)
    pseudo = pairs.mismatched_pseudovalues(left, right)
    assert pseudo.mean() == pytest.approx(whole, abs=CLOSE)
    for out in (0, g // 2, g - 1):
        kept = np.arange(g) != out
        without = off_diagonal(left[kept], right[kept]).mean()
        assert pseudo[out] == pytest.approx(g * whole - (g - 1) * without, abs=g * CLOSE)


def test_shifts_reach_every_mismatched_pair_once() -> None:
    left, right = (pairs.centred(column) for column in two_columns(np.random.default_rng(2), 20, 6, 0.5))
    shifted = np.sort(pairs.shifted_similarity(left, right, 64))
    assert shifted == pytest.approx(np.sort(off_diagonal(left, right), axis=None), abs=CLOSE)
