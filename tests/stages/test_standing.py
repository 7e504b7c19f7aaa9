"""Who stands in a membership test: near-duplicates once a side, and not at all where they lie on both."""

from __future__ import annotations

import numpy as np

from auditor.stages.membership.sides import units


def test_a_group_counts_once_a_side_and_a_mixed_one_not_at_all() -> None:
    members, nonmembers = ["m0", "m1", "m2", "m3", "m4"], ["n0", "n1", "n2"]
    ours, theirs = np.array([0, 1, 0, 2, 3]), np.array([2, 4, 4])
    assert units(members, ours, theirs) == ["m0", "m1", "m4"]  # m2 repeats m0, m3 has n0 on the other side
    assert units(nonmembers, theirs, ours) == ["n1"]


def test_singles_all_stand() -> None:
    assert units(["a", "b"], np.array([5, 1]), np.array([0])) == ["a", "b"]
