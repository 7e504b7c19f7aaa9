"""How alike the columns' answers are: every pair of checkpoints, and every checkpoint with its memorizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.comparison_config import ComparisonConfig
from auditor.progress import Progress
from auditor.regime.prompted import prompted_reproducibility
from auditor.regime.reproducibility import reproducibility
from auditor.stages.comparison.columns import Answers, MadeColumn
from auditor.stages.comparison.inputs import ComparedInputs, relation
from auditor.stages.embed import Vectors, embed_generations, named
from auditor.store.comparison import Reproducibility
from auditor.store.digest import value_digest
from auditor.store.run_directory import RunDirectory


@dataclass(frozen=True)
class EmbeddedColumns:
    """Every shown column, and the vectors of these and of the controls by encoder and column key."""

    columns: list[MadeColumn]  # checkpoints, then memorizers, each once
    vectors: dict[tuple[str, str], Vectors]  # (encoder name, digest of the column's key) -> Float32[G D]

    def of(self, encoder: str, column: MadeColumn) -> Vectors:
        """One column's vectors in probe order; probes without a finite image are left out."""
        return self.vectors[encoder, value_digest(column.key)]

    def common(self, encoder: str, left: MadeColumn, right: MadeColumn) -> tuple[NDArray[np.int64], Vectors, Vectors]:
        """The probes that both columns answered, and their vectors on these."""
        ours, theirs = left.generations.probe, right.generations.probe
        probes, rows, others = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
        return probes, self.of(encoder, left)[rows], self.of(encoder, right)[others]


def embed_columns(
    run: RunDirectory, inputs: ComparedInputs, answers: Sequence[Answers], show: Progress
) -> EmbeddedColumns:
    """All generations under every encoder."""
    shown = unique(made for answer in answers for made in (answer.checkpoint,))
    shown = unique([*shown, *(answer.memorizer for answer in answers if answer.memorizer)])
    controls = unique(answer.control for answer in answers if answer.control)
    vectors = {}
    for name, encoder in named(inputs.encoders).items():
        for column in unique([*shown, *controls]):
            digest = value_digest(column.key)
            stage = f"{name}/{digest[:16]}"
            vectors[name, digest] = embed_generations(run, stage, column.generations, column.key, encoder, show)
    return EmbeddedColumns(shown, vectors)


def unique(columns: Iterator[MadeColumn] | Sequence[MadeColumn]) -> list[MadeColumn]:
    """Each column once, in the order given."""
    return list({(value_digest(column.key), column.name): column for column in columns}.values())


def pairs_of(answers: Sequence[Answers]) -> list[tuple[MadeColumn, MadeColumn]]:
    """Which columns are compared: checkpoints with each other, and each with its own memorizer."""
    checkpoints = [answer.checkpoint for answer in answers]
    own = [(answer.checkpoint, answer.memorizer) for answer in answers if answer.memorizer]
    return [*combinations(checkpoints, 2), *own]


def reproduce_pairs(
    run: RunDirectory,
    inputs: ComparedInputs,
    answers: Sequence[Answers],
    embedded: EmbeddedColumns,
    config: ComparisonConfig,
    show: Progress,
) -> list[Reproducibility]:
    """Reproducibility of every pair under every encoder."""
    pairs, encoders = pairs_of(answers), named(inputs.encoders)
    found = []
    with show.stage(f"compare {len(pairs)} pairs", len(pairs) * len(encoders), "pair") as meter:
        for name, encoder in encoders.items():
            for left, right in pairs:
                key = {
                    "left": left.key, "right": right.key, "names": [left.name, right.name],
                    "encoder": asdict(encoder.spec), "level": config.level,
                }  # fmt: skip

                def compute(name: str = name, left: MadeColumn = left, right: MadeColumn = right) -> dict[str, Any]:
                    probes, ours, theirs = embedded.common(name, left, right)
                    asked: dict[str, Any] = {
                        "encoder": name, "names": (left.name, right.name), "level": config.level,
                        "data": relation(left.model.train, right.model.train),
                    }  # fmt: skip
                    if inputs.prompts is None:
                        return reproducibility(ours, theirs, **asked).model_dump(mode="json")
                    places = inputs.prompts.of_probes(probes)
                    return prompted_reproducibility(ours, theirs, places, **asked).model_dump(mode="json")

                stage = f"pairs/{name}/{value_digest(key)[:16]}"
                found.append(Reproducibility.model_validate(run.value(stage, key, compute)))
                meter(1)
    return found
