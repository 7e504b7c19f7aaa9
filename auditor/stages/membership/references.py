"""Attacks that need other checkpoints: the images scored under each of them, and what the comparison gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditor.config import AuditConfig
from auditor.diffusion.score_table import ScoreTable, align, extend
from auditor.membership.evaluate import Side
from auditor.membership.references import (
    LEAST_REFERENCES,
    balanced,
    difference,
    levelled,
    lira,
    relative_difference,
    rmia,
)
from auditor.progress import Progress
from auditor.stages.inputs import Inputs
from auditor.stages.membership.scores import Source, attack, swept
from auditor.stages.networks import under
from auditor.store.membership import OtherCheckpoint
from auditor.store.run_directory import RunDirectory
from auditor.store.wording import AGAINST_BASE

Scores = dict[str, dict[str, NDArray[np.float64]]]  # attack -> variant -> scores
Costs = dict[str, int]  # attack -> evaluations per image


def narrow(side: Side, table: ScoreTable) -> Side:
    """The side with a table of some of its samples."""
    rows = np.searchsorted(side.table.positions, table.positions)
    return replace(side, table=table, blind=side.blind[rows], calibration=side.calibration[rows])


def attack_with_references(
    run: RunDirectory,
    inputs: Inputs,
    sides: Sequence[Side],
    sources: Sequence[Source],
    config: AuditConfig,
    seed: str,
    labelled: bool,
    show: Progress,
) -> tuple[list[Side], list[str]]:
    """Members and non-members with the attacks that the references allow, and notes on those that they do not.

    The noise of an image depends on its id and the published time, not on the checkpoint: a network with another noise
    schedule is asked about the same eps at its own training time of that name.
    """
    scored = score_under_references(run, inputs, sources, config, seed, labelled, show)
    under: list[list[ScoreTable]] = []  # side -> reference -> its table
    whole: list[Side] = []
    for number, side in enumerate(sides):
        own, *others = align([side.table, *(tables[number] for tables in scored)])
        whole.append(narrow(side, own))
        under.append(others)
    roles = [reference.config.role for reference in inputs.references]
    result, notes = whole, list[str]()
    if "base" in roles:
        base = roles.index("base")
        result = against_base(result, [tables[base] for tables in under])
    if "reference" in roles:
        places = [place for place, role in enumerate(roles) if role == "reference"]
        chosen = [[tables[place] for place in places] for tables in under]
        listed = [inputs.references[place].trained_on for place in places]
        result, notes = against_references(result, chosen, listed, seed)
    return result, notes + assumptions(inputs)


def score_under_references(
    run: RunDirectory,
    inputs: Inputs,
    sources: Sequence[Source],
    config: AuditConfig,
    seed: str,
    labelled: bool,
    show: Progress,
) -> list[list[ScoreTable]]:
    """Tables by reference and side: every swept attack under a base, the denoising loss under other references."""
    tables, total = [], sum(len(source.ids) for source in sources)
    for reference in inputs.references:
        view = under(inputs, reference.scan.digest, seed)
        kinds = swept(config) if reference.config.role == "base" else ["loss"]
        stage = f"references/{reference.scan.digest[:16]}"
        with show.stage(f"the same under {reference.config.name}", total, "image") as meter:
            tables.append(attack(run, view, sources, config, seed, labelled, meter, kinds=kinds, stage=stage))
    return tables


def against_base(sides: Sequence[Side], under: Sequence[ScoreTable]) -> list[Side]:
    """Both sides with every swept attack repeated as a difference to the base, also as a ratio where it is an error."""
    result = []
    tables = [*under, *(side.table for side in sides)]
    errors = {name for name in under[0].scores if all((x < 0).all() for t in tables for x in t.scores[name].values())}
    for side, base in zip(sides, under, strict=True):
        scores: Scores = {}
        for name, variants in base.scores.items():
            added = scores.setdefault(f"{name}{AGAINST_BASE}", {})
            for variant, values in variants.items():
                own = side.table.scores[name][variant]
                added[variant] = difference(own, values)
                if name in errors:
                    added[f"{variant}, relative"] = relative_difference(own, values)
        costs = {f"{name}{AGAINST_BASE}": side.table.per_image[name] + cost for name, cost in base.per_image.items()}
        result.append(replace(side, table=extend(side.table, scores, costs, base.evaluations)))
    return result


def against_references(
    sides: Sequence[Side], under: Sequence[Sequence[ScoreTable]], listed: Sequence[frozenset[str]], seed: str
) -> tuple[list[Side], list[str]]:
    """Both sides with LiRA and RMIA on each variant of the denoising loss, where every image has references enough.

    Args:
      sides: Members and non-members, with their own scores.
      under: Their scores under each reference.
      listed: Ids that each reference was trained on.
      seed: The audit's root seed.
    """
    ids = [name for side in sides for name in side.table.ids]
    trained = np.array([[name in known for name in ids] for known in listed])
    is_member = np.arange(len(ids)) < len(sides[0].table.ids)
    used = balanced(trained, is_member, ids, seed)
    count = int(used.sum(0).min())
    population = np.concatenate([np.zeros(len(sides[0].table.ids), bool), sides[1].calibration])
    scores: Scores = {}
    for variant in sides[0].table.scores["loss"]:
        own = np.concatenate([side.table.scores["loss"][variant] for side in sides])
        others = np.array(
            [
                np.concatenate([tables[place].scores["loss"][variant] for tables in under])
                for place in range(len(listed))
            ]
        )
        others = levelled(others, trained, population)
        if count >= LEAST_REFERENCES:
            found = lira(own, others, trained, used)
            scores.setdefault("lira", {}).update({f"{variant}, {form}": x for form, x in found.items()})
        if count >= 1:
            found = rmia(own, others, trained, used, population)
            scores.setdefault("rmia", {}).update({f"{variant}, {form}": x for form, x in found.items()})
    split, result = len(sides[0].table.ids), []
    for side, tables, part in zip(sides, under, (slice(0, split), slice(split, None)), strict=True):
        cost = side.table.per_image["loss"] + sum(table.per_image["loss"] for table in tables)
        own_scores = {name: {v: x[part] for v, x in variants.items()} for name, variants in scores.items()}
        spent = sum(table.evaluations for table in tables)
        result.append(replace(side, table=extend(side.table, own_scores, dict.fromkeys(scores, cost), spent)))
    return result, missing_references(count, len(listed))


def missing_references(count: int, given: int) -> list[str]:
    """Which attacks could not be made, where ``count`` references did not train on the image that has the fewest."""
    need = "every image needs {} that did not train on it, and one has {} of the {} given"
    notes = []
    if count < LEAST_REFERENCES:
        notes.append(f"LiRA: {need.format('two references', count, given)}.")
    if count < 1:
        notes.append(f"RMIA: {need.format('a reference', count, given)}.")
    return notes


def describe(inputs: Inputs, sides: Sequence[Side]) -> list[OtherCheckpoint]:
    """The record's entries of the references, with how many of the scored images each is listed to know."""
    entries = []
    for reference in inputs.references:
        known = [sum(name in reference.trained_on for name in side.table.ids) for side in sides]
        counts = known if reference.trained_on else [None, None]
        given = reference.config
        entries.append(
            OtherCheckpoint(
                name=given.name,
                role=given.role,
                digest=reference.scan.digest,
                trained_members=counts[0],
                trained_nonmembers=counts[1],
            )
        )
    return entries


def assumptions(inputs: Inputs) -> list[str]:
    """What is taken for granted of references that come without a list of what they were trained on."""
    silent = [reference.config.name for reference in inputs.references if not reference.trained_on]
    if not silent:
        return []
    return [
        f"Training data of other checkpoints ({', '.join(silent)}): no list was given, so none of the images tested is "
        "taken to be among it. One trained on members hides them; one trained on the held-out images makes all others "
        "look like members."
    ]
