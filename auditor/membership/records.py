"""What every single training record is given away by: scores, conformal p-values, q-values, as one table.

A record's p-value says how often a record that was not trained on scores as high. It is exact: the non-members it is
compared with took no part in making its score (each slice is scored by what was fitted on the other, see
:mod:`auditor.membership.combined`), so a record that the checkpoint does not favour is as likely to have any rank among
them as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from auditor.membership.combined import NAME
from auditor.membership.evaluate import Side, choose_variant
from auditor.stats.conformal import conformal_p_values
from auditor.stats.multiple import benjamini_hochberg
from auditor.store.atomic import written
from auditor.store.membership import ExposedRecord

MOST_EXPOSED = 20  # records that the report names
SLICES = 2  # each with its own non-members, and so its own Benjamini-Hochberg run


def record_table(members: Side, nonmembers: Side, repeats: Mapping[str, int], tiers: Mapping[str, str]) -> pa.Table:
    """One row per scored member, the most exposed first (ties by id).

    Columns: ``id``; ``times_in_set`` (exact repeats, itself included); ``slice`` ("calibration" or "report");
    ``score_<attack>`` per attack at its reported variant (a combined score is in log-odds, of two fits: compare it
    within a slice); ``p_value`` and ``q_value`` of the deciding score, see :func:`slice_q_values`; ``copy_tier`` (null
    without copy evidence).

    Args:
      members: With the attack "combined", where there are signals to combine.
      nonmembers: Likewise.
      repeats: How often each scored member stands in the training set; 1 if not there.
      tiers: Strongest copy evidence by id.
    """
    decide = deciding(members)
    variants = {name: choose_variant(name, members, nonmembers) for name in members.table.scores}
    ours, theirs = (side.table.scores[decide][variants[decide]] for side in (members, nonmembers))
    p_values, q_values = slice_q_values(ours, members.calibration, theirs, nonmembers.calibration)
    ids = np.array(members.table.ids)
    order = np.lexsort((ids, -ours, p_values))
    names = [members.table.ids[row] for row in order]
    columns: dict[str, pa.Array] = {
        "id": pa.array(names, pa.string()),
        "times_in_set": pa.array([repeats.get(name, 1) for name in names], pa.int64()),
        "slice": pa.array(np.where(members.calibration, "calibration", "report")[order].tolist(), pa.string()),
    }
    for name, variant in variants.items():
        columns[column(name)] = pa.array(members.table.scores[name][variant][order], pa.float64())
    columns["p_value"] = pa.array(p_values[order], pa.float64())
    columns["q_value"] = pa.array(q_values[order], pa.float64())
    columns["copy_tier"] = pa.array([tiers.get(name) for name in names], pa.string())
    return pa.table(columns)


def slice_q_values(
    members: NDArray[np.float64],
    of_member: NDArray[np.bool_],
    nonmembers: NDArray[np.float64],
    of_nonmember: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(p-values, q-values) of the members, Float64[N] each, for both slices together.

    Benjamini-Hochberg runs within each slice, since only p-values against the same non-members are known to go
    together, and its q-values are doubled. Calling all with q <= a then runs either slice at a / 2. The false share of
    both lists together is at most the sum of their false shares, so its expectation is at most a whatever the
    dependence between the slices; undoubled, it can come to 2 a - a^2.

    Args:
      members: Float64[N], larger = more likely a member.
      of_member: Bool[N], the slice of each.
      nonmembers: Float64[M].
      of_nonmember: Bool[M].
    """
    p_values, q_values = np.ones(len(members)), np.ones(len(members))
    for used in (True, False):
        rows = of_member == used
        p_values[rows] = conformal_p_values(members[rows], nonmembers[of_nonmember == used])
        q_values[rows] = np.minimum(1.0, SLICES * benjamini_hochberg(p_values[rows]))
    return p_values, q_values


def deciding(side: Side) -> str:
    """The attack whose score p-values rest on, fixed before anything is seen: the combined one, else the first."""
    return NAME if NAME in side.table.scores else next(iter(side.table.scores))


def column(attack: str) -> str:
    """The name of an attack's column, one that SQL takes without quotes."""
    return f"score_{attack.replace('-', '_')}"


def exposed(table: pa.Table, decide: str) -> list[ExposedRecord]:
    """The first rows of a table from :func:`record_table`, as the record names them."""
    rows = table.slice(0, MOST_EXPOSED).to_pylist()
    return [
        ExposedRecord(
            id=row["id"],
            times_in_set=row["times_in_set"],
            slice=row["slice"],
            score=row[column(decide)],
            p_value=row["p_value"],
            q_value=row["q_value"],
            tier=row["copy_tier"],
        )
        for row in rows
    ]


def write_table(table: pa.Table, path: Path) -> None:
    """A parquet file, written whole or not at all; the same table gives the same bytes."""
    with written(path) as file:
        pq.write_table(table, file)
