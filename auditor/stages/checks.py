"""Whether a copy decision can be relied on: placebo queries, the closed-form memorizer, an encoder that resolves."""

from __future__ import annotations

from auditor.config import AuditConfig
from auditor.copies.compete import compete
from auditor.copies.decide import CopyDecision
from auditor.copies.groups import GroupClass
from auditor.copies.items import score_items
from auditor.copies.placebo_hits import placebo_hits
from auditor.copies.pool import Pool
from auditor.copies.queries import Queries
from auditor.store.record import Check, Competition
from auditor.validity.placebo import placebo_check

ASK_FOR_GROUPS = (
    "If the split dealt related images together that are no near-duplicates, name its groups (data.groups): relatives "
    "of these held-out images are all held out."
)
_CONTROL = {
    False: "generations of the training set's optimal denoiser",
    True: "distorted copies of training images, in the place of generations,",
}


def resolving_check(competition: Competition) -> Check:
    """Whether the encoder tells a copy from another image of this pool."""
    verb = "do" if competition.resolving else "do not"
    return Check(
        id="resolving",
        title="Copies stand out from look-alikes",
        encoder=competition.encoder,
        status="passed" if competition.resolving else "failed",
        statement=f"Copies {verb} stand out: 95% of planted copies are at {competition.planted_p05:.4f} or more to "
        f"their original, 99% of the images at {competition.pool_p99:.4f} or less to their nearest other image.",
    )


def placebo(pool: Pool, decision: CopyDecision, queries: Queries, *, groups_known: bool = False) -> Check:
    """Held-out images of the placebo slice in the place of generations.

    Args:
      groups_known: Whether the slices were dealt by the groups of the split; if not, a check that fails says so.
    """
    hits = placebo_hits(
        pool, decision.groups, decision.competes, queries,
        duplicate_threshold=decision.competition.duplicate_threshold,
    )  # fmt: skip
    name = decision.competition.encoder
    check = placebo_check(name, hits.queries, hits.training_hits, hits.holdout_hits, hits.n, hits.m)
    fewer = hits.training_hits * hits.m < hits.holdout_hits * hits.n
    if check.status != "failed" or groups_known or not fewer:
        return check
    return check.model_copy(update={"statement": f"{check.statement} {ASK_FOR_GROUPS}"})


def memorizer_check(
    pool: Pool, decision: CopyDecision, control: Queries, config: AuditConfig, *, planted: bool = False
) -> Check:
    """The closed-form memorizer of the training set must be found out by the very competition that decides.

    Args:
      planted: Whether planted copies of training images stand in its place, as where there is no checkpoint.
    """
    items = score_items(pool, decision.groups, control, decision.competes, alpha=config.copies.alpha)
    is_training = (decision.groups.kind == GroupClass.TRAINING)[decision.competes]
    contest = compete(
        items.score[decision.competes], items.is_hit[decision.competes], is_training,
        alpha=config.copies.alpha, level=config.copies.level,
    )  # fmt: skip
    underpowered = contest.floor > control.generations
    status = "not tested" if underpowered else "passed" if contest.lower_bound > 0 else "failed"
    return Check(
        id="positive-control",
        title="Planted copies are found out" if planted else "The closed-form memorizer is found out",
        encoder=decision.competition.encoder,
        status=status,
        statement=f"{control.generations:,} {_CONTROL[planted]} led to "
        f"{int(contest.certified.sum()):,} certified training images, of them at least {contest.lower_bound:,} copies.",
        power=f"{control.generations:,} of them; {contest.floor:,} training hits are the least that can be called.",
    )
