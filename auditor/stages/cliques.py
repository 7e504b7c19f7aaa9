"""Cliques among the generations, and where a training set is at hand, whether they lie on its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.copies.clique_search import PATCHED, Coincidences, search_cliques
from auditor.copies.distances import embedded, patched
from auditor.copies.groups import duplicate_groups
from auditor.copies.verbatim import LEAST_ENTROPY, entropy
from auditor.progress import Progress
from auditor.regime.landing import land
from auditor.search.rows import Rows
from auditor.stages.copies import CopySearch, search_key
from auditor.stages.embed import Embedded
from auditor.stages.generate import Generations, Made
from auditor.stages.inputs import Inputs
from auditor.stages.pictures import save_generations, save_images
from auditor.stages.pool import build_pool
from auditor.stages.slices import HeldOut
from auditor.store.cliques import Clique, CliqueSearch
from auditor.store.run_directory import RunDirectory

SHOWN = 24  # pictures listed, each with some of its generations
VERSION = 2  # of what is stored below; raise it with the search


def measure_cliques(
    run: RunDirectory,
    inputs: Inputs,
    made: Made,
    everything: Sequence[Embedded],
    searches: Sequence[CopySearch],
    held_out: HeldOut,
    config: AuditConfig,
    show: Progress,
) -> list[CliqueSearch]:
    """Coincidences of the audit's generations, found without a look at the training set and then held against it."""
    vectors = {each.name: each.generations for each in everything}
    specs = {each.name: asdict(each.encoder.spec) for each in everything}
    alone = independent(inputs, made.generations)
    found = coincidences(run, made.generations, made.key, vectors, specs, show, alone)
    place = next((at for at, search in enumerate(searches) if search.competition.resolving), 0)
    nearest, threshold = everything[place], searches[place].competition.duplicate_threshold
    pool, whole = build_pool(inputs, nearest, held_out)

    def group_again() -> dict[str, NDArray[np.int64]]:
        return {"group": duplicate_groups(whole, threshold, rows=len(pool.ids)).group}

    key = search_key(inputs, made, nearest, held_out, config)
    group = run.arrays(f"copies/{nearest.name}/groups", key, group_again)["group"]
    checked = [
        on_training(one, nearest.generations, pool.embeddings, np.asarray(group), pool.ids, pool.training)
        for one in found
    ]
    shown = [describe(one, made.generations) for one in checked]
    return illustrate(run.path, shown, made.generations, inputs)


def independent(inputs: Inputs, generations: Generations) -> NDArray[np.bool_] | None:
    """Bool[G], the generations that nothing but noise and chance ties to each other; None = all.

    Generations of one prompt are alike for what they were asked for, so of each prompt the first one counts.
    """
    if inputs.given:
        return inputs.given.alone
    if inputs.prompts is None:
        return None
    first = np.unique(inputs.prompts.of_probes(generations.probe), return_index=True)[1]
    return np.isin(np.arange(len(generations.probe)), first)


def coincidences(
    run: RunDirectory,
    generations: Generations,
    key: object,
    vectors: Mapping[str, NDArray[np.float32]],
    specs: Mapping[str, Any],
    show: Progress,
    alone: NDArray[np.bool_] | None = None,
) -> list[Coincidences]:
    """Coincidences under the patched distance, then under every encoder.

    Args:
      key: What determined the generations.
      vectors: Per encoder Float32[G D], a row per generation.
      specs: Per encoder what determines it, as plain values.
      alone: Bool[G], the generations that are independent of each other; None = all.
    """
    alone = np.ones(len(generations.probe), np.bool_) if alone is None else alone
    shows = np.concatenate([entropy(batch) >= LEAST_ENTROPY for batch in generations.batches()])
    shown = np.flatnonzero(shows & alone)
    found = []
    with show.stage("cliques among generations", 1 + len(vectors), "measure") as meter:
        for name in (PATCHED, *vectors):
            where = {"generations": key, "measure": specs.get(name, name), "version": VERSION}

            def compute(name: str = name) -> Any:
                cloud = patched(generations.batches()) if name == PATCHED else embedded(vectors[name])
                return plain(search_cliques(cloud.take(shown), rows=shown, measure=name, generations=int(alone.sum())))

            found.append(of_plain(run.value(f"cliques/{name.replace(' ', '-')}", where, compute)))
            meter(1)
    return found


def plain(found: Coincidences) -> dict[str, Any]:
    """For the run directory."""
    members = [rows.tolist() for rows in found.members]
    return {"search": found.search.model_dump(mode="json"), "members": members, "spread": found.spread}


def of_plain(stored: dict[str, Any]) -> Coincidences:
    """What :func:`plain` stored."""
    members = [np.array(rows, np.int64) for rows in stored["members"]]
    return Coincidences(CliqueSearch.model_validate(stored["search"]), members, stored["spread"])


def on_training(
    found: Coincidences,
    generations: NDArray[np.float32],
    pool: Rows,
    group: NDArray[np.int64],
    ids: Sequence[str],
    training: int,
) -> Coincidences:
    """The same with the training image that each picture lies on, if it does.

    Args:
      generations: Unit vectors Float32[G D].
      pool: Unit vectors Float32[N D], the ``training`` training images first.
      group: Int64[N] duplicate group of each.
      ids: N names.
    """
    if found.search.pictures is None:
        return found
    trained = np.isin(group, group[:training])
    names, lies = [], []
    for members in found.members:
        at = land(np.ascontiguousarray(generations[members]), pool, group)
        item = at.item[0]
        lies.append(bool((at.landed == item).all() and trained[at.row[0]]))
        rows = np.flatnonzero(group[:training] == item)
        names.append(ids[int(rows[0])] if len(rows) else None)
    search = found.search.model_copy(update={"checked": len(lies), "on_training": sum(lies)})
    return Coincidences(search, found.members, found.spread, names, lies)


def describe(found: Coincidences, generations: Generations) -> CliqueSearch:
    """The record's entry, pictures still missing."""
    probe, listed = generations.probe, []
    for place, members in enumerate(found.members[:SHOWN]):
        listed.append(
            Clique(
                generations=len(members),
                probes=[int(probe[row]) for row in some_of(members)],
                spread=found.spread[place],
                training_id=found.training[place] if found.training else None,
                on_training=found.lies[place] if found.lies else None,
            )
        )
    return found.search.model_copy(update={"cliques": listed})


def some_of(members: NDArray[np.int64], most: int = 5) -> NDArray[np.int64]:
    """The first, then evenly spaced ones."""
    chosen: NDArray[np.int64] = members[
        np.unique(np.linspace(0, len(members) - 1, min(most, len(members))).astype(int))
    ]
    return chosen


def illustrate(
    run: Path, searches: list[CliqueSearch], generations: Generations, inputs: Inputs | None
) -> list[CliqueSearch]:
    """The same with pictures of the generations and, where they are known, of the training images."""
    every = [clique for search in searches for clique in search.cliques]
    made = save_generations(run, generations, {probe for clique in every for probe in clique.probes})
    ids = {clique.training_id for clique in every if clique.training_id is not None}
    trained = save_images(run, "train", inputs.train, ids) if inputs else {}

    def with_images(clique: Clique) -> Clique:
        image = trained.get(clique.training_id) if clique.training_id is not None else None
        return clique.model_copy(update={"images": [made[probe] for probe in clique.probes], "training_image": image})

    return [search.model_copy(update={"cliques": [with_images(one) for one in search.cliques]}) for search in searches]
