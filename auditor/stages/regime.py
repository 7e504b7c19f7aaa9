"""The regime of an audited checkpoint: where its probes land, beside where its closed-form memorizer lands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from auditor.comparison_config import ComparedData, ComparisonConfig, ModelConfig
from auditor.config import AuditConfig
from auditor.progress import Progress
from auditor.regime.shares import significance, unscored
from auditor.regime.verdict import regime_verdict
from auditor.stages.comparison.columns import Answers, ColumnMaker, MadeColumn, control_ids
from auditor.stages.comparison.decided import Decided
from auditor.stages.comparison.inputs import Compared, ComparedInputs
from auditor.stages.comparison.landings import Judge
from auditor.stages.comparison.origins import withheld
from auditor.stages.comparison.real_images import RealImages
from auditor.stages.comparison.reproduce import EmbeddedColumns
from auditor.stages.copies import CopySearch, search_copies, search_key
from auditor.stages.embed import Embedded, embed_generations
from auditor.stages.generate import Made
from auditor.stages.inputs import Images, Inputs
from auditor.stages.memorizer import EXACT_POINTS
from auditor.stages.pool import build_pool
from auditor.stages.slices import HeldOut
from auditor.store.digest import value_digest
from auditor.store.record import Check
from auditor.store.regime import CheckpointRegime, RegimeVerdict
from auditor.store.run_directory import RunDirectory

NAME = "checkpoint"
MOST_BYTES = 2 * 1024**3  # of memorizer points and their search index; beyond, `auditor compare` on a larger machine
EXACT_BYTES, INDEXED_BYTES = 4, 8  # per number: points in float32, and a search index beside them


def regime_of(
    run: RunDirectory,
    inputs: Inputs,
    made: Made,
    everything: Sequence[Embedded],
    searches: Sequence[CopySearch],
    held_out: HeldOut,
    config: AuditConfig,
    seed: str,
    show: Progress,
) -> CheckpointRegime | None:
    """Regime under the first encoder that resolves copies (the first of all where none does), on the first probes.

    The memorizer of the training set, and that of as many held-out images of the competition slice, answer the same
    probes with the same sampler. None where the configuration does not ask for it, and under prompts, which the
    memorizer does not read. Their points stand in memory, so that beyond 2 GiB of them the verdict is "cannot
    conclude".
    """
    if config.regime.probes == 0 or inputs.prompts is not None:
        return None
    place = next((k for k, found in enumerate(searches) if found.competition.resolving), 0)
    embedded, found = everything[place], searches[place]
    needed = memorizer_bytes(inputs)
    if needed > MOST_BYTES:
        return CheckpointRegime(verdict=too_large(embedded.name, needed), agreement=None)
    pool, _ = build_pool(inputs, embedded, held_out)
    ids = set(held_out.competition)
    competing = {name: digest for name, digest in inputs.holdout.digests.items() if name in ids}
    holdout = Images(inputs.holdout.source, inputs.holdout.info, competing)
    key: dict[str, object] = {
        "sets": [inputs.train.info.digest, inputs.holdout.info.digest], "encoder": asdict(embedded.encoder.spec),
        "held-out": value_digest(held_out.competition),
    }  # fmt: skip
    real = RealImages(inputs.train, holdout, pool, key)
    answer = answer_with_memorizers(run, inputs, made, holdout, config, seed, show)
    columns = embed_columns(run, answer, embedded, show)

    searched = search_key(inputs, made, embedded, held_out, config)

    def search() -> dict[str, NDArray[np.int64]]:
        return {"group": search_copies(run, inputs, embedded, held_out, made.generations, config, seed)[1]}

    def decision() -> Decided:
        competition = found.competition
        bounds = competition.lower_bound, found.shared_bound
        group = run.arrays(f"copies/{embedded.name}/groups", searched, search)["group"]
        return Decided(group, competition.certified, *bounds, competition.resolving, found.notes)

    asked = as_comparison(config)
    with show.stage("regime", 1, "checkpoint") as meter:
        judge = Judge(run, answer, columns, embedded.name, real, asked, seed, decision, significance(1))
        agreement = judge.agreement()
        meter(1)
    return CheckpointRegime(verdict=regime_verdict(agreement), agreement=agreement)


def of_one_origin(regime: CheckpointRegime | None, checks: Sequence[Check]) -> CheckpointRegime | None:
    """The same with its verdict withheld where the blind check told held-out from training images."""
    failed = [check for check in checks if check.id == "blind" and check.status == "failed"]
    if regime is None or not failed:
        return regime
    return regime.model_copy(update={"verdict": withheld(regime.verdict, failed)})


def memorizer_bytes(inputs: Inputs) -> int:
    """Memory that the memorizer of the training set would take."""
    points = len(inputs.train.digests)
    per_number = EXACT_BYTES if points <= EXACT_POINTS else INDEXED_BYTES
    return int(points * np.prod(inputs.checkpoint.denoiser.sample_shape)) * per_number


def too_large(encoder: str, needed: int) -> RegimeVerdict:
    """The verdict where the memorizer does not fit."""
    said = f"The memorizer of this training set takes {needed / 1024**3:,.1f} GiB of memory; an audit takes at most 2."
    return RegimeVerdict(
        column=NAME,
        encoder=encoder,
        regime="cannot conclude",
        reasons=[said],
        remedies=["Run `auditor compare` on this checkpoint, on a machine with that much memory."],
        memorised=unscored("lands where the memorizer does", "the memorizer was not made"),
    )


def answer_with_memorizers(
    run: RunDirectory,
    inputs: Inputs,
    made: Made,
    holdout: Images,
    config: AuditConfig,
    seed: str,
    show: Progress,
) -> Answers:
    """The checkpoint's generations, and those of both memorizers on the first probes."""
    own_config, plain = ModelConfig(checkpoint=config.network.path), inputs.checkpoint
    model = Compared(NAME, own_config, inputs.scan, plain, plain, inputs.train)
    compared = ComparedInputs([model], holdout, inputs.encoders, inputs.device)
    maker = ColumnMaker(run, compared, "float32", seed, show)
    own = MadeColumn(NAME, model, "checkpoint", config.generation, made.generations, made.key)
    asked = config.generation.model_copy(update={"probes": min(config.regime.probes, config.generation.probes)})
    memorizer = maker.memorizer(model, inputs.train, list(inputs.train.digests), asked, "")
    chosen = control_ids(inputs.train, holdout, seed)
    control = maker.memorizer(model, holdout, chosen, asked, "'s held-out images") if chosen else None
    return Answers(own, memorizer, control, chosen)


def embed_columns(run: RunDirectory, answer: Answers, embedded: Embedded, show: Progress) -> EmbeddedColumns:
    """The vectors of all three columns under the one encoder."""
    vectors = {(embedded.name, value_digest(answer.checkpoint.key)): embedded.generations}
    for column in (answer.memorizer, answer.control):
        if column is not None:
            digest = value_digest(column.key)
            stage = f"{embedded.name}/regime-{digest[:16]}"
            made = embed_generations(run, stage, column.generations, column.key, embedded.encoder, show)
            vectors[embedded.name, digest] = made
    return EmbeddedColumns([], vectors)


def as_comparison(config: AuditConfig) -> ComparisonConfig:
    """What a comparison of this checkpoint alone would be asked."""
    return ComparisonConfig(
        models=[ModelConfig(checkpoint=config.network.path)],
        data=ComparedData(split=config.data.split),
        level=config.copies.level,
    )
