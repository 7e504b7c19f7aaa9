"""Whether a record's copy evidence meets a policy: a pure function of the record's numbers.

The primary encoder is the first one listed that resolves: it was named before the audit, so no multiplicity is spent
on choosing among encoders. The others support it; they can withhold a pass, but neither fail nor pass on their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from auditor.policy.closer import closer_rulings
from auditor.policy.ruling import RETRAIN, Precedence, Ruling, combine, ruling
from auditor.policy.schema import Policy
from auditor.store.parts import Estimate, Outcomed
from auditor.store.record import Competition
from auditor.store.wording import bringing, count, missing, percent, trials


def primary_competition(copies: Sequence[Competition]) -> Competition | None:
    """The first listed competition whose encoder tells copies from look-alikes; ``None`` if none does."""
    return next((competition for competition in copies if competition.resolving), None)


def copies_rule(copies: Sequence[Competition], policy: Policy) -> Outcomed:
    """Outcome of the copy search under a policy, with reasons and what would settle a "cannot conclude".

    Fails if a verbatim copy exists or the lower bound X exceeds ``max_copies``. Passes only if X = 0, no item is
    certified by any resolving encoder, the copy rate's upper bound, the floor of the competition, the share of groups
    that compete and the recall of planted copies are within policy. Cannot conclude otherwise, including when nothing
    was compared.
    """
    return combine(copies_rulings(copies, policy))


def copies_rulings(copies: Sequence[Competition], policy: Policy) -> list[Ruling]:
    """Every rule about copies, the most important first."""
    if not copies:
        statement = "No encoder compared the generations with the training set, so nothing is known about copies."
        return [ruling("copies.tested", "Copies looked for", "cannot conclude", statement, "Audit with an encoder.")]
    rulings = [_verbatim(copies)]
    primary = primary_competition(copies)
    if primary is None:
        return [*rulings, _not_resolving(copies)]
    rulings += [_bound(primary, policy), _certified(primary), _rate(primary, policy), _floor(primary, policy)]
    rulings += _left_out(primary, policy) + closer_rulings(primary, policy)
    supporting = [other for other in copies if other is not primary and other.resolving]
    if supporting:
        rulings.append(_support(supporting))
    return [*rulings, _recall(primary, policy)]


def _verbatim(copies: Sequence[Competition]) -> Ruling:
    title = "No verbatim copy"
    verbatim = max(competition.verbatim for competition in copies)  # one pixel rule, whatever the encoder proposed
    if verbatim == 0:
        return ruling("copies.verbatim", title, "pass", "No generation repeats a training image pixel for pixel.")
    statement = f"{count(verbatim, 'training image')} came back verbatim: pixel for pixel, within the rule's tolerance."
    return ruling("copies.verbatim", title, "fail", statement, RETRAIN, Precedence.VERBATIM)


def _not_resolving(copies: Sequence[Competition]) -> Ruling:
    worst = copies[0]
    statement = (
        f"No encoder tells copies from look-alikes on this data: under {worst.encoder}, planted copies reach "
        f"{worst.planted_p05:.3f} (5th percentile), while different images reach {worst.pool_p99:.3f} (99th)."
    )
    remedy = "Audit with an encoder that separates them: sscd for photographs, pixel for small images."
    return ruling("copies.resolving", "An encoder resolves copies", "cannot conclude", statement, remedy)


def _bound(primary: Competition, policy: Policy) -> Ruling:
    id, title, allowed = "copies.bound", "Reproduced training images", policy.copies.max_copies
    bound = primary.lower_bound
    if bound.value is None:
        statement = f"The number of reproduced training images has no lower bound: {missing(bound)}."
        return ruling(id, title, "cannot conclude", statement, _more_holdout(primary, policy))
    least, level = int(bound.value), percent(bound.level or 0.95)
    if least > allowed:
        images = "1 distinct training image is" if least == 1 else f"{least:,} distinct training images are"
        statement = f"At least {images} reproduced ({level} confidence); the policy allows {allowed:,}."
        return ruling(id, title, "fail", statement, RETRAIN)
    if least > 0:
        statement = f"At least {count(least, 'training image')} reproduced ({level} confidence), and maybe more; "
        remedy = "Only a checkpoint that reproduces nothing can pass: remove the listed images and train again."
        return ruling(id, title, "cannot conclude", f"{statement}the policy allows {allowed:,}.", remedy)
    statement = f"No training image is shown to be reproduced: the lower bound is 0 ({level} confidence)."
    return ruling(id, title, "pass", statement)


def _certified(primary: Competition) -> Ruling:
    title, discovery = "No certified near-copy", percent(primary.alpha)
    if primary.certified == 0:
        statement = f"No training image is certified as a near-copy (false discovery rate {discovery})."
        return ruling("copies.certified", title, "pass", statement)
    images = f"{count(primary.certified, 'training image')} {'is' if primary.certified == 1 else 'are'}"
    statement = f"{images} certified as near-copies, of which {discovery} may be false on average."
    remedy = "Look at the certified pairs; a larger held-out set and more probes tighten the bound on their number."
    return ruling("copies.certified", title, "cannot conclude", statement, remedy)


def _rate(primary: Competition, policy: Policy) -> Ruling:
    id, title, rate, allowed = "copies.rate", "Share of copies", primary.copy_rate, policy.copies.max_rate
    if rate.upper is None:
        statement = f"The share of {trials(rate)} that {bringing(rate)} has no upper bound: {missing(rate)}."
        return ruling(id, title, "cannot conclude", statement, "Generate from more probes.")
    most = f"At most {percent(rate.upper)} of {trials(rate)} {bringing(rate)}"
    statement = f"{most}; the policy allows {percent(allowed)}."
    if rate.upper <= allowed:
        return ruling(id, title, "pass", statement)
    if rate.value is None or rate.value > 0 or rate.upper > _bound_without_hits(primary, rate):
        more = "More prompts" if trials(rate).startswith("prompts") else "More probes"  # noises of one are no trials
        remedy = (
            "Some generations are as near to a training image as a copy is: look at the evidence listed first. "
            f"{more} narrow the interval but do not remove them."
        )
        return ruling(id, title, "cannot conclude", statement, remedy)
    return ruling(id, title, "cannot conclude", statement, _more_probes(primary, policy))


def _bound_without_hits(primary: Competition, rate: Estimate) -> float:
    """The copy rate's upper end if no generation were near a training image, with a margin for rounding."""
    recall = primary.planted_recall.lower
    if not recall or not rate.n or not rate.level:
        return 1.0
    without_hits = -math.expm1(math.log1p(-rate.level) / rate.n)
    return 1.0000001 * min(1.0, without_hits / recall)


