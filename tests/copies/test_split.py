"""The held-out split by group."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.copies.split import group_split
from auditor.errors import ConfigError

IDS = [f"i{k:03d}" for k in range(300)]
GROUPS = [k // 3 if k < 150 else k for k in range(300)]  # 50 groups of 3, 150 singles


def test_no_group_is_cut_and_every_image_is_on_one_side() -> None:
    train, holdout = group_split(IDS, GROUPS, seed="s", holdout_fraction=0.3)
    of = dict(zip(IDS, GROUPS, strict=True))
    assert sorted(train + holdout) == IDS
    assert not {of[i] for i in train} & {of[i] for i in holdout}
    assert len({of[i] for i in holdout}) == 60  # 0.3 of 200 groups


def test_the_seed_decides() -> None:
    one, same, other = (group_split(IDS, GROUPS, seed=seed, holdout_count=100) for seed in "aab")
    assert one == same
    assert one != other


def test_large_groups_are_held_out_as_often_as_small_ones() -> None:
    # Share of groups of three and of singles over 400 seeds; each is 1/4 with standard error below 0.005.
    counts = np.zeros(2)
    for seed in range(400):
        holdout = set(group_split(IDS, GROUPS, seed=str(seed), holdout_fraction=0.25).holdout)
        counts += [sum(IDS[3 * g] in holdout for g in range(50)), sum(i in holdout for i in IDS[150:])]
    assert counts / (400 * np.array([50, 150])) == pytest.approx([0.25, 0.25], abs=0.015)


@pytest.mark.parametrize("sizes", [{}, {"holdout_fraction": 0.2, "holdout_count": 5}, {"holdout_fraction": 0.001}])
def test_impossible_sizes_are_refused(sizes: dict) -> None:
    with pytest.raises(ConfigError, match="held-out size"):
        group_split(IDS, GROUPS, seed="s", **sizes)
