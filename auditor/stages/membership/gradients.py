"""GSA over both sides of a membership test: gradient norms in parts that survive a kill, and scores made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

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
from auditor.stages.membership.references import narrow
from auditor.stages.membership.scores import Source, conditioned
from auditor.stages.pieces import Piece
from auditor.stages.reopen import Opened
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
    if not isinstance(inputs.checkpoint.denoiser, WhiteBox):
        return list(sides), ["Gradient norms (GSA): the checkpoint has no parameters to take gradients by."]
    total = sum(len(source.ids) for source in sources)
    with show.stage(f"gradients at {total} images", total, "image") as meter:
        norms = [read_norms(run, inputs, source, config, seed, labelled, meter) for source in sources]
    return add_scores(sides, norms, seed), []


def read_norms(
    run: RunDirectory, inputs: Inputs, source: Source, config: AuditConfig, seed: str, labelled: bool, meter: Meter
) -> Norms:
    """Gradient norms of one side's images, in the order in which its swept scores came too."""
    gradients = Gradients(source.name, inputs.name_of(source.images), tuple(source.ids), labelled)
    pieces = gradients.pieces(run, inputs, config, seed)
    inputs.spread(pieces, partial(gradients_again, gradients), meter)
    parts = [piece.get() for piece in pieces]
    names = [str(name) for part in parts for name in part["ids"]]
    return names, np.concatenate([part["norms"] for part in parts])


@dataclass(frozen=True)
class Gradients:
    """Gradient norms of one side under the audited network, as plain values."""

    name: str  # of the side: its noise depends on it
    images: str  # the set that the ids come from
    ids: tuple[str, ...]
    labelled: bool

    def pieces(self, run: RunDirectory, inputs: Inputs, config: AuditConfig, seed: str) -> list[Piece]:
        """A few images a piece."""
        gsa, size = GSA(), config.generation.batch_size
        images, noise = inputs.sets[self.images], f"{seed}/{self.name}"

        def compute(part: list[str]) -> Arrays:
            denoiser, batch = conditioned(inputs, images, part, f"{self.name}/{seed}", self.labelled)
            assert isinstance(denoiser, WhiteBox)
            ids, x0, labels = batch
            samples = samples_of(denoiser.schedule, noise, ids, x0)
            return {"ids": np.array(ids), "norms": gsa.gradient_norms(denoiser, samples, labels, size)}

        def piece(start: int) -> Piece:
            part = list(self.ids[start : start + PART])
            key = {
                "checkpoint": inputs.scan.digest, "set": images.info.digest, "ids": value_digest(part), "seed": seed,
                "attack": repr(gsa), "batch": size, "labelled": self.labelled,
            }  # fmt: skip
            return Piece(run, f"gradients/{self.name}/{start // PART:05d}", key, len(part), partial(compute, part))

        return [piece(start) for start in range(0, len(self.ids), PART)]


def gradients_again(gradients: Gradients, opened: Opened) -> list[Piece]:
    """The same pieces in a worker."""
    return gradients.pieces(opened.run, opened.inputs, opened.config, opened.seed)


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
