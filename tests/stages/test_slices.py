"""Held-out slices: disjoint, complete, whole groups, and keyed by the seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.copies.relatives import joined
from auditor.errors import ConfigError
from auditor.stages.slices import SliceSizes, slice_holdout, slice_sizes

IDS = [f"h{i:04d}" for i in range(1000)]


def test_slices_partition_the_held_out_set() -> None:
    sizes = slice_sizes(training=2000, holdout=1000, nonmembers=300)
    slices = slice_holdout(IDS, IDS, sizes, seed="s")
    assert (len(slices.competition), len(slices.placebo), len(slices.membership)) == (650, 50, 300)
    assert sorted(slices.competition + slices.placebo + slices.membership) == IDS


def test_repeated_images_stay_together() -> None:
    groups = [i // 7 for i in range(1000)]
    slices = slice_holdout(IDS, groups, slice_sizes(2000, 1000, 300), seed="s")
    parts = [slices.competition, slices.placebo, slices.membership]
    seen = [{groups[IDS.index(i)] for i in part} for part in parts]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_slices_depend_on_the_seed_and_nothing_else() -> None:
    sizes = slice_sizes(2000, 1000, 300)
    assert slice_holdout(IDS, IDS, sizes, "s") == slice_holdout(IDS, IDS, sizes, "s")
    assert slice_holdout(IDS, IDS, sizes, "s") != slice_holdout(IDS, IDS, sizes, "t")


@pytest.mark.parametrize(
    ("training", "holdout", "nonmembers", "expected"),
    [
        (128, 3500, 1000, (2372, 128, 1000)),  # placebo as many as training items
        (20000, 20000, 1000, (18000, 1000, 1000)),  # placebo at most a twentieth
        (2000, 300, 1000, (100, 50, 150)),  # membership at most half
        (2000, 300, None, (250, 50, 0)),
    ],
)
def test_sizes(training: int, holdout: int, nonmembers: int | None, expected: tuple[int, int, int]) -> None:
    sizes = slice_sizes(training, holdout, nonmembers)
    assert (sizes.competition, sizes.placebo, sizes.membership) == expected


def test_too_few_held_out_images_are_refused_with_the_number_needed() -> None:
    with pytest.raises(ConfigError, match=r"got 90; expected at least 200.* origin\.$"):
        slice_sizes(2000, 90, None)


def test_fewer_nonmembers_are_proposed_where_they_would_do() -> None:
    with pytest.raises(ConfigError, match=r"set membership\.nonmembers to 81 or fewer"):
        slice_sizes(2000, 181, 1000)
    assert slice_sizes(2000, 181, 81) == SliceSizes(50, 50, 81)


def test_images_are_joined_by_either_kind_of_group_and_through_others() -> None:
    # 0-1 are duplicates, 1-2 were dealt together, so 0, 1 and 2 are one; 3-4 were dealt together; 5 is alone.
    together = joined(np.array([7, 7, 1, 2, 3, 4]), [None, "x", "x", "y", "y", None])
    assert len(set(together[:3])) == 1
    assert together[3] == together[4]
    assert len({together[0], together[3], together[5]}) == 3


def test_without_groups_of_the_split_duplicates_alone_join() -> None:
    together = joined(np.array([0, 1, 1, 2]), [None] * 4)
    assert [int(np.sum(together == one)) for one in together] == [1, 2, 2, 1]
    assert len(joined(np.array([], np.int64), [])) == 0
