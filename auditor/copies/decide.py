"""The copy decision under one encoder, read from top to bottom: groups, scores, competition, tiers, record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auditor.copies.compete import Contest, compete
from auditor.copies.evidence import PairTest, assign_tiers
from auditor.copies.groups import GroupClass, Groups, competing, duplicate_groups
from auditor.copies.items import ItemScores, nearest_other_image, score_items
from auditor.copies.landing import land
from auditor.copies.margin import nearest_outside_group
from auditor.copies.pool import Planted, Pool, floor_of_planted
from auditor.copies.queries import Queries, RowViews, as_queries, queries_of
from auditor.copies.rates import planted_recall
from auditor.copies.relatives import families
from auditor.copies.summary import Measured, reproduced_at_least, summarise
from auditor.errors import ConfigError
from auditor.search.exact import nearest_neighbours
from auditor.store.parts import Estimate
from auditor.store.record import Competition

Split = Literal["group", "image", "unknown"]
POOL_SAMPLE = 2_000  # distinct images whose nearest other image gives the pool's 99th percentile


@dataclass(frozen=True)
class CopyDecision(Measured):
    """All that was found under one encoder, and what the record keeps of it."""

    competition: Competition  # its image paths still None
    notes: list[str]  # to be looked at: oversize groups, a split that was not what it was said to be


def decide(
    pool: Pool,
    generations: NDArray[np.float32] | Queries,
    *,
    encoder: str,
    planted: Planted,
    alpha: float = 0.10,
    level: float = 0.95,
    split: Split = "unknown",
    evidence: int = 200,
    verbatim: PairTest | None = None,
    everything: Pool | None = None,
    relatives: Sequence[str | None] | None = None,
) -> CopyDecision:
    """Which training images the generations reproduce, by competition with the held-out images of the pool.

    Args:
      pool: Training rows, then competition held-out rows.
      generations: Float32[G D] unit vectors, probe order; or with their further views.
      encoder: Its name, for the record.
      planted: Distorted copies of a label-blind sample of the pool; their 5th percentile of similarity is the
        duplicate threshold and the copy floor.
      alpha: False discovery rate of the certified list.
      level: Confidence of X and of every interval.
      split: How the held-out set was drawn; decides which duplicate groups compete.
      evidence: Most items listed.
      verbatim: Pixel test of candidate pairs, called once: (generations Int64[P], training pool rows Int64[P]) to
        Bool[P], such as :func:`auditor.copies.verbatim.verbatim_copies` on their pixels. None = no verbatim tier.
      everything: The pool's rows, then the held-out images that were set aside for other purposes; duplicates are
        sought among all of them. None = nothing was set aside.
      relatives: Per pool row, what the split dealt it with (None = nothing): relatives compete as one. None = the split
        dealt near-duplicates together, and nothing else.

    Raises:
      ConfigError: No generations.
    """
    asked = as_queries(generations)
    if asked.generations == 0:
        raise ConfigError("generations", 0, "at least one", "Generate from probes first.")
    groups = duplicate_groups(everything or pool, floor_of_planted(planted), rows=len(pool.ids))
    family = families(pool, groups, relatives) if relatives and any(relatives) else None
    found = _measure(pool, groups, asked, planted, split, alpha, level, verbatim, family)
    competition = summarise(pool, asked, found, encoder=encoder, alpha=alpha, level=level, evidence=evidence)
    notes = found.groups.notes() + split_notes(found.groups, found.competes, split)
    return CopyDecision(**vars(found), competition=competition, notes=notes)


def _measure(
    pool: Pool,
    groups: Groups,
    generations: Queries,
    planted: Planted,
    split: Split,
    alpha: float,
    level: float,
    verbatim: PairTest | None,
    family: NDArray[np.int64] | None,
) -> Measured:
    """Scores, competition and tiers; labels are first read where items compete."""
    copy_floor = floor_of_planted(planted)
    competes = competing(groups, split)
    pool_p99 = nearest_image_p99(pool, groups)
    resolving = copy_floor >= pool_p99 and not groups.percolated
    recall, by_transformation = recall_of_planted(pool, groups, planted, level, generations.others)

    items = score_items(pool, groups, generations, competes, alpha=alpha, family=family)
    contest = contest_of(groups, competes, items, family, alpha, level)
    landing = land(pool, groups, items, generations)
    tiers = assign_tiers(
        groups, competes, items, contest, landing, copy_floor=copy_floor, resolving=resolving, verbatim=verbatim
    )
    return Measured(
        groups=groups,
        competes=competes,
        family=family,
        items=items,
        contest=contest,
        tiers=tiers,
        landing=landing,
        copy_floor=copy_floor,
        pool_p99=pool_p99,
        resolving=resolving,
        recall=recall,
        recall_by_transformation=by_transformation,
    )


def bound_at(decision: CopyDecision, level: float) -> Estimate:
    """X of a decision at another level."""
    contest = contest_of(decision.groups, decision.competes, decision.items, decision.family, level=level)
    return reproduced_at_least(contest, level, decision.resolving)


def contest_of(
    groups: Groups,
    competes: NDArray[np.bool_],
    items: ItemScores,
    family: NDArray[np.int64] | None,
    alpha: float = 0.10,
    level: float = 0.95,
) -> Contest:
    """The competition of the items that compete, or of their families."""
    is_training = (groups.kind == GroupClass.TRAINING)[competes]
    related = None if family is None else family[competes]
    return compete(items.score[competes], items.is_hit[competes], is_training, alpha=alpha, level=level, family=related)


def nearest_image_p99(pool: Pool, groups: Groups) -> float:
    """99th percentile, over images, of the similarity to the nearest image outside their duplicate group.

    At or below the duplicate threshold, duplicates are islands: fewer than 1% of images resemble one of another
    group as closely as a copy resembles its original. Above it look-alikes run into each other, and the encoder does
    not tell a copy from another image. Over an evenly spaced, label-blind sample of at most 2,000 distinct images.
    """
    _, first = np.unique(pool.pixel_digest, return_index=True)
    sample = first[:: max(1, -(-len(first) // POOL_SAMPLE))]
    nearest = nearest_outside_group(sample, pool.embeddings, groups.group)
    return float(np.quantile(nearest.similarity, 0.99))


def recall_of_planted(
    pool: Pool, groups: Groups, planted: Planted, level: float, others: RowViews | None = None
) -> tuple[Estimate, dict[str, float]]:
    """Planted copies put through the audit's own rule: in their best view nearest to their original, and nearer than
    any other image."""
    home, found = groups.group[planted.rows], {}
    for name, copies in planted.embeddings.items():
        asked = queries_of(copies, planted.views.get(name))
        nearest = nearest_neighbours(asked.vectors, pool.embeddings, 1)
        similarity = nearest.similarity[:, 0].reshape(len(asked.views), -1)
        best = similarity.argmax(axis=0)
        row = nearest.index[:, 0].reshape(similarity.shape)[best, np.arange(len(best))]
        other = nearest_other_image(pool, groups, planted.rows, np.take(asked.views, best), others)
        found[name] = (groups.group[row] == home) & (similarity.max(axis=0) > other)
    return planted_recall(found, level), {name: float(hits.mean()) for name, hits in found.items()}


def split_notes(groups: Groups, competes: NDArray[np.bool_], split: Split) -> list[str]:
    """Sentences about groups that cannot compete; empty if all do."""
    mixed = int((groups.kind == GroupClass.MIXED).sum())
    left_out = int((~competes & (groups.kind != GroupClass.MIXED)).sum())
    notes = []
    if mixed:
        notes.append(f"{mixed:,} duplicate groups have images on both sides: copies of them cannot be tested.")
    if mixed and split == "group":
        notes.append(
            f"The split was said to be by group, but cut {mixed:,} of the groups found here; {left_out:,} groups of "
            "several different images therefore do not compete."
        )
    elif left_out:
        notes.append(
            f"{left_out:,} groups of repeated or near-duplicate images do not compete, since the split was not made by "
            "group: only absolute evidence counts for them. `auditor split` before training avoids this."
        )
    return notes
