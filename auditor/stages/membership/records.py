"""membership.parquet: every scored training record, with what it is given away by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auditor.membership.evaluate import Side
from auditor.membership.records import SLICES, deciding, exposed, record_table, write_table
from auditor.stages.copies import CopySearch
from auditor.stages.inputs import Images, Inputs
from auditor.stats.power import competition_floor
from auditor.store.digest import file_digest
from auditor.store.membership import ExposedRecord, RecordScores
from auditor.store.record import Tier
from auditor.store.run_directory import RunDirectory

FILE = "membership.parquet"
STRENGTH: Mapping[Tier, int] = {"suspect": 0, "certified": 1, "verbatim": 2}


@dataclass(frozen=True)
class Listed:
    """The file, and the records at its top."""

    scores: RecordScores
    exposed: list[ExposedRecord]


def list_records(
    run: RunDirectory, inputs: Inputs, sides: Sequence[Side], searches: Sequence[CopySearch], alpha: float
) -> Listed:
    """Write the table of all scored members and say what its q-values can show.

    Args:
      sides: Members and non-members, the combined score included.
      searches: Copy searches, whose evidence gives the tiers.
      alpha: False discovery rate, of both slices together, at which records are counted as called.
    """
    members, nonmembers = sides
    table = record_table(members, nonmembers, times_in_set(inputs.train, members.table.ids), copy_tiers(searches))
    write_table(table, run.path / FILE)
    each = alpha / SLICES  # either slice's share of the rate
    floors = [
        competition_floor(int((members.calibration == used).sum()), int((nonmembers.calibration == used).sum()), each)
        for used in (True, False)
    ]
    scores = RecordScores(
        file=FILE,
        sha256=file_digest(run.path / FILE),
        records=table.num_rows,
        score=deciding(members),
        alpha=alpha,
        called=sum(q <= alpha for q in table["q_value"].to_pylist()),
        needed=min(floors),
    )
    return Listed(scores, exposed(table, scores.score))


def times_in_set(train: Images, ids: Sequence[str]) -> dict[str, int]:
    """How often each image stands in the training set, pixel by pixel, itself included."""
    repeats = train.repeats()
    return {name: repeats[train.digests[name]] for name in ids}


def copy_tiers(searches: Sequence[CopySearch]) -> dict[str, str]:
    """The strongest tier of any evidence that names an image, over encoders that resolve; verbatim under any."""
    tiers: dict[str, Tier] = {}
    for search in searches:
        for evidence in search.competition.evidence:
            if not search.competition.resolving and evidence.tier != "verbatim":
                continue
            for name in evidence.members:
                if name not in tiers or STRENGTH[evidence.tier] > STRENGTH[tiers[name]]:
                    tiers[name] = evidence.tier
    return dict(tiers)
