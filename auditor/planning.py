"""What an audit will cost, and what its sizes can conclude, before anything is spent."""

from __future__ import annotations

import resource
import sys
import time
from typing import NamedTuple

import numpy as np
import torch

from auditor.config import AuditConfig
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.samplers import SAMPLERS
from auditor.diffusion.sweep import sweep
from auditor.executors.build import build_executor
from auditor.membership import ATTACKS
from auditor.membership.dataset_inference import MOST
from auditor.policy import read_policy
from auditor.stages.generate import conditions_of
from auditor.stages.inputs import Inputs, open_inputs
from auditor.stages.membership.few import none_set_aside
from auditor.stages.membership.further import further_evaluations, reported_attacks
from auditor.stages.membership.power import power_of
from auditor.stages.membership.scores import swept
from auditor.stages.prompting import planned_prompts
from auditor.stages.regime import MOST_BYTES, memorizer_bytes
from auditor.stages.scale import (
    DECISION_BYTES,
    IMAGES,
    MACHINES,
    Rates,
    Scale,
    duration,
    measure_search,
    scale,
    scale_lines,
    search_bytes,
)
from auditor.stages.suitability import asked_by_text
from auditor.stats.bounds import simultaneous_bounds
from auditor.stats.power import (
    competition_floor,
    detectable_auc_excess,
    holdout_for_floor,
    nonmembers_for_fpr,
    zero_hit_bound,
)
from auditor.store.parts import Part
from auditor.store.wording import count
from auditor.validity.untrained import SAMPLE

MOST_EXCESS = 0.5  # of an AUC over chance


class Line(NamedTuple):
    """One question and its answer."""

    question: str
    answer: str


class Plan(Part):
    """Cost and power of an audit; times are estimates from two denoiser batches and one of each encoder."""

    checkpoint_digest: str
    training_images: int
    training_distinct: int
    holdout_images: int
    unreadable: int
    competition: int
    placebo: int
    membership: int
    alpha: float
    floor: int  # least number of copied images that can be certified
    floor_wanted: int  # by the policy
    holdout_wanted: int  # competing held-out images that would bring the floor down to what the policy wants
    null_bound: int  # training hits that chance alone explains when no held-out item is hit (95%)
    trials: int = 0  # independent generations, or prompts at most
    by_prompt: bool = False  # whether these are prompts
    zero_hit_rate: float  # bound on the copy rate after no hit among them
    untested: str = ""  # why membership is not tested; empty where it is
    members: int
    nonmembers_reported: int  # after calibration
    tpr_resolved: bool  # whether TPR at 1% FPR can be reported
    auc_excess: float  # detectable with 80% power
    tpr_share: float | None = None  # least share of members, recognised outright, that is found with 80% power
    images_needed: int | None = None  # reported a side, for a harmless checkpoint to pass with 80% power
    control_evaluations: int = 0  # at most
    generation_evaluations: int
    base_evaluations: int = 0  # of the base of a fine-tune, on the same probes
    membership_evaluations: int
    seconds: float  # of the networks
    search_seconds: float  # item scores and duplicates
    memory_bytes: int
    memory_growth: str  # with the training set
    disk_bytes: int
    scale_one: Scale  # embedding and searching at another size, on one machine
    scale_many: Scale  # and on several

    def lines(self) -> list[Line]:
        """The plan as questions and answers, in plain words."""
        floor = f"{self.floor:,} copied images are the least that can be certified at FDR {self.alpha:g}"
        if self.floor > self.floor_wanted:
            floor += (
                f"; the policy wants {self.floor_wanted:,}, which takes {self.holdout_wanted:,} competing held-out "
                f"images instead of {self.competition:,}"
            )
        trials = count(self.trials, "prompt" if self.by_prompt else "generation")
        return [
            Line("training set", f"{self.training_images:,} images, {self.training_distinct:,} distinct"),
            Line(
                "held-out set",
                f"{self.holdout_images:,} images: {self.competition:,} compete, {self.placebo:,} placebo, "
                f"{self.membership:,} membership",
            ),
            Line("unreadable", f"{self.unreadable:,} images"),
            Line("copies: floor", floor),
            Line("copies: bound", f"k copies found and no held-out hit prove at least k - {self.null_bound:,} (95%)"),
            Line("copies: rate", f"no hit among {trials} bounds the copy rate at {self.zero_hit_rate:.3%} (95%)"),
            *(self._membership_lines() if not self.untested else [Line("membership", self.untested)]),
            Line(
                "denoiser evaluations",
                f"{self.generation_evaluations:,} for generations, "
                + (f"{self.base_evaluations:,} for the base's, " if self.base_evaluations else "")
                + f"{self.membership_evaluations:,} for membership, "
                f"{self.control_evaluations:,} at most for its negative control",
            ),
            Line(
                "time",
                f"about {duration(self.seconds + self.search_seconds)} on this machine, "
                f"{duration(self.search_seconds)} of it searches",
            ),
            Line("memory", f"about {self.memory_bytes / 1e9:.1f} GB; {self.memory_growth}"),
            Line("disk", f"about {self.disk_bytes / 1e6:,.0f} MB in the run directory"),
            *(Line(*line) for line in scale_lines(self.scale_one, self.scale_many)),
        ]

    def _membership_lines(self) -> list[Line]:
        resolved = "can be reported" if self.tpr_resolved else "cannot be reported: fewer than 100 non-members"
        if self.auc_excess < MOST_EXCESS:
            excess = f"an excess of {self.auc_excess:.3f} is found with 80% power"
        else:
            excess = "no excess is found with 80% power: too few images"
        share = "no share is found" if self.tpr_share is None else f"found if {self.tpr_share:.1%} are"
        needed = "no number of" if self.images_needed is None else f"{self.images_needed:,}"
        return [
            Line("membership: AUC", excess),
            Line("membership: a few", f"members recognised outright: {share} (80% power)"),
            Line("membership: size", f"a harmless checkpoint meets each limit with {needed} images a side (80% power)"),
            Line("membership: tail", f"TPR at 1% FPR {resolved} ({self.nonmembers_reported:,} non-members reported)"),
        ]