def _more_probes(primary: Competition, policy: Policy) -> str:
    """How many trials without a hit bring the copy rate's bound within policy: ln(1-level) / ln(1 - rate recall)."""
    recall = primary.planted_recall.lower
    if not recall:
        return "Use an encoder that finds planted copies: no number of probes bounds the rate at a recall of 0."
    level = primary.copy_rate.level or 0.95
    share = min(policy.copies.max_rate * recall, 1 - 1e-12)
    probes = math.ceil(math.log(1 - level) / math.log1p(-share))
    if primary.copy_rate.unit == "share of prompts":  # more noises under the same prompts are no further trials
        return f"Ask for at least {probes:,} different prompts: with no copy among them the bound meets the policy."
    return f"Generate from at least {probes:,} probes: with no copy among them the bound meets the policy."


def _floor(primary: Competition, policy: Policy) -> Ruling:
    allowed = policy.copies.max_floor
    statement = (
        f"it would take {count(primary.floor, 'reproduced image')} to certify any ({primary.n_items:,} training "
        f"against {primary.m_items:,} held-out items); the policy accepts {allowed:,}."
    )
    if primary.floor <= allowed:
        return ruling("copies.floor", "Floor of power", "pass", f"I{statement[1:]}")
    statement = f"The held-out set is too small: {statement}"
    return ruling("copies.floor", "Floor of power", "cannot conclude", statement, _more_holdout(primary, policy))


def _left_out(primary: Competition, policy: Policy) -> list[Ruling]:
    """A rule only where too many duplicate groups do not compete: nothing but verbatim copies of them can be called."""
    left_out, wanted = primary.untestable_groups + primary.uncompeting_groups, policy.power.min_coverage
    share = primary.n_items / (primary.n_items + left_out) if primary.n_items else 0.0
    if share >= wanted:
        return []
    statement = (
        f"{left_out:,} groups of repeated or near-duplicate images do not compete, so copies of them cannot be "
        f"certified: {percent(share)} are in the contest, where the policy asks for {percent(wanted)}."
    )
    remedy = (
        "Remove repeats and near-duplicates from the training set, or hold images out by duplicate group "
        '(`auditor split`, before training; then data.split = "group").'
    )
    return [ruling("copies.left-out", "Images left out of the contest", "cannot conclude", statement, remedy)]


def _more_holdout(primary: Competition, policy: Policy) -> str:
    """How many competing held-out items reach the policy's floor: m >= n / (alpha max_floor) - 1."""
    # The small slack keeps rounding of alpha (0.1 is not a binary fraction) from asking for one image too many.
    needed = math.ceil(primary.n_items / (primary.alpha * policy.copies.max_floor) - 1 - 1e-6)
    if needed <= primary.m_items:
        return "Generate from more probes, or audit with an encoder that finds more of the planted copies."
    more = needed - primary.m_items
    return (
        f"Compete against at least {needed:,} held-out images, {more:,} more than now (drawn as the training set was)."
    )


def _support(supporting: Sequence[Competition]) -> Ruling:
    title = "Supporting encoders agree"
    seeing = [other for other in supporting if other.certified > 0 or (other.lower_bound.value or 0) > 0]
    if not seeing:
        names = ", ".join(other.encoder for other in supporting)
        return ruling("copies.support", title, "pass", f"Supporting encoders ({names}) certify no copy either.")
    found = "; ".join(f"{other.encoder} certifies {count(other.certified, 'training image')}" for other in seeing)
    remedy = "Look at the pairs that the supporting encoder certifies, or list that encoder first and audit again."
    return ruling("copies.support", title, "cannot conclude", f"Supporting encoders see copies: {found}.", remedy)


def _recall(primary: Competition, policy: Policy) -> Ruling:
    id, title, recall = "power.planted-recall", "Planted copies found", primary.planted_recall
    if recall.lower is None:
        statement = f"How many planted copies the search finds is unknown: {missing(recall)}."
        return ruling(id, title, "cannot conclude", statement, "Audit with enough images to plant copies.")
    least = policy.power.min_planted_recall
    statement = f"At least {percent(recall.lower)} of planted copies are found; the policy asks for {percent(least)}."
    if recall.lower >= least:
        return ruling(id, title, "pass", statement)
    return ruling(id, title, "cannot conclude", statement, "Audit with an encoder that finds more planted copies.")
