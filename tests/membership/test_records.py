"""Per record: p-values by definition and super-uniform, few false calls, repeated images on top, files others read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from auditor.membership.combined import NAME, combine
from auditor.membership.evaluate import choose_variant
from auditor.membership.records import exposed, record_table, slice_q_values, write_table
from auditor.stats.conformal import conformal_p_values
from auditor.stats.multiple import benjamini_hochberg
from auditor.stats.roc import auc
from tests.membership.test_combined import normal_side, side
from tests.swept import swept


def combined(draw: np.random.Generator, shift: np.ndarray, count: int = 200):
    found = combine(normal_side(draw, shift, count, "m"), normal_side(draw, np.zeros(len(shift)), count, "n"), "seed")
    return found.members, found.nonmembers


def test_p_values_by_definition():
    nonmembers = np.array([1.0, 2.0, 2.0, 3.0])
    # at least as high: 0, 1, 3 (the ties count), 4 of 4
    assert conformal_p_values(np.array([4.0, 3.0, 2.0, 0.0]), nonmembers) == pytest.approx([1 / 5, 2 / 5, 4 / 5, 1])


def test_records_that_were_not_used_are_rarely_called():
    """200 sets of noise: p-values uniform on the multiples of 1/(m+1) but for ties, and a call in at most 10% + error.

    P(any call) is the false discovery rate here. 35 of 200 at 10% happens with probability 0.0006.
    """
    draw, calls, small = np.random.default_rng(1), 0, []
    for _ in range(200):
        table = record_table(*combined(draw, np.zeros(4), 100), {}, {})
        calls += min(table["q_value"].to_pylist()) <= 0.10
        small.append(np.mean(np.array(table["p_value"].to_pylist()) <= 0.10))
    assert calls < 35
    assert np.mean(small) < 0.10 + 3 * np.std(small) / np.sqrt(200)


def test_both_slices_together_keep_the_false_discovery_rate():
    """3,000 nulls at 10%, error 0.0055: doubled q-values keep it; two separate runs, the control, do not (0.19)."""
    draw, alpha, calls, separate = np.random.default_rng(5), 0.10, 0, 0
    of_member, of_nonmember = np.arange(50) < 15, np.arange(2500) < 750
    for _ in range(3000):
        members, nonmembers = draw.normal(size=50), draw.normal(size=2500)
        p_values, q_values = slice_q_values(members, of_member, nonmembers, of_nonmember)
        calls += bool((q_values <= alpha).any())
        separate += any((benjamini_hochberg(p_values[rows]) <= alpha).any() for rows in (of_member, ~of_member))
    assert calls / 3000 <= alpha + 3 * 0.0055
    assert separate / 3000 > 0.15


def test_records_that_stand_out_are_called_and_few_others():
    draw = np.random.default_rng(2)
    members, nonmembers = combined(draw, np.zeros(4), 1000)
    planted = [row for row in range(1000) if row % 10 == 0]
    for variant in members.table.scores["loss"].values():
        variant[planted] += 6
    found = combine(
        *(type(s)(without(s), s.blind, s.calibration) for s in (members, nonmembers)),
        "seed",
    )
    table = record_table(found.members, found.nonmembers, {}, {})
    called = {row["id"] for row in table.to_pylist() if row["q_value"] <= 0.10}
    truth = {f"m-{row}" for row in planted}
    assert len(called & truth) >= 95
    assert len(called - truth) <= 0.2 * len(called)
    assert {record.id for record in exposed(table, NAME)} <= truth


def without(side):
    from dataclasses import replace

    return replace(side.table, scores={"loss": side.table.scores["loss"]})


def test_each_slice_is_compared_with_its_own_non_members():
    members, nonmembers = combined(np.random.default_rng(3), np.ones(3))
    rows = {row["id"]: row for row in record_table(members, nonmembers, {}, {}).to_pylist()}
    scores = [s.table.scores[NAME]["all signals"] for s in (members, nonmembers)]
    for place, name in enumerate(members.table.ids):
        used = members.calibration[place]
        others = scores[1][nonmembers.calibration == used]
        assert rows[name]["slice"] == ("calibration" if used else "report")
        assert rows[name]["p_value"] == pytest.approx((1 + (others >= scores[0][place]).sum()) / (1 + len(others)))


def test_columns_and_order(tmp_path: Path):
    members, nonmembers = combined(np.random.default_rng(4), np.array([1.0, 0.2]))
    table = record_table(members, nonmembers, {"m-3": 40}, {"m-3": "verbatim"})
    assert table.column_names == [
        "id", "times_in_set", "slice", "score_loss", "score_combined", "p_value", "q_value", "copy_tier",
    ]  # fmt: skip
    rows = table.to_pylist()
    assert sorted(row["id"] for row in rows) == sorted(members.table.ids)
    assert [row["p_value"] for row in rows] == sorted(row["p_value"] for row in rows)
    (third,) = (row for row in rows if row["id"] == "m-3")
    assert (third["times_in_set"], third["copy_tier"]) == (40, "verbatim")
    variant = choose_variant("loss", members, nonmembers)
    assert third["score_loss"] == members.table.scores["loss"][variant][3]
    assert {row["copy_tier"] for row in rows} == {None, "verbatim"}

    write_table(table, tmp_path / "a.parquet")
    write_table(table, tmp_path / "b.parquet")
    assert pq.read_table(tmp_path / "a.parquet").equals(table)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_the_most_exposed_are_the_first_rows():
    table = record_table(*combined(np.random.default_rng(5), np.ones(3)), {}, {})
    top = exposed(table, NAME)
    assert [record.id for record in top] == table["id"].to_pylist()[:20]
    assert [record.score for record in top] == table["score_combined"].to_pylist()[:20]


def test_repeated_images_rank_above_the_others(fixtures: Path):
    """``partial``: 40 of 2,000 images stood in the training set 40 times."""
    repeated = set(json.loads((fixtures / "partial" / "truth.json").read_text())["repeated"])
    members = swept(fixtures, "partial", "members", 2000).table
    found = combine(
        side(members, "members"), side(swept(fixtures, "partial", "nonmembers", 300).table, "nonmembers"), "seed"
    )
    rows = record_table(found.members, found.nonmembers, {}, {}).to_pylist()
    assert {row["id"] for row in rows} >= repeated
    for name in ("score_loss", "score_sima", "score_pia"):
        split = [[row[name] for row in rows if (row["id"] in repeated) == kind] for kind in (True, False)]
        assert auc(*split) > 0.9, name
    by_p = [[-row["p_value"] for row in rows if (row["id"] in repeated) == kind] for kind in (True, False)]
    assert auc(*by_p) > 0.9