def plan(config: AuditConfig, *, images: int = IMAGES, machines: int = MACHINES) -> Plan:
    """Open and check every input as :func:`auditor.run` would, and work out cost and power.

    Args:
      config: The audit.
      images: Another size of the training set, for which embedding and searching are extrapolated.
      machines: How many machines like this one are extrapolated to, besides one.

    Raises:
      AuditError: Whatever would also stop the audit.
    """
    policy = read_policy(config.policy)
    build_executor(config.execution, 1).close()  # an engine that is not installed is found out here
    inputs = open_inputs(config)
    sizes, n = inputs.sizes, inputs.train.info.distinct
    alpha, generation = config.copies.alpha, config.generation
    calibrated = round(config.membership.calibration * sizes.membership)
    reported = sizes.membership - calibrated
    members = min(config.membership.members, n) if sizes.membership else 0
    reported_members = members - round(config.membership.calibration * members)
    power = power_of(reported_members, reported, len(reported_attacks(config)), policy.membership, config.copies.level)
    per_sample, per_image, swept_per_image = measure_denoiser(inputs, config)
    controlled = swept_per_image * (min(reported_members, SAMPLE) + min(reported, SAMPLE)) if sizes.membership else 0
    if inputs.control is not None and config.membership.dataset_inference and sizes.membership:
        suspects = len(inputs.suspects) or members  # spent only where the set would count as used
        controlled += swept_per_image * (min(suspects, MOST) + min(sizes.membership, MOST))
    per_embedding = measure_encoders(inputs)
    by_prompt = asked_by_text(config, inputs.checkpoint)
    asked = inputs.checkpoint.with_prompts([""]) if by_prompt else inputs.checkpoint
    trials = planned_prompts(config, inputs) if by_prompt else generation.probes
    each = asked.evaluations(generation.guidance_scales)
    generated = generation.probes * SAMPLERS[generation.sampler].evaluations(generation.steps) * each
    of_base = generated if any(one.config.role == "base" for one in inputs.references) else 0
    attacked = per_image * (members + sizes.membership)
    real = len(inputs.train.digests) + len(inputs.holdout.digests)
    embedded = real + generation.probes
    needed = memorizer_bytes(inputs) if config.regime.probes else 0
    memorizer = needed if needed <= MOST_BYTES else 0
    vectors = sum(encoder.spec.dim for encoder in inputs.encoders) * 4 * embedded
    dims = [encoder.spec.dim for encoder in inputs.encoders]
    process = process_bytes()
    rates = Rates(per_embedding, *measure_search(dims))
    one, many = (
        scale(rates, dims, generation.probes, process, images=images, machines=number) for number in (1, machines)
    )
    return Plan(
        checkpoint_digest=inputs.scan.digest,
        training_images=inputs.train.info.images,
        training_distinct=n,
        holdout_images=inputs.holdout.info.images,
        unreadable=len(inputs.train.info.unreadable) + len(inputs.holdout.info.unreadable),
        competition=sizes.competition,
        placebo=sizes.placebo,
        membership=sizes.membership,
        alpha=alpha,
        floor=competition_floor(n, sizes.competition, alpha),
        floor_wanted=policy.copies.max_floor,
        holdout_wanted=holdout_for_floor(n, policy.copies.max_floor, alpha),
        null_bound=simultaneous_bounds(n, sizes.competition, config.copies.level)[0],
        trials=trials,
        by_prompt=by_prompt,
        zero_hit_rate=zero_hit_bound(trials, config.copies.level),
        untested="" if sizes.membership else " ".join(none_set_aside(config)) or "not asked for",
        members=members,
        nonmembers_reported=reported,
        tpr_resolved=reported >= nonmembers_for_fpr(0.01),
        auc_excess=detectable_auc_excess(reported_members, reported) if reported and reported_members else MOST_EXCESS,
        tpr_share=power.detectable_share,
        images_needed=power.needed,
        control_evaluations=controlled,
        generation_evaluations=generated,
        base_evaluations=of_base,
        membership_evaluations=attacked,
        seconds=per_sample * (generated + of_base + attacked + controlled) + embedded * per_embedding,
        search_seconds=real * generation.probes * rates.score + real**2 / 2 * rates.pair,
        memory_bytes=process + search_bytes(max(dims), generation.probes, real) + DECISION_BYTES * real + memorizer,
        memory_growth=growth_with_training(memorizer),
        disk_bytes=2 * vectors + generation.probes * int(np.prod(inputs.checkpoint.codec.pixel_shape)),
        scale_one=one,
        scale_many=many,
    )


