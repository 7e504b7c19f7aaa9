"""Shards below one another give what the joined array would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import DataError
from auditor.search.exact import best_match, nearest_neighbours, pairs_above
from auditor.search.ranges import within
from auditor.search.rows import Picked, ShardFile, Stacked


def unit(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cut(whole: np.ndarray, cuts: list[int]) -> Stacked:
    """The array in parts, some of them empty."""
    return Stacked(np.split(whole, sorted(cuts)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 30), max_size=5), st.integers(0, 30), st.integers(0, 30))
def test_slices_and_picks_of_stacked_parts_are_those_of_the_whole(
    seed: int, cuts: list[int], first: int, last: int
) -> None:
    rng = np.random.default_rng(seed)
    whole = unit(rng, 30, 3)
    stacked = cut(whole, cuts)
    assert stacked.shape == whole.shape and len(stacked) == 30
    part, expected = stacked[first:last], whole[first:last]
    assert part.shape == expected.shape
    assert np.array_equal(np.asarray(part), expected)
    rows = rng.integers(-30, 30, 50)
    assert np.array_equal(stacked[rows], whole[rows])
    if len(expected):
        inner = rng.integers(-len(expected), len(expected), 20)
        assert np.array_equal(part[inner], expected[inner])
    mask = rng.random(30) < 0.4
    assert np.array_equal(stacked[mask], whole[mask])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 30), max_size=4), st.integers(0, 40))
def test_picked_rows_stack_with_others(seed: int, cuts: list[int], count: int) -> None:
    rng = np.random.default_rng(seed)
    whole = unit(rng, 30, 3)
    rows = rng.integers(0, 30, count)
    stacked = Stacked([whole, Picked(cut(whole, cuts), rows)])
    expected = np.concatenate([whole, whole[rows]])
    assert np.array_equal(np.asarray(stacked), expected)
    asked = rng.integers(0, len(expected), 40)
    assert np.array_equal(stacked[asked], expected[asked])


def test_rows_outside_are_refused() -> None:
    stacked = cut(unit(np.random.default_rng(0), 10, 3), [4])
    with pytest.raises(IndexError, match="expected 0 to 9"):
        stacked[np.array([10])]
    with pytest.raises(ValueError, match="step of 2"):
        stacked[::2]


@pytest.mark.parametrize("block_rows", [1, 7, 64, 1000])
def test_searches_of_shards_on_disk_equal_those_of_one_array(tmp_path: Path, block_rows: int) -> None:
    rng = np.random.default_rng(1)
    whole, few = unit(rng, 143, 24), unit(rng, 11, 24)
    whole[90:95] = whole[:5]  # equal rows in different shards
    for number, part in enumerate(np.split(whole, [13, 13, 100])):
        np.save(tmp_path / f"{number}.npy", part)
    shards = Stacked([ShardFile(path) for path in sorted(tmp_path.glob("*.npy"))])
    for ours, theirs in (
        (best_match(shards, few, block_rows=block_rows), best_match(whole, few)),
        (best_match(few, shards, block_rows=block_rows), best_match(few, whole)),
        (nearest_neighbours(few, shards, 5, block_rows=block_rows), nearest_neighbours(few, whole, 5)),
        (nearest_neighbours(shards[2:9], shards, 3, block_rows=block_rows), nearest_neighbours(whole[2:9], whole, 3)),
    ):
        assert np.array_equal(ours.index, theirs.index) and np.array_equal(ours.similarity, theirs.similarity)
    for ours, theirs in (
        (within(few, shards, 0.2, block_rows=block_rows), within(few, whole, 0.2)),
        (pairs_above(shards, 0.4, block_rows=block_rows), pairs_above(whole, 0.4)),
    ):
        pairs = [{pair for batch in found for pair in zip(*batch, strict=True)} for found in (ours, theirs)]
        assert pairs[0] == pairs[1] and pairs[0]


def test_a_row_that_is_no_unit_vector_is_named_by_its_row_of_all_shards(tmp_path: Path) -> None:
    whole = unit(np.random.default_rng(2), 20, 4)
    whole[13] = np.nan
    with pytest.raises(DataError, match=r"pool\[13\]: got norm nan"):
        nearest_neighbours(whole[:2], cut(whole, [5, 11]), 1, block_rows=4)


def test_shards_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(DataError, match="one D"):
        Stacked([unit(rng, 3, 4), unit(rng, 3, 5)])
    with pytest.raises(DataError, match="shards"):
        Stacked([])
    np.save(tmp_path / "double.npy", np.zeros((3, 4)))
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    for name in ("double", "empty", "text", "objects", "missing"):
        with pytest.raises(DataError, match=name):
            ShardFile(tmp_path / f"{name}.npy")
