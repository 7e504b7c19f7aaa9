"""Which regime every checkpoint of a comparison is in: its answers against those of its closed-form memorizer."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.comparison_config import ComparisonConfig
from auditor.progress import Progress
from auditor.regime.shares import significance, unscored
from auditor.regime.verdict import regime_verdict
from auditor.stages.comparison.columns import Answers, MadeColumn
from auditor.stages.comparison.decided import decide_copies
from auditor.stages.comparison.inputs import ComparedInputs
from auditor.stages.comparison.landings import Judge, Landed, probe_table
from auditor.stages.comparison.origins import check_origins, withheld
from auditor.stages.comparison.real_images import real_images
from auditor.stages.comparison.reproduce import EmbeddedColumns
from auditor.stages.embed import named
from auditor.store.comparison import Reproducibility
from auditor.store.parts import Estimate
from auditor.store.record import Check
from auditor.store.regime import MemorizerAgreement, RegimeVerdict
from auditor.store.run_directory import RunDirectory
from auditor.store.wording import count, percent


@dataclass
class Regimes:
    """What was found, in the order encoders, then columns."""

    decisive: str
    agreements: list[MemorizerAgreement] = field(default_factory=list)
    verdicts: list[RegimeVerdict] = field(default_factory=list)
    landed: list[Landed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    copies: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # by encoder and column; under prompts

    def write_probes(self, file: Path) -> None:
        """One row per column, encoder and probe: where it landed, where the memorizer did; readable with any tool."""
        tables = [probe_table(landed) for landed in self.landed]
        if tables:
            pq.write_table(pa.concat_tables(tables), file, compression="zstd")


def regimes_of_columns(
    run: RunDirectory,
    inputs: ComparedInputs,
    answers: Sequence[Answers],
    embedded: EmbeddedColumns,
    pairs: Sequence[Reproducibility],
    config: ComparisonConfig,
    seed: str,
    show: Progress,
) -> Regimes:
    """Agreement with the memorizer and the verdict of every checkpoint's column under every encoder.

    A verdict is withheld where held-out and training images, or captions that are asked for, are told apart without the
    checkpoint: whatever favours the training images may then be owed to their origin.
    """
    encoders = named(inputs.encoders)
    found = Regimes(decisive=next(iter(encoders)))
    pools = {  # before the bar below, since terminals show one bar at a time
        (name, model.name): real_images(run, inputs, model, name, encoder, show)
        for name, encoder in encoders.items()
        for model in inputs.models
        if model.train is not None
    }
    allowed = significance(sum(answer.checkpoint.model.train is not None for answer in answers))
    with show.stage("regimes", len(encoders) * len(answers), "column") as meter:
        for name, encoder in encoders.items():
            for answer in answers:
                if answer.checkpoint.model.train is not None:
                    real = pools[name, answer.checkpoint.model.name]
                    decision = functools.partial(
                        decide_copies, real, answer.checkpoint, embedded.of(name, answer.checkpoint), (name, encoder),
                        level=config.level, significance=allowed, split=config.data.split, seed=seed,
                    )  # fmt: skip
                    judge = Judge(run, answer, embedded, name, real, config, seed, decision, allowed)
                    if answer.memorizer is not None:
                        found.agreements.append(judge.agreement())
                    else:
                        found.copies[name, answer.checkpoint.name] = judge.copies()
                    found.landed.append(judge.landed())
                    found.notes += judge.notes()
                meter(1)
    origins = check_origins(run, found.landed, seed, config.prompts.source == "captions")
    found.verdicts = [
        verdict_on(answer, name, found, origins, pairs, answers) for name in encoders for answer in answers
    ]
    found.decisive = decisive(found, list(encoders))
    found.notes += [check.statement for checks in origins.values() for check in checks]
    found.notes = list(dict.fromkeys(found.notes))
    return found


def verdict_on(
    answer: Answers,
    encoder: str,
    found: Regimes,
    origins: Mapping[str, Sequence[Check]],
    pairs: Sequence[Reproducibility],
    answers: Sequence[Answers],
) -> RegimeVerdict:
    """One column's regime under one encoder."""
    column, train = answer.checkpoint, answer.checkpoint.model.train
    if train is None:
        return without_training(column.name, encoder)
    if answer.memorizer is None:
        verdict = under_prompts(column.name, encoder, found.copies[encoder, column.name])
    else:
        agreement = next(one for one in found.agreements if (one.column, one.encoder) == (column.name, encoder))
        verdict = regime_verdict(agreement, partners_of(column, encoder, answers, pairs))
    checks = origins.get(train.info.digest, [])
    return withheld(verdict, [check for check in checks if check.status == "failed"])


def decisive(found: Regimes, encoders: Sequence[str]) -> str:
    """The encoder that resolves for most columns; the first of equals."""
    resolving = [agreement.encoder for agreement in found.agreements if agreement.resolving]
    resolving += [encoder for (encoder, _), copies in found.copies.items() if copies["resolving"]]
    return max(encoders, key=resolving.count)


def partners_of(
    column: MadeColumn, encoder: str, answers: Sequence[Answers], pairs: Sequence[Reproducibility]
) -> list[Reproducibility]:
    """Pairs with a checkpoint that was trained on disjoint images."""
    checkpoints = {answer.checkpoint.name for answer in answers}
    return [
        pair
        for pair in pairs
        if pair.encoder == encoder
        and pair.data == "disjoint"
        and column.name in (pair.left, pair.right)
        and {pair.left, pair.right} <= checkpoints
    ]


def under_prompts(column: str, encoder: str, copies: Mapping[str, Any]) -> RegimeVerdict:
    """No regime, but how many training images come back, where it could be told."""
    name, bound = "lands where the memorizer does", Estimate.model_validate(copies["lower_bound"])
    reasons = ["Under prompts there is no memorizer to compare with: the closed form does not read."]
    if not copies["resolving"]:
        reasons.append("This encoder does not tell copies from look-alikes on these images.")
    elif bound.value:
        images, level = count(int(bound.value), "distinct training image"), percent(bound.level or 0.95)
        reasons.insert(
            0, f"Under these prompts at least {images} {'comes' if bound.value == 1 else 'come'} back ({level})."
        )
    elif bound.value is not None:
        reasons.append("No training image is shown to come back.")
    else:
        reasons.append(f"How many training images come back is not known: {bound.unscored}.")
    return RegimeVerdict(
        column=column,
        encoder=encoder,
        regime="cannot conclude",
        reasons=reasons,
        remedies=["For the regime compare without prompts; for copies by prompt audit the checkpoint (auditor run)."],
        memorised=unscored(name, "there is no memorizer under prompts"),
    )


def without_training(column: str, encoder: str) -> RegimeVerdict:
    """The verdict on a checkpoint whose training set was not given."""
    name = "lands where the memorizer does"
    return RegimeVerdict(
        column=column,
        encoder=encoder,
        regime="cannot conclude",
        reasons=["Its training images were not given, so that there is no memorizer to compare with."],
        remedies=["Give its training set (train)."],
        memorised=unscored(name, "the training images were not given"),
    )