def measure_denoiser(inputs: Inputs, config: AuditConfig) -> tuple[float, int, int]:
    """Seconds per evaluated sample at the audit's batch size; evaluations an image, of all attacks and of the sweep."""
    denoiser, size = inputs.checkpoint.denoiser, config.generation.batch_size
    x = torch.zeros(size, *denoiser.sample_shape, device=inputs.device)
    condition = conditions_of(range(size), inputs.checkpoint.num_classes)
    seconds = min(_time(denoiser, x, condition) for _ in range(2))
    if not config.membership.enabled:
        return seconds / size, 0, 0
    attacks = [ATTACKS[name] for name in swept(config)]
    table = sweep(denoiser, [(["plan"], x[:1], None if condition is None else condition[:1])], attacks, seed="plan")
    return seconds / size, table.evaluations + further_evaluations(config, table), table.evaluations


def process_bytes() -> int:
    """Peak memory of this process so far, with its networks loaded and their trial batches done."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024)


def growth_with_training(memorizer: int) -> str:
    """How memory grows with the training set, in words."""
    if memorizer:
        return "each further training image adds 200 bytes and, up to 2 GiB, its numbers for the regime's memorizer"
    return f"each further training image adds {DECISION_BYTES} bytes"


def measure_encoders(inputs: Inputs, batch: int = 64) -> float:
    """Seconds per image for all encoders together."""
    pixels = np.zeros((batch, *inputs.checkpoint.codec.pixel_shape), np.uint8)
    pixels[:, :, ::2] = 255
    seconds = 0.0
    for encoder in inputs.encoders:
        encoder(pixels)
        began = time.monotonic()
        encoder(pixels)
        seconds += time.monotonic() - began
    return seconds / batch


@torch.inference_mode()
def _time(denoiser: Denoiser, x: torch.Tensor, condition: torch.Tensor | None) -> float:
    t = torch.full((len(x),), len(denoiser.schedule) // 2, device=x.device)
    began = time.monotonic()
    denoiser(x, t, condition)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.monotonic() - began
