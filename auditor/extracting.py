"""Attacking named training records on purpose, so that one that free probes never hit is still tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditor.config import AuditConfig, CanariesConfig, MembershipConfig
from auditor.copies.extraction import Outcome, decide_extraction, margins
from auditor.errors import ConfigError
from auditor.extraction_config import ExtractionConfig
from auditor.probes import draw_salt, root_seed
from auditor.progress import Progress, Silent
from auditor.report.extraction import extraction_leaflet
from auditor.report.leaflet import write_leaflet
from auditor.report.pages import Images, known_images
from auditor.stages.contestants import Contestants, gather
from auditor.stages.embed import embed_images, named
from auditor.stages.environment import environment
from auditor.stages.extraction import Answers, AttackPlan, plan_attacks, read_named, run_attacks
from auditor.stages.extraction_conditions import attacks_by_caption
from auditor.stages.extraction_record import attack_results, illustrate, notes_of, prompt_notes, records_of
from auditor.stages.guidance import one_scale
from auditor.stages.inputs import Inputs, open_inputs
from auditor.stats.power import competition_floor
from auditor.store.digest import value_digest
from auditor.store.extraction import Extraction
from auditor.store.parts import Estimate
from auditor.store.record import EncoderInfo
from auditor.store.run_directory import RunDirectory, write_json

FILE = "extract.json"


def extract(
    config: AuditConfig,
    ids: Sequence[str],
    run_dir: Path | str,
    *,
    asked: ExtractionConfig | None = None,
    progress: Progress | None = None,
    images: Images | str = "full",
) -> Extraction:
    """Attack training records by name, and held-out images likewise, and say which records were extracted.

    Each record is regenerated from partly noised versions of itself at rising noise, and filled in where parts of it
    are hidden. That brings back something of any image; a record is extracted if it is brought back better than
    held-out images are, by competition (:mod:`auditor.copies.extraction`). Writes extract.json, extract.html and
    extract.md. Killed and called again, it goes on where it was.

    Args:
      config: Of the audit; its checkpoint, sets, first encoder, sampler and steps, alpha and level count.
      ids: Training ids.
      run_dir: A new folder, or that of an earlier call with the same arguments.
      asked: Which attacks, how many draws, how many held-out images.
      progress: Where stages report how far they are; silent by default.
      images: ``full``, or ``none`` to leave pictures out of the reports.

    Raises:
      ConfigError: No ids, or ids that are not in the training set; attacks that cannot be run on this checkpoint.
      AuditError: See :mod:`auditor.errors`; nothing finished so far is lost.
    """
    show, chosen, asked = progress or Silent(), known_images(images), asked or ExtractionConfig()
    if not ids:
        raise ConfigError("ids", "none", "training ids to attack", "Name one or more.")
    alone = {"membership": MembershipConfig(enabled=False), "canaries": CanariesConfig()}
    config = config.model_copy(update={**alone, "encoders": config.encoders[:1]})
    if config.threads:
        torch.set_num_threads(config.threads)
    scale = one_scale(config.generation)
    inputs = open_inputs(config)
    wanted, plans = read_named(inputs, ids), plan_attacks(inputs.checkpoint, asked, config.generation)
    captioned = attacks_by_caption(inputs, wanted, scale)
    specification = specification_of(config, inputs, asked, wanted)
    run = RunDirectory.open(Path(run_dir), specification, config.generation.salt or draw_salt())
    seed = root_seed(run.salt, inputs.scan.digest)

    name = next(iter(named(inputs.encoders)))
    train = embed_images(run, f"{name}/train", inputs.train, inputs.encoders[0], show)
    holdout = embed_images(run, f"{name}/holdout", inputs.holdout, inputs.encoders[0], show)
    contestants = gather(inputs, train, holdout, wanted, asked.holdout, seed, captioned=captioned)
    answers = run_attacks(run, inputs, contestants, plans, asked, config.generation, seed, show)
    found = assemble(run, inputs, config, asked, wanted, contestants, plans, answers, value_digest(specification))
    write_json(run.path / FILE, found.model_dump(mode="json"))
    write_leaflet(extraction_leaflet(found), run.path, "extract", images=chosen)
    return found


def specification_of(
    config: AuditConfig, inputs: Inputs, asked: ExtractionConfig, wanted: Sequence[str]
) -> dict[str, Any]:
    """Everything that determines the result, as plain values."""
    return {
        "extract": asked.model_dump(mode="json"),
        "ids": value_digest(list(wanted)),
        **config.model_dump(mode="json", include={"generation"}),
        "copies": {"alpha": config.copies.alpha, "level": config.copies.level},
        "tool": version("diffusion-auditor"),
        "resize": config.data.resize,
        "encoder": asdict(inputs.encoders[0].spec),
        "checkpoint": inputs.scan.digest,
        "train": inputs.train.info.digest,
        "holdout": inputs.holdout.info.digest,
    }


def assemble(
    run: RunDirectory,
    inputs: Inputs,
    config: AuditConfig,
    asked: ExtractionConfig,
    wanted: Sequence[str],
    contestants: Contestants,
    plans: Sequence[AttackPlan],
    answers: Answers,
    digest: str,
) -> Extraction:
    """The competition of every attack, and what is kept of it."""
    alpha, level, n = config.copies.alpha, config.copies.level, len(contestants.records)
    margin = margins(answers.similarity, contestants.nearest_other)
    outcome = decide_extraction(margin, n, alpha=alpha, level=level)
    records = records_of(wanted, contestants, plans, answers, margin, outcome, alpha)
    return Extraction(
        tool_version=version("diffusion-auditor"),
        digest=digest,
        started=run.started,
        seconds=run.seconds,
        environment=environment(inputs.device),
        config=config.model_dump(mode="json"),
        asked=asked.model_dump(mode="json"),
        checkpoint=inputs.checkpoint.info,
        training=inputs.train.info,
        holdout=inputs.holdout.info,
        encoder=EncoderInfo(**asdict(inputs.encoders[0].spec)),
        resolving=contestants.resolving,
        threshold=contestants.threshold,
        by_caption=contestants.captioned,
        seed_pinned=config.generation.salt is not None,
        salt=run.salt,
        alpha=alpha,
        level=level,
        floor=competition_floor(n, len(contestants.holdout), alpha / len(plans)) if n else 0,
        named=len(wanted),
        extracted=sum(record.verdict == "extracted" for record in records),
        lower_bound=bound_of(outcome, contestants, level),
        attacks=attack_results(plans, outcome, margin, contestants, answers, asked.draws, level),
        records=illustrate(run.path, inputs, contestants, plans, answers, records),
        notes=[*notes_of(contestants, len(wanted), alpha, len(plans)), *prompt_notes(inputs, contestants.captioned)],
    )


def bound_of(outcome: Outcome, contestants: Contestants, level: float) -> Estimate:
    """X over all attacks, or why there is none."""
    name, unit, n = "named records extracted, at least", "distinct records", len(contestants.records)
    if not n or not contestants.resolving:
        reason = "the encoder does not tell copies from look-alikes on this data" if n else "no record can compete"
        return Estimate(name=name, value=None, level=level, unit=unit, unscored=reason)
    bound = float(outcome.lower_bound)
    method = f"exact negative hypergeometric bounds, Bonferroni over {len(outcome.contests)} attacks"
    total = int(np.size(contestants.nearest_other))
    return Estimate(name=name, value=bound, lower=bound, level=level, method=method, n=total, unit=unit)
