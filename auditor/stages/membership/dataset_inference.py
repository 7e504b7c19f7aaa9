"""The suspect records, members or those that a list names, and the held-out ones beside them, put to one test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.diffusion.score_table import ScoreTable
from auditor.membership.combined import signals_of
from auditor.membership.dataset_inference import LEAST, MOST, PERMUTATIONS, Evidence, Looks, infer
from auditor.membership.evaluate import Side
from auditor.probes import choose, generator
from auditor.progress import Progress
from auditor.stages.embed import Embedded
from auditor.stages.inputs import Images, Inputs
from auditor.stages.membership.labels import count_unlabelled
from auditor.stages.membership.scores import Source, attack, swept
from auditor.stages.membership.shift import shift_of
from auditor.stages.membership.sides import stand, statistics_of
from auditor.stages.membership.unrelated import confirm_by_others
from auditor.store.digest import value_digest
from auditor.store.membership import DatasetInference, Shift
from auditor.store.record import Check
from auditor.store.run_directory import RunDirectory
from auditor.validity.blind import blind_check, blind_scores


def infer_dataset(
    run: RunDirectory,
    inputs: Inputs,
    embedded: Embedded,
    sides: Sequence[Side],
    sources: Sequence[Source],
    shift: Shift,
    blind: Check,
    threshold: float,
    config: AuditConfig,
    seed: str,
    labelled: bool,
    show: Progress,
) -> DatasetInference | None:
    """Whether the suspects were used; None where it is not asked for.

    Args:
      embedded: Vectors whose similarities say which images are near-duplicates.
      sides: Members and non-members under all attacks, each image a unit of its own.
      sources: Their images.
      shift, blind: The two-sample test and the blind check of these two; listed suspects get their own.
      threshold: Least similarity of near-duplicates.
      labelled: Whether captions are true classes; see :func:`auditor.stages.membership.scores.batches`.
    """
    if not config.membership.dataset_inference:
        return None
    listed = len(inputs.suspects) > 0
    tables = [side.table for side in sides]
    looks = Looks(config.data.split, shift.p_value, blind.p_value)
    if listed:
        named = choose(seed, "dataset inference/suspects", inputs.suspects, MOST)
        if labelled and count_unlabelled(inputs, named, []):
            return unlabelled_suspects(len(named), len(tables[1].ids))
        standing = stand(inputs, embedded, named, tables[1].ids, threshold)
        if not standing.members or not standing.nonmembers:
            return no_records(len(standing.members), len(standing.nonmembers))
        with show.stage(f"signals of {len(standing.members)} suspects", len(standing.members), "image") as meter:
            suspects = Source(inputs.train, standing.members, "suspects")
            ours = attack(run, inputs, [suspects], config, seed, labelled, meter)
        tables = [*ours, only(tables[1], standing.nonmembers, swept(config))]
        sources = [suspects, replace(sources[1], ids=standing.nonmembers)]
        looks = look(run, inputs, embedded, tables, config, seed)
    key = {
        "checkpoint": inputs.scan.digest, "sets": [source.images.info.digest for source in sources], "seed": seed,
        "ids": [value_digest(table.ids) for table in tables], "permutations": PERMUTATIONS, "listed": listed,
        "signals": [value_digest(signals_of(table.scores).tolist()) for table in tables], "looks": asdict(looks),
    }  # fmt: skip

    def compute() -> dict[str, Any]:
        suspects, heldout = gather(inputs.train, tables[0], seed), gather(inputs.holdout, tables[1], seed)
        return infer(suspects, heldout, seed, listed=listed, looks=looks).model_dump(mode="json")

    with show.stage("dataset inference", 1, "test") as meter:
        found = DatasetInference.model_validate(run.value("membership/dataset-inference", key, compute))
        meter(1)
    scored = not listed and all(len(table.ids) <= MOST for table in tables)
    if not scored:
        compared = [[table.ids[row] for row in rows_of_set(table, seed)] for table in tables]
        sources = [replace(source, ids=ids) for source, ids in zip(sources, compared, strict=True)]
    return confirm_by_others(run, inputs, found, sources, config, seed, labelled, show, scored=scored)


def look(
    run: RunDirectory,
    inputs: Inputs,
    embedded: Embedded,
    tables: Sequence[ScoreTable],
    config: AuditConfig,
    seed: str,
) -> Looks:
    """What the images of listed suspects and held-out ones say without the checkpoint; nothing of sets too small."""
    suspects, heldout = (table.ids for table in tables)
    if min(len(suspects), len(heldout)) < LEAST:
        return Looks(config.data.split)
    statistics = statistics_of((inputs.train, suspects), (inputs.holdout, heldout), levels=True)
    shift = shift_of(run, inputs, embedded, suspects, heldout, statistics, seed, "membership/shift-of-suspects")
    is_suspect, singles = np.arange(len(statistics)) < len(suspects), np.arange(len(statistics))
    check = blind_check(blind_scores(statistics, is_suspect, singles, seed), is_suspect, singles)
    return Looks(config.data.split, shift.p_value, check.p_value)


def rows_of_set(table: ScoreTable, seed: str) -> NDArray[np.int64]:
    """At most 2,000 records of one set, drawn at random."""
    return np.sort(generator(seed, "dataset inference/records").permutation(len(table.ids))[:MOST])


def gather(images: Images, table: ScoreTable, seed: str) -> Evidence:
    """Signals and image statistics of the records of one set that the test takes."""
    rows = rows_of_set(table, seed)
    statistics = statistics_of((images, [table.ids[row] for row in rows]), levels=True)
    return Evidence(signals_of(table.scores)[rows], statistics.astype(np.float64))


def only(table: ScoreTable, ids: Sequence[str], attacks: Sequence[str]) -> ScoreTable:
    """The table's rows of some ids, in its own order, and its columns of some attacks."""
    wanted = frozenset(ids)
    rows: NDArray[np.int64] = np.array([row for row, name in enumerate(table.ids) if name in wanted], np.int64)
    scores = {name: {v: x[rows] for v, x in table.scores[name].items()} for name in attacks}
    return replace(table, ids=[table.ids[row] for row in rows], positions=table.positions[rows], scores=scores)


def unlabelled_suspects(suspects: int, heldout: int) -> DatasetInference:
    """What is said where held-out images were tested under their true classes and suspects cannot be."""
    statement = "Some suspect records state no class number, while the held-out ones were tested under theirs."
    return DatasetInference(
        suspects=suspects, heldout=heldout, listed=True, signals=0, outcome="not tested", statement=statement
    )


def no_records(suspects: int, heldout: int) -> DatasetInference:
    """What is said where near-duplicates on both sides leave a side empty."""
    statement = "All suspect records, or all held-out ones, are near-duplicates of some on the other side."
    return DatasetInference(
        suspects=suspects, heldout=heldout, listed=True, signals=0, outcome="not tested", statement=statement
    )
