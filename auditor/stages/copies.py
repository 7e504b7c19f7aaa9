"""The copy decision under every encoder, with the checks that say whether it can be relied on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.copies.decide import bound_at, decide
from auditor.copies.pool import Pool
from auditor.copies.verbatim import verbatim_copies
from auditor.data import pixels_of
from auditor.encoders.views import MIRROR, view
from auditor.progress import Progress
from auditor.regime.shares import significance
from auditor.search.exact import BestMatch
from auditor.stages.checks import memorizer_check, placebo, resolving_check
from auditor.stages.embed import Embedded
from auditor.stages.generate import Generations, Made
from auditor.stages.inputs import Images, Inputs
from auditor.stages.kinds import NO_LOOK, Sight, closer_look
from auditor.stages.pool import build_pool, plant_in
from auditor.stages.searching import best_of_pool
from auditor.stages.slices import HeldOut
from auditor.stages.views import placebo_queries, queries_for
from auditor.store.digest import value_digest
from auditor.store.parts import Estimate, Part
from auditor.store.record import Check, Competition
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
) -> list[CopySearch]:
    """The copy decision under each encoder, in the order listed."""
    searches = []
    keys = {embedded.name: search_key(inputs, made, embedded, held_out, config) for embedded in everything}
    undecided = [embedded for embedded in everything if not run.done(f"copies/{embedded.name}", keys[embedded.name])]
    best = best_of_pool(run, inputs, undecided, held_out, made.key, show)
    for embedded in everything:
        key = keys[embedded.name]

        def compute(embedded: Embedded = embedded, key: dict[str, Any] = key) -> dict[str, Any]:
            known = best[embedded.name]
            found, group = search_copies(run, inputs, embedded, held_out, made.generations, config, seed, known)
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
    return {
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
) -> tuple[CopySearch, NDArray[np.int64]]:
    """The copy decision of one encoder with its placebo and positive controls; the duplicate group of each pool row.

    Args:
      best: The generation nearest to each pool row, where that was searched beforehand.
    """
    name, views = embedded.name, list(embedded.views)
    pool, everything = build_pool(inputs, embedded, held_out)
    planted = plant_in(pool, inputs.train, inputs.holdout, embedded.encoder, seed, views)

    def verbatim(rows: NDArray[np.int64], originals: NDArray[np.int64]) -> NDArray[np.bool_]:
        return compare_pixels(inputs.train, pool, generations, rows, originals, mirrored=MIRROR in views)

    asked = replace(queries_for(pool, inputs, embedded, embedded.generations, embedded.views), best=best)
    if inputs.given:
        asked = replace(asked, prompts=inputs.given.trials, unit=inputs.given.unit)
    decision = decide(
        pool, asked, encoder=name, planted=planted, alpha=config.copies.alpha, level=config.copies.level,
        split=config.data.split, evidence=config.copies.evidence, verbatim=verbatim, everything=everything,
    )  # fmt: skip
    competition, notes = decision.competition, decision.notes
    if config.copies.closer:
        competition, left_out = closer_look(run.path, Sight(pool, inputs, generations), decision, asked, config)
        notes = notes + left_out
    else:
        notes = [*notes, NO_LOOK]
    competition = name_probes(competition, generations)
    checks = [
        resolving_check(competition),
        planted_check(name, competition.planted_recall, competition.recall_by_transformation),
    ]
    if competition.resolving:
        checks.append(placebo(pool, decision, placebo_queries(pool, inputs, embedded, held_out), config))
        control = queries_for(pool, inputs, embedded, embedded.control, embedded.control_views)
        checks.append(memorizer_check(pool, decision, control, config, planted=inputs.given is not None))
    shared = bound_at(decision, 1 - significance(1))
    found = CopySearch(competition=competition, checks=checks, notes=notes, shared_bound=shared)
    return found, decision.groups.group


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


def name_probes(competition: Competition, generations: Generations) -> Competition:
    """Evidence by probe number instead of generation row; they differ once a probe gave no image."""
    probe = generations.probe
    evidence = [item.model_copy(update={"probe": int(probe[item.probe])}) for item in competition.evidence]
    closer = [
        search.model_copy(
            update={"evidence": [e.model_copy(update={"probe": int(probe[e.probe])}) for e in search.evidence]}
        )
        for search in competition.closer
    ]
    return competition.model_copy(update={"evidence": evidence, "closer": closer})
