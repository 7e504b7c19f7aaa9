"""Who stands in a membership test: near-duplicates once a side, and not at all where they lie on both."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.stages.embed import Embedded
from auditor.stages.inputs import Inputs, open_inputs
from auditor.stages.membership.sides import stand, units
from tests.micro import micro_config, write_micro_inputs


def test_a_group_counts_once_a_side_and_a_mixed_one_not_at_all() -> None:
    members, nonmembers = ["m0", "m1", "m2", "m3", "m4"], ["n0", "n1", "n2"]
    ours, theirs = np.array([0, 1, 0, 2, 3]), np.array([2, 4, 4])
    assert units(members, ours, theirs) == ["m0", "m1", "m4"]  # m2 repeats m0, m3 has n0 on the other side
    assert units(nonmembers, theirs, ours) == ["n1"]


def test_singles_all_stand() -> None:
    assert units(["a", "b"], np.array([5, 1]), np.array([0])) == ["a", "b"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    path = tmp_path_factory.mktemp("standing")
    write_micro_inputs(path, train=40, holdout=220)
    return open_inputs(micro_config(path, membership={"members": 30, "nonmembers": 60}))


def test_near_duplicates_of_any_image_of_the_other_set_stand_on_neither_side(inputs: Inputs) -> None:
    """Held-out image 3 repeats training image 35, which is not drawn; member 2 repeats held-out image 150."""
    draw = np.random.default_rng(0)
    train, holdout = (draw.normal(size=(count, 64)).astype(np.float32) for count in (40, 220))
    holdout[3], train[2] = train[35] + np.float32(0.1), holdout[150] + np.float32(0.1)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (train, holdout)]
    none = np.empty((0, 64), np.float32)
    embedded = Embedded("pixel", inputs.encoders[0], unit[0], unit[1], none, none)
    ours, theirs = list(inputs.train.digests), list(inputs.holdout.digests)
    found = stand(inputs, embedded, ours[:30], theirs[:60], 0.95)
    assert found.members == [name for name in ours[:30] if name != ours[2]]
    assert found.nonmembers == [name for name in theirs[:60] if name != theirs[3]]
    groups = {(group.members[0], group.nonmembers[0]) for group in found.mixed}
    assert groups == {(ours[35], theirs[3]), (ours[2], theirs[150])}
    apart = stand(inputs, embedded, ours[:30], theirs[:60], 0.9999)  # the control: at this threshold nothing is alike
    assert (len(apart.members), len(apart.nonmembers), apart.mixed) == (30, 60, [])
