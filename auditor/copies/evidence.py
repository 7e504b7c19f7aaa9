"""Tiers of evidence per training item: verbatim, certified, suspect; and the list that the record keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from auditor.copies.compete import Contest
from auditor.copies.groups import GroupClass, Groups
from auditor.copies.items import ItemScores, nearest_other_image
from auditor.copies.landing import Landing
from auditor.copies.pool import Pool
from auditor.copies.queries import Queries
from auditor.store.record import CopyEvidence, Neighbour, Tier

PairTest = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


class Doubt(IntEnum):
    """Why a suspect is not certified; the first that applies."""

    NOT_RESOLVING = 0
    MIXED = 1
    NOT_COMPETING = 2
    NO_MARGIN = 3
    TOO_FEW = 4
    TOO_FEW_AHEAD = 5
    NOT_DISTINCT = 6


DOUBTS = {
    Doubt.NOT_RESOLVING: "the encoder does not tell copies from look-alikes on this data",
    Doubt.MIXED: "untestable: a near-duplicate is among the held-out images",
    Doubt.NOT_COMPETING: "its duplicates do not compete, for the split was not made by group",
    Doubt.NO_MARGIN: "another real image is as near to it as the generation is",
    Doubt.TOO_FEW: "too few hits: {floor:,} training hits are needed before any can be called",
    Doubt.TOO_FEW_AHEAD: "no held-out image scores as high, but fewer than {floor:,} training images do, and so few "
    "cannot be called (q = {q_value:.3g})",
    Doubt.NOT_DISTINCT: "held-out images score as high too often (q = {q_value:.3g})",
}


@dataclass(frozen=True)
class Tiers:
    """Per item, length I. An item is in one tier at most: verbatim before certified before suspect."""

    is_verbatim: NDArray[np.bool_]
    is_certified: NDArray[np.bool_]  # q <= alpha, verbatim ones included
    is_suspect: NDArray[np.bool_]
    doubt: NDArray[np.int64]  # Doubt, meaningful for suspects
    q_value: NDArray[np.float64]  # NaN where the item does not compete or is no hit
    verbatim_generation: NDArray[np.int64]  # one per verbatim item, else -1
    generation_is_verbatim: NDArray[np.bool_]  # [G] it is a verbatim copy of some training image


def assign_tiers(
    groups: Groups,
    competes: NDArray[np.bool_],
    items: ItemScores,
    contest: Contest,
    landing: Landing,
    *,
    copy_floor: float,
    resolving: bool,
    verbatim: PairTest | None,
) -> Tiers:
    """The tier of every training item.

    A suspect has a positive margin or reaches the planted copies' floor, and is not certified. Where the encoder does
    not resolve, nothing is certified.
    """
    with_training = groups.kind != GroupClass.HELD_OUT
    noticed = with_training & (items.is_hit | (items.score >= copy_floor))
    q_value, certified = np.full(len(groups), np.nan), np.zeros(len(groups), np.bool_)
    q_value[competes] = contest.q_value
    certified[competes] = contest.certified & resolving
    generations, rows = _candidates(items, landing, noticed)
    passed = np.zeros(len(rows), np.bool_) if verbatim is None else verbatim(generations, rows)
    generations, rows = generations[passed], rows[passed]
    witness = np.full(len(groups), -1)
    witness[groups.group[rows]] = generations
    best = (items.generation[groups.group[rows]] == generations) & (items.row[groups.group[rows]] == rows)
    witness[groups.group[rows[best]]] = generations[best]  # show the item's nearest generation if it passes
    held_out = items.score[competes & items.is_hit & (groups.kind == GroupClass.HELD_OUT)]
    doubt = np.where(items.score > held_out.max(initial=-np.inf), Doubt.TOO_FEW_AHEAD, Doubt.NOT_DISTINCT)
    if contest.training_hits < contest.floor:
        doubt[:] = Doubt.TOO_FEW
    doubt[~items.is_hit] = Doubt.NO_MARGIN
    doubt[~competes] = Doubt.NOT_COMPETING
    doubt[groups.kind == GroupClass.MIXED] = Doubt.MIXED
    if not resolving:
        doubt[:] = Doubt.NOT_RESOLVING
    return Tiers(
        is_verbatim=witness >= 0,
        is_certified=certified,
        is_suspect=noticed & ~certified & (witness < 0),
        doubt=doubt,
        q_value=q_value,
        verbatim_generation=witness,
        generation_is_verbatim=np.isin(np.arange(len(landing.item)), generations),
    )


def _candidates(
    items: ItemScores, landing: Landing, noticed: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(generations, training rows) of pairs that might be verbatim, distinct and sorted.

    Each generation with its nearest training image, and each noticed item with its nearest generation.
    """
    generations = np.concatenate([np.arange(len(landing.item)), items.generation[noticed]])
    rows = np.concatenate([landing.training_row[:, 0], items.row[noticed]])
    pairs = np.unique(np.stack([generations, rows], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def list_evidence(
    pool: Pool,
    groups: Groups,
    items: ItemScores,
    contest: Contest,
    tiers: Tiers,
    landing: Landing,
    generations: Queries,
    most: int,
) -> list[CopyEvidence]:
    """The strongest ``most`` items: verbatim, then certified, then suspects; by q-value, then by similarity."""
    listed = np.flatnonzero(tiers.is_verbatim | tiers.is_certified | tiers.is_suspect)
    tier = np.where(tiers.is_verbatim, 0, np.where(tiers.is_certified, 1, 2))[listed]
    q_value = np.nan_to_num(tiers.q_value[listed], nan=2.0)
    order = listed[np.lexsort((listed, -items.score[listed], q_value, tier))][:most]
    members = _members(pool, groups, order)
    margins = items.score[order] - _nearest_other(pool, groups, items, generations, order)
    counts = landing.counts(len(groups))
    evidence = []
    for item, margin in zip(order.tolist(), margins.tolist(), strict=True):
        kind: Tier = "verbatim" if tiers.is_verbatim[item] else "certified" if tiers.is_certified[item] else "suspect"
        probe = int(tiers.verbatim_generation[item] if kind == "verbatim" else items.generation[item])
        q_value_or_nan = float(tiers.q_value[item])
        why = DOUBTS[Doubt(tiers.doubt[item])].format(floor=contest.floor, q_value=q_value_or_nan)
        evidence.append(
            CopyEvidence(
                id=pool.ids[items.row[item]],
                members=members[item],
                tier=kind,
                similarity=float(items.score[item]),
                margin=margin,
                probe=probe,
                view=generations.views[int(items.view[item])],
                probes_landing=int(counts[item]),
                q_value=None if np.isnan(q_value_or_nan) else q_value_or_nan,
                why=why if kind == "suspect" else "",
                image=None,
                generation_image=None,
                nearest_holdout=_nearest_holdout(pool, landing, probe),
            )
        )
    return evidence


def _members(pool: Pool, groups: Groups, listed: NDArray[np.int64]) -> dict[int, list[str]]:
    """Ids of each listed item's images, in pool order."""
    members: dict[int, list[str]] = {int(item): [] for item in listed}
    for row in np.flatnonzero(np.isin(groups.group, listed)).tolist():
        members[int(groups.group[row])].append(pool.ids[row])
    return members


def _nearest_other(
    pool: Pool, groups: Groups, items: ItemScores, generations: Queries, listed: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Similarity of listed items to their nearest other image, looked up where the contest did not need it."""
    nearest = items.nearest_other[listed]
    unknown = np.flatnonzero(np.isnan(nearest))
    if len(unknown):
        which = listed[unknown]
        views = np.take(generations.views, items.view[which])
        nearest[unknown] = nearest_other_image(pool, groups, items.row[which], views, generations.others)
    return nearest


def _nearest_holdout(pool: Pool, landing: Landing, generation: int) -> Neighbour | None:
    row = int(landing.holdout_row[generation])
    if row < 0:
        return None
    return Neighbour(id=pool.ids[row], similarity=float(landing.holdout_similarity[generation]))
