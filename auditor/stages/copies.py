"""The copy decision under every encoder, with the checks that say whether it can be relied on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.copies.decide import CopyDecision, bound_at, decide
from auditor.copies.pool import Pool
from auditor.copies.verbatim import verbatim_copies
from auditor.data import pixels_of
from auditor.encoders.views import MIRROR, view
from auditor.progress import Progress
from auditor.regime.shares import significance
from auditor.search.exact import BestMatch
from auditor.stages.base import BaseAnswers, contrast, marked
from auditor.stages.checks import memorizer_check, placebo, resolving_check
from auditor.stages.embed import Embedded
from auditor.stages.generate import Generations, Made
from auditor.stages.guidance import rates_by_guidance, scales_of, whole_rounds
from auditor.stages.inputs import Images, Inputs
from auditor.stages.kinds import NO_LOOK, Sight, closer_look
from auditor.stages.pool import build_pool, plant_in
from auditor.stages.prompt_list import Prompts
from auditor.stages.prompting import copied_prompts
from auditor.stages.searching import best_of_pool
from auditor.stages.slices import HeldOut
from auditor.stages.views import placebo_queries, queries_for
from auditor.store.digest import value_digest
from auditor.store.parts import Estimate, Part
from auditor.store.record import Check, Competition, CopyEvidence
from auditor.store.run_directory import RunDirectory
from auditor.validity.planted import planted_check


class CopySearch(Part):
    """What was found under one encoder."""

    competition: Competition
    checks: list[Check]  # not yet adjusted for their number
    shared_bound: Estimate  # X at the level that a regime asks for
    notes: list[str]


def search_every_encoder(
    run: RunDirectory,
    inputs: Inputs,
    made: Made,
    everything: Sequence[Embedded],
    held_out: HeldOut,
    config: AuditConfig,
    seed: str,
    show: Progress,
    base: BaseAnswers | None = None,
) -> list[CopySearch]:
    """The copy decision under each encoder, in the order listed; beside that of the base, where there is one."""
    searches = []
    beside = {"base": base.digest} if base else {}
    keys = {embedded.name: search_key(inputs, made, embedded, held_out, config) | beside for embedded in everything}
    undecided = [embedded for embedded in everything if not run.done(f"copies/{embedded.name}", keys[embedded.name])]
    best = best_of_pool(run, inputs, undecided, held_out, made.key, show)
    for embedded in everything:
        key = keys[embedded.name]

        def compute(embedded: Embedded = embedded, key: dict[str, Any] = key) -> dict[str, Any]:
            known = best[embedded.name]
            found, group = search_copies(run, inputs, embedded, held_out, made.generations, config, seed, known, base)
            run.arrays(f"copies/{embedded.name}/groups", key, lambda: {"group": group})
            return found.model_dump(mode="json")

        with show.stage(f"copies under {embedded.name}", 1, "encoder") as meter:
            searches.append(CopySearch.model_validate(run.value(f"copies/{embedded.name}", key, compute)))
            meter(1)
    return searches


def search_key(
    inputs: Inputs, made: Made, embedded: Embedded, held_out: HeldOut, config: AuditConfig
) -> dict[str, Any]:
    """What determines the copy decision under one encoder."""
    related = {"relatives": value_digest(inputs.groups)} if inputs.groups else {}
    return related | {
        "made": made.key, "encoder": asdict(embedded.encoder.spec), "copies": config.copies.model_dump(mode="json"),
        "sets": [inputs.train.info.digest, inputs.holdout.info.digest], "split": config.data.split,
        "held-out": value_digest(asdict(held_out)),
    }  # fmt: skip


def search_copies(
    run: RunDirectory,
    inputs: Inputs,
    embedded: Embedded,
    held_out: HeldOut,
    generations: Generations,
    config: AuditConfig,
    seed: str,
    best: BestMatch | None = None,
    base: BaseAnswers | None = None,
) -> tuple[CopySearch, NDArray[np.int64]]:
    """The copy decision of one encoder with its placebo and positive controls; the duplicate group of each pool row.

    Args:
      best: The generation nearest to each pool row, where that was searched beforehand.
      base: What the base of a fine-tune answers; its copies are counted apart.
    """
    name, views = embedded.name, list(embedded.views)
    pool, everything = build_pool(inputs, embedded, held_out)
    planted = plant_in(pool, inputs.train, inputs.holdout, embedded.encoder, seed, views)

    def verbatim(rows: NDArray[np.int64], originals: NDArray[np.int64]) -> NDArray[np.bool_]:
        return compare_pixels(inputs.train, pool, generations, rows, originals, mirrored=MIRROR in views)

    asked = replace(queries_for(pool, inputs, embedded, embedded.generations, embedded.views), best=best)
    if inputs.prompts:
        asked = replace(asked, prompts=inputs.prompts.of_probes(generations.probe))
    if inputs.given:
        asked = replace(asked, prompts=inputs.given.trials, unit=inputs.given.unit)
    relatives = [inputs.groups.get(name) for name in pool.ids] if inputs.groups else None
    decided = partial(
        decide, pool, planted=planted, alpha=config.copies.alpha, level=config.copies.level, split=config.data.split,
        evidence=config.copies.evidence, everything=everything, relatives=relatives,
    )  # fmt: skip
    decision = decided(asked, encoder=name, verbatim=verbatim)
    competition, notes = decision.competition, decision.notes
    if config.copies.closer:
        competition, left_out = closer_look(run.path, Sight(pool, inputs, generations), decision, asked, config)
        notes = notes + left_out
    else:
        notes = [*notes, NO_LOOK]
    if base is not None:
        competition = beside_base(competition, decision, base, pool, inputs, name, decided)
    if inputs.prompts and asked.prompts is not None:
        copied = copied_prompts(pool, decision, asked.prompts, inputs.prompts)
        competition = competition.model_copy(update={"copied_prompts": copied})
    scale = scales_under(inputs, generations, config.generation.guidance_scales)
    if scale is not None:
        counted = np.ones(len(scale), np.bool_)
        if inputs.prompts:  # else the unit is the generation, and a try more is a unit more
            labels, scales = len(inputs.prompts.texts), len(config.generation.guidance_scales)
            counted = whole_rounds(generations.probe, labels, scales, config.generation.probes)
        rates = rates_by_guidance(decision, asked, scale, counted)
        competition = competition.model_copy(update={"by_guidance": rates})
    competition = name_probes(competition, generations, inputs.prompts, scale)
    checks = [
        resolving_check(competition),
        planted_check(name, competition.planted_recall, competition.recall_by_transformation),
    ]
    if competition.resolving:
        turned = placebo_queries(pool, inputs, embedded, held_out)
        checks.append(placebo(pool, decision, turned, groups_known=bool(inputs.groups)))
        control = queries_for(pool, inputs, embedded, embedded.control, embedded.control_views)
        checks.append(memorizer_check(pool, decision, control, config, planted=inputs.given is not None))
    shared = bound_at(decision, 1 - significance(1))
    found = CopySearch(competition=competition, checks=checks, notes=notes, shared_bound=shared)
    return found, decision.groups.group


def scales_under(inputs: Inputs, generations: Generations, scales: Sequence[float]) -> NDArray[np.float64] | None:
    """The guidance scale of each generation, Float64[G]; None where not several were asked for."""
    if len(scales) < 2:  # among them images made elsewhere, whose prompts no checkpoint is there to be asked for
        return None
    labels = inputs.asked.num_classes
    return scales_of(generations.probe, labels, scales) if labels else None


def beside_base(
    competition: Competition,
    decision: CopyDecision,
    base: BaseAnswers,
    pool: Pool,
    inputs: Inputs,
    name: str,
    decided: Callable[..., CopyDecision],
) -> Competition:
    """The competition with the base's own decision on the same pool beside it, under the same rules."""
    embedded = base.embedded[name]

    def verbatim(rows: NDArray[np.int64], originals: NDArray[np.int64]) -> NDArray[np.bool_]:
        return compare_pixels(inputs.train, pool, base.generations, rows, originals, mirrored=MIRROR in embedded.views)

    asked = queries_for(pool, inputs, embedded, embedded.generations, embedded.views)
    if inputs.prompts:
        asked = replace(asked, prompts=inputs.prompts.of_probes(base.generations.probe))
    theirs = decided(asked, encoder=name, verbatim=verbatim)
    evidence = marked(competition.evidence, pool.ids, decision.groups.group, theirs)
    return competition.model_copy(update={"base": contrast(base.name, decision, theirs), "evidence": evidence})


