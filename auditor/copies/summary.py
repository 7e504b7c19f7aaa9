"""What the record keeps of a copy decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.compete import Contest
from auditor.copies.duplication import exposure_by_repeats
from auditor.copies.evidence import Tiers, list_evidence
from auditor.copies.groups import GroupClass, Groups
from auditor.copies.items import ItemScores
from auditor.copies.landing import Landing
from auditor.copies.pool import Pool
from auditor.copies.published import adaptive_ratio, data_copying_test, nearest_share, shares_above
from auditor.copies.queries import Queries
from auditor.copies.rates import copy_rate
from auditor.stats.bounds import DEPTH
from auditor.store.parts import Curve, Estimate
from auditor.store.record import Competition

HISTOGRAM_BINS = 60
DOMINANT_SHARE = 0.01  # of the generations, landing on one training item


@dataclass(frozen=True)
class Measured:
    """All that was found under one encoder, as arrays; per-item arrays have length I = number of duplicate groups."""

    groups: Groups
    competes: NDArray[np.bool_]  # [I]
    family: NDArray[np.int64] | None  # [I], equal for items that compete as one; None = each competes by itself
    items: ItemScores
    contest: Contest  # over the competing items, in item order
    tiers: Tiers
    landing: Landing  # per generation
    copy_floor: float  # planted copies' 5th percentile: duplicate threshold and suspects' floor
    pool_p99: float
    resolving: bool
    recall: Estimate
    recall_by_transformation: dict[str, float]


def summarise(
    pool: Pool,
    generations: Queries,
    found: Measured,
    *,
    encoder: str,
    alpha: float,
    level: float,
    evidence: int,
) -> Competition:
    """The record's part for one encoder; image paths are left None."""
    groups, tiers, contest, landing = found.groups, found.tiers, found.contest, found.landing
    landed, possible = landed_generations(found)
    return Competition(
        encoder=encoder,
        n_items=contest.n,
        m_items=contest.m,
        untestable_groups=int((groups.kind == GroupClass.MIXED).sum()),
        grouped_training_images=int((pool.is_training & (groups.images[groups.group] > 1)).sum()),
        related_items=related_items(found),
        uncompeting_groups=int((~found.competes & (groups.kind != GroupClass.MIXED)).sum()),
        resolving=found.resolving,
        planted_p05=found.copy_floor,
        pool_p99=found.pool_p99,
        duplicate_threshold=found.copy_floor,
        training_hits=contest.training_hits,
        holdout_hits=contest.holdout_hits,
        alpha=alpha,
        certified=int(tiers.is_certified.sum()),
        verbatim=int(tiers.is_verbatim.sum()),
        suspects=int(tiers.is_suspect.sum()),
        lower_bound=reproduced_at_least(contest, level, found.resolving),
        floor=contest.floor,
        copy_rate=copy_rate(landed, possible, found.recall, level, generations.prompts, generations.unit),
        planted_recall=found.recall,
        recall_by_transformation=found.recall_by_transformation,
        uncalibrated=published_figures(pool, generations.vectors[: generations.generations], landing, level),
        scores=score_histogram(found.items, groups, found.competes),
        evidence=list_evidence(pool, groups, found.items, contest, tiers, landing, generations, evidence),
        duplication=exposure_by_repeats(
            pool, groups, found.competes, found.items, tiers, landing, level, generations.prompts, generations.unit
        ),
    )


def landed_generations(found: Measured) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Bool[G] each: generations whose nearest pool image is a certified or verbatim item, and these with those on items
    that may be copied (:func:`possible_copies`)."""
    tiers, landing = found.tiers, found.landing
    copied = tiers.is_verbatim | tiers.is_certified
    landed = (landing.on_item & copied[landing.item]) | tiers.generation_is_verbatim
    return landed, landed | (landing.on_item & possible_copies(found)[landing.item])


def related_items(found: Measured) -> int:
    """Competing items that share a competitor with another, for the split dealt them together."""
    if found.family is None:
        return 0
    _, family, size = np.unique(found.family[found.competes], return_inverse=True, return_counts=True)
    return int((size[family] > 1).sum())


def possible_copies(found: Measured) -> NDArray[np.bool_]:
    """Bool[I]: training items that may be copied though no competition certifies them, one item being too few for any.

    Either as near to a generation as a planted copy is to its original; or nearer than any held-out item came to one,
    and shown by at least one generation in a hundred.
    """
    items, kind = found.items, found.groups.kind
    held_out = items.score[found.competes & items.is_hit & (kind == GroupClass.HELD_OUT)]
    shown = found.landing.counts(len(kind)) >= DOMINANT_SHARE * len(found.landing.item)
    beyond = items.score > held_out.max(initial=-1.0)
    suspicious: NDArray[np.bool_] = (
        items.is_hit & (kind != GroupClass.HELD_OUT) & ((items.score >= found.copy_floor) | (beyond & shown))
    )
    return suspicious


def reproduced_at_least(contest: Contest, level: float, resolving: bool) -> Estimate:
    """X, or why there is none."""
    name, unit = "reproduced training images, at least", "distinct training images"
    reason = None
    if not resolving:
        reason = "the encoder does not tell copies from look-alikes on this data"
    elif contest.n == 0 or contest.m == 0:
        reason = f"{contest.n} training items and {contest.m} held-out items can compete"
    if reason:
        return Estimate(name=name, value=None, level=level, unit=unit, unscored=reason)
    method = f"exact negative hypergeometric bounds, simultaneous over {DEPTH + 1} depths"
    n, bound = contest.n + contest.m, float(contest.lower_bound)
    return Estimate(name=name, value=bound, lower=bound, level=level, method=method, n=n, unit=unit)


def published_figures(pool: Pool, generations: NDArray[np.float32], landing: Landing, level: float) -> list[Estimate]:
    """Comparison figures; sizes are counts of distinct images."""
    training, holdout = pool.embeddings[: pool.training], pool.embeddings[pool.training :]
    _, distinct = np.unique(pool.pixel_digest[: pool.training], return_inverse=True)
    held_out = len(np.unique(pool.pixel_digest[pool.training :]))
    best = landing.training_similarity[:, 0]
    return [
        *shares_above(best, level),
        adaptive_ratio(generations, training, landing.training_similarity, landing.training_row, distinct, level),
        nearest_share(best, landing.holdout_similarity, int(distinct.max()) + 1, held_out, level),
        data_copying_test(generations, best, training, holdout),
    ]


def score_histogram(items: ItemScores, groups: Groups, competes: NDArray[np.bool_]) -> Curve:
    """Counts of competing items' scores; x are the bins' left edges."""
    score = items.score[competes]
    low, high = (float(score.min()), float(score.max())) if len(score) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, HISTOGRAM_BINS + 1)
    series = {}
    for name, kind in (("training", GroupClass.TRAINING), ("held-out", GroupClass.HELD_OUT)):
        counts, _ = np.histogram(items.score[competes & (groups.kind == kind)], edges)
        series[name] = counts.astype(float).tolist()
    return Curve(x=edges[:-1].tolist(), series=series)
