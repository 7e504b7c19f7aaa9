"""What the reports say about canaries: sentences and rows, the same in every format."""

from __future__ import annotations

import math
from collections.abc import Iterator

from auditor.stats.epsilon import FRACTIONS, most_shown
from auditor.store.canaries import CanaryAudit, CanaryTier
from auditor.store.parts import Estimate
from auditor.store.wording import attack_name, decimal, percent

SIGNALS = 2  # membership score, similarity of the nearest generation
HEADER = (
    "Repetitions", "Included", "Left out", "AUC", "TPR at 5% FPR", "Reproduced, included", "Reproduced, left out",
    "Epsilon, at least", "Per record, at least",
)  # fmt: skip
MEANING = (
    "Canaries are random patterns of which a fair coin decided, before training, which were trained on. So what tells "
    "the included ones from those left out is the training run alone, and no difference between two sets of images. "
    "The left-out ones are the negative control: nothing should be found about them."
)
EPSILON = (
    "Epsilon is what differential privacy promises to stay below: whether one canary (with all its repetitions) or one "
    "record was trained on changes the odds of any outcome by at most a factor of e to the epsilon. A bound of 0 does "
    "not show that nothing leaks."
)


def canary_sentence(audit: CanaryAudit) -> str:
    """The tier that gives away most, in plain words."""
    strongest = max(audit.tiers, key=lambda tier: tier.epsilon.value or 0.0)
    bound = strongest.epsilon.value or 0.0
    if bound == 0:
        return (
            "The checkpoint gives no canary away: included ones could not be told from those left out, "
            f"with {sum(tier.included + tier.excluded for tier in audit.tiers):,} canaries in all."
        )
    level = percent(strongest.epsilon.level or 0.95)
    return (
        f"{repeated(strongest).capitalize()} leak: training on them is at best {decimal(bound)}-differentially private "
        f"({level} confidence), that is, it multiplies the odds of some outcomes by {math.exp(bound):.1f} or "
        f"more{reproduced(strongest)}."
    )


def repeated(tier: CanaryTier) -> str:
    """``canaries that stand in the training set once``, or so many times."""
    times = "once" if tier.repetitions == 1 else f"{tier.repetitions:,} times"
    return f"canaries that stand in the training set {times}"


def reproduced(tier: CanaryTier) -> str:
    """What share generations reproduce, beside the left-out ones."""
    ours, theirs = tier.landed.value, tier.landed_excluded.value
    if not ours:
        return "; no generation reproduces one of them"
    beside = "" if theirs is None else f" ({percent(theirs)} of those left out)"
    return f"; generations reproduce {percent(ours)} of them{beside}"


def method_sentence(audit: CanaryAudit) -> str:
    """Which signals were used, and where they were chosen."""
    canaries = f"{audit.training_images:,} images of the training set are canaries, repetitions counted"
    certified = (
        f"; {audit.certified:,} of the copies listed under {audit.encoder} are canaries" if audit.certified else ""
    )
    unscored = f"; {len(audit.unscored)} could not be scored" if audit.unscored else ""
    return (
        f"Signals: {attack_name(audit.attack)} ({audit.variant}), chosen without a look at canaries, and the "
        f"similarity of the nearest generation under {audit.encoder}. {canaries}{certified}{unscored}. Bounds on "
        f"epsilon: Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846), delta = {audit.delta:g}; all hold together. "
        f"{limit_sentence(audit)}"
    )


def limit_sentence(audit: CanaryAudit) -> str:
    """What the number of canaries allows at most."""
    coins = min(tier.included + tier.excluded for tier in audit.tiers)
    level = audit.tiers[0].epsilon.level or 0.95
    most = most_shown(coins, level=level, delta=audit.delta, bounds=SIGNALS * len(FRACTIONS) * len(audit.tiers))
    return f"Faultless guesses about {coins:,} canaries would show {decimal(most)}; more canaries can show more."


def canary_estimates(audit: CanaryAudit) -> Iterator[tuple[str, Estimate]]:
    """Every estimate with its tier."""
    for tier in audit.tiers:
        every = (
            tier.auc, tier.tpr_at_5pct_fpr, tier.landed, tier.landed_excluded, tier.epsilon, tier.epsilon_per_record
        )  # fmt: skip
        yield from ((f"canaries, {tier.repetitions}x", estimate) for estimate in every)