def compare_pixels(
    train: Images,
    pool: Pool,
    generations: Generations,
    rows: NDArray[np.int64],
    originals: NDArray[np.int64],
    *,
    mirrored: bool = False,
) -> NDArray[np.bool_]:
    """Which generations repeat which training images pixel by pixel, Bool[P]; as they are, or mirrored as well."""
    if len(rows) == 0:
        return np.zeros(0, np.bool_)
    made = np.stack([generations.pixels(int(row)) for row in rows])
    real = pixels_of(train.source, [pool.ids[row] for row in originals])
    same = verbatim_copies(made, real)
    return same | verbatim_copies(view(made, MIRROR), real) if mirrored else same


def name_probes(
    competition: Competition,
    generations: Generations,
    prompts: Prompts | None = None,
    scale: NDArray[np.float64] | None = None,
) -> Competition:
    """Evidence by probe number instead of generation row, which differ once a probe gave no image; with its prompt.

    Args:
      scale: Float64[G] guidance scale of each generation; None = all were made under one, or under none.
    """
    probe = generations.probe

    def named(item: CopyEvidence) -> CopyEvidence:
        own = int(probe[item.probe])
        text = prompts.texts[prompts.of_probe(own)] or None if prompts else None
        under = None if scale is None else float(scale[item.probe])
        return item.model_copy(update={"probe": own, "prompt": text, "guidance_scale": under})

    evidence = [named(item) for item in competition.evidence]
    closer = [
        search.model_copy(
            update={"evidence": [e.model_copy(update={"probe": int(probe[e.probe])}) for e in search.evidence]}
        )
        for search in competition.closer
    ]
    return competition.model_copy(update={"evidence": evidence, "closer": closer})
