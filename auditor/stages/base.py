"""What the base of a fine-tune answers to the same probes, so that what it copies is not charged to the fine-tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.copies.decide import CopyDecision
from auditor.progress import Progress
from auditor.stages.embed import Embedded, embed_generations
from auditor.stages.embedding import view_stage
from auditor.stages.generate import Generations, generate, generation_key
from auditor.stages.inputs import Inputs
from auditor.stages.networks import under
from auditor.store.base import BaseContrast
from auditor.store.record import CopyEvidence
from auditor.store.run_directory import RunDirectory


@dataclass(frozen=True)
class BaseAnswers:
    """Generations of the base from the audit's own probes and prompts."""

    name: str
    digest: str  # of the checkpoint
    generations: Generations
    embedded: Mapping[str, Embedded]  # by encoder; of the real images what the audit has, of generations the base's


def answers_of_base(
    run: RunDirectory,
    inputs: Inputs,
    everything: Sequence[Embedded],
    views: Sequence[str],
    config: AuditConfig,
    seed: str,
    show: Progress,
) -> BaseAnswers | None:
    """The base's generations under every encoder; None where no reference has the role of a base."""
    base = next((reference for reference in inputs.references if reference.config.role == "base"), None)
    if base is None:
        return None
    there = under(inputs, base.scan.digest, seed)
    generation = config.generation
    checkpoint = there.asked.at_scales(generation.guidance_scales)
    key = generation_key(there, generation, seed)
    made = generate(
        run, "base", key, checkpoint, checkpoint.denoiser, generation, seed, inputs.device, show,
        title=f"generate from {base.config.name}",
    )  # fmt: skip
    embedded = {}
    for own in everything:
        stage = f"{own.name}/base"
        vectors = embed_generations(run, stage, made, key, own.encoder, show)
        turned = {
            view: embed_generations(run, view_stage(stage, view), made, key, own.encoder, show, view) for view in views
        }
        embedded[own.name] = replace(own, generations=vectors, views=turned)
    return BaseAnswers(base.config.name, base.scan.digest, made, embedded)


def contrast(name: str, ours: CopyDecision, base: CopyDecision) -> BaseContrast:
    """How many of the copies found are also the base's, and how many the fine-tune added.

    Args:
      name: Of the base.
      ours: The audited checkpoint's decision.
      base: The base's, on the same pool, so that duplicate groups have the same numbers.
    """
    here, there = copied(ours), copied(base)
    return BaseContrast(
        name=name,
        copied=int(there.sum()),
        shared=int((here & there).sum()),
        added=int((here & ~there).sum()),
        lower_bound=base.competition.lower_bound,
        copy_rate=base.competition.copy_rate,
    )


def copied(decision: CopyDecision) -> NDArray[np.bool_]:
    """Bool[I]: certified and verbatim items."""
    found: NDArray[np.bool_] = decision.tiers.is_certified | decision.tiers.is_verbatim
    return found


def marked(
    evidence: Sequence[CopyEvidence], ids: Sequence[str], group: NDArray[np.int64], base: CopyDecision
) -> list[CopyEvidence]:
    """The evidence, each item with whether the base copies it too.

    Args:
      ids: Of the pool's rows.
      group: Int64[N], the duplicate group of each.
    """
    group_of = dict(zip(ids, group, strict=True))
    there = copied(base)
    return [item.model_copy(update={"base": bool(there[group_of[item.id]])}) for item in evidence]
