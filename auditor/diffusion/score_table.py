"""Scores of many samples under several attacks, gathered batch by batch."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.diffusion.evaluations import SharedEvaluations
from auditor.errors import ConfigError

Scores = Mapping[str, Mapping[str, torch.Tensor]]  # attack -> variant -> Float[B]


@dataclass(frozen=True)
class ScoreTable:
    """Scores of all samples that every variant could score, in the order they came.

    Attributes:
      ids: Ids of the scored samples, N of them.
      positions: Int64[N], their places in the input, to align other arrays with.
      scores: attack name -> variant -> Float64[N], larger = more likely a member.
      unscored: (id, reason) of the others: a variant's score was not finite.
      evaluations: Denoiser evaluations spent, in samples.
      evaluations_unshared: What the attacks would have cost one by one.
      per_image: attack name -> evaluations per image if it ran alone.
    """

    ids: list[str]
    positions: NDArray[np.int64]
    scores: dict[str, dict[str, NDArray[np.float64]]]
    unscored: list[tuple[str, str]]
    evaluations: int
    evaluations_unshared: int
    per_image: dict[str, int]


def join(tables: Sequence[ScoreTable]) -> ScoreTable:
    """One table of several sweeps with the same attacks, in the order given; their inputs are taken end to end."""
    starts = np.cumsum([0] + [len(table.ids) + len(table.unscored) for table in tables])
    return ScoreTable(
        ids=[id for table in tables for id in table.ids],
        positions=np.concatenate([table.positions + start for table, start in zip(tables, starts, strict=False)]),
        scores={
            name: {v: np.concatenate([table.scores[name][v] for table in tables]) for v in variants}
            for name, variants in tables[0].scores.items()
        },
        unscored=[row for table in tables for row in table.unscored],
        evaluations=sum(table.evaluations for table in tables),
        evaluations_unshared=sum(table.evaluations_unshared for table in tables),
        per_image=tables[0].per_image,
    )


def align(tables: Sequence[ScoreTable]) -> list[ScoreTable]:
    """Each table with only the samples that all of them scored; all were made of the same input in the same order."""
    kept = reduce(np.intersect1d, [table.positions for table in tables])
    unscored: dict[str, str] = {}
    for table in tables:
        for id, reason in table.unscored:
            unscored.setdefault(id, reason)
    return [_restrict(table, kept, list(unscored.items())) for table in tables]


def _restrict(table: ScoreTable, positions: NDArray[np.int64], unscored: list[tuple[str, str]]) -> ScoreTable:
    rows = np.searchsorted(table.positions, positions)
    return replace(
        table,
        ids=[table.ids[row] for row in rows],
        positions=positions,
        scores={name: {v: x[rows] for v, x in variants.items()} for name, variants in table.scores.items()},
        unscored=unscored,
    )


def extend(
    table: ScoreTable,
    scores: Mapping[str, Mapping[str, NDArray[np.float64]]],
    per_image: Mapping[str, int],
    evaluations: int,
) -> ScoreTable:
    """The table with further attacks on the same samples.

    Args:
      table: What they come after.
      scores: attack name -> variant -> Float64[N], aligned with ``table.ids`` and finite.
      per_image: What each would cost per image if it ran alone.
      evaluations: What was spent for them beyond the table's own, in samples.
    """
    images = len(table.ids) + len(table.unscored)
    return replace(
        table,
        scores=table.scores | {name: dict(variants) for name, variants in scores.items()},
        evaluations=table.evaluations + evaluations,
        evaluations_unshared=table.evaluations_unshared + images * sum(per_image.values()),
        per_image=table.per_image | dict(per_image),
    )


class Gathering:
    """Scores as they come in, and the table they become."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        if len(set(self.names)) < len(self.names):
            raise ConfigError("attacks", ", ".join(self.names), "distinct names", "List each attack once.")
        self.ids: list[str] = []
        self.known: set[str] = set()
        # One growing array a column: a list of small ones, allocated between the large arrays of batches, would keep
        # the heap from ever giving these back (measured: 24 KB a record).
        self.columns: dict[str, dict[str, array[float]]] = {name: {} for name in self.names}
        self.evaluations = 0
        self.per_image = dict.fromkeys(self.names, 0)

    def add(
        self, ids: Sequence[str], scores: Mapping[str, Mapping[str, torch.Tensor]], memo: SharedEvaluations
    ) -> None:
        for id in ids:
            if id in self.known:
                raise ConfigError("membership images", f"id {id!r} twice", "unique ids", "Rename one of the images.")
            self.known.add(id)
        self.ids.extend(ids)
        for name, variants in scores.items():
            for variant, values in variants.items():
                column = self.columns[name].setdefault(variant, array("d"))
                column.frombytes(values.double().cpu().numpy().tobytes())
        self.evaluations += len(ids) * len(memo.outputs)
        for name, places in memo.used.items():
            self.per_image[name] = max(self.per_image[name], len(places))

    def finish(self) -> ScoreTable:
        whole = {
            name: {variant: np.frombuffer(column, np.float64) for variant, column in variants.items()}
            for name, variants in self.columns.items()
        }
        reasons: dict[int, str] = {}
        for name, variants in whole.items():
            for variant, values in variants.items():
                for row in np.flatnonzero(~np.isfinite(values)):
                    reasons.setdefault(int(row), f"{name}, {variant}: the score is {values[row]}")
        positions = np.array([row for row in range(len(self.ids)) if row not in reasons], np.int64)
        return ScoreTable(
            ids=[self.ids[row] for row in positions],
            positions=positions,
            scores={name: {v: x[positions] for v, x in variants.items()} for name, variants in whole.items()},
            unscored=[(self.ids[row], reason) for row, reason in sorted(reasons.items())],
            evaluations=self.evaluations,
            evaluations_unshared=len(self.ids) * sum(self.per_image.values()),
            per_image=self.per_image,
        )
