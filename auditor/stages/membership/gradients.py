"""GSA over both sides of a membership test: gradient norms in parts that survive a kill, and scores made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.diffusion.score_table import ScoreTable, align, extend
from auditor.diffusion.sweep import samples_of
from auditor.diffusion.white_box import WhiteBox
from auditor.membership.evaluate import Side
from auditor.membership.gsa import GSA, calibrated_scores, total_scores
from auditor.progress import Meter, Progress
from auditor.stages.inputs import Inputs
from auditor.stages.membership.references import Source, narrow
from auditor.stages.membership.scores import batches
from auditor.store.digest import value_digest
from auditor.store.run_directory import Arrays, RunDirectory

PART = 32  # images per ledger entry

Norms = tuple[list[str], NDArray[np.float64]]  # ids in the order read; [N P], a row each, a column per tensor


def attack_by_gradients(
    run: RunDirectory,
    inputs: Inputs,
    sides: Sequence[Side],
    sources: Sequence[Source],
    config: AuditConfig,
    seed: str,
    labelled: bool,
    show: Progress,
) -> tuple[list[Side], list[str]]:
    """Members and non-members with the attack "gsa"; or as they were, and a note why it is not available."""
    denoiser = inputs.checkpoint.denoiser
    if not isinstance(denoiser, WhiteBox):
        return list(sides), ["Gradient norms (GSA): the checkpoint has no parameters to take gradients by."]
    total = sum(len(source.ids) for source in sources)
    with show.stage(f"gradients at {total} images", total, "image") as meter:
        norms = [read_norms(run, inputs, denoiser, source, config, seed, labelled, meter) for source in sources]
    return add_scores(sides, norms, seed), []


def read_norms(
    run: RunDirectory,
    inputs: Inputs,
    denoiser: WhiteBox,
    source: Source,
    config: AuditConfig,
    seed: str,
    labelled: bool,
    meter: Meter,
) -> Norms:
    """Gradient norms of one side's images, in the order in which its swept scores came too."""
    gsa, parts, size = GSA(), [], config.generation.batch_size
    for start in range(0, len(source.ids), PART):
        part = source.ids[start : start + PART]
        key = {
            "checkpoint": inputs.scan.digest, "set": source.images.info.digest, "ids": value_digest(part), "seed": seed,
            "attack": repr(gsa), "batch": size, "labelled": labelled,
        }  # fmt: skip

        def compute(part: list[str] = part) -> Arrays:
            ((ids, x0, labels),) = batches(inputs, source.images, part, f"{source.name}/{seed}", labelled)
            samples = samples_of(denoiser.schedule, f"{seed}/{source.name}", ids, x0)
            norms = gsa.gradient_norms(denoiser, samples, labels, size)
            return {"ids": np.array(ids), "norms": norms}

        parts.append(run.arrays(f"gradients/{source.name}/{start // PART:05d}", key, compute))
        meter(len(part))
    names = [str(name) for part in parts for name in part["ids"]]
    return names, np.concatenate([part["norms"] for part in parts])


def add_scores(sides: Sequence[Side], found: Sequence[Norms], seed: str) -> list[Side]:
    """Both sides with the attack "gsa"; images whose gradient is zero or not finite become unscored.

    Args:
      sides: Members and non-members.
      found: Ids and gradient norms of their images.
      seed: The audit's root seed.
    """
    kept, rows = [], []
    for side, (ids, norms) in zip(sides, found, strict=True):
        total = total_scores(norms)
        scored, broken = np.flatnonzero(np.isfinite(total)), np.flatnonzero(~np.isfinite(total))
        lost = [(ids[row], f"gsa, total norm: the score is {total[row]}") for row in broken]
        own = ScoreTable([ids[row] for row in scored], scored, {}, lost, 0, 0, {})
        table, _ = align([side.table, own])
        kept.append(narrow(side, table))
        rows.append(norms[table.positions])
    joint = np.concatenate(rows)
    is_member = np.arange(len(joint)) < len(rows[0])
    scores = {"total norm": total_scores(joint)}
    calibration = np.concatenate([side.calibration for side in kept])
    scores["classifier of tensors"] = calibrated_scores(joint, is_member, calibration, seed)
    result, cost = [], GSA().evaluations_per_image
    for side, part in zip(kept, (is_member, ~is_member), strict=True):
        own_scores = {"gsa": {variant: values[part] for variant, values in scores.items()}}
        images = len(side.table.ids) + len(side.table.unscored)
        result.append(replace(side, table=extend(side.table, own_scores, {"gsa": cost}, cost * images)))
    return result
