"""Whether a record's membership tests meet a policy: a pure function of the record's numbers.

Bounds are taken as recorded. An attack fails only when the lower bounds of its AUC and of its paired excess over the
blind baseline both exceed policy, so that a difference between the two sets of images, which the blind classifier
sees without the model, is never charged to the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from auditor.policy.ruling import Ruling, combine, ruling
from auditor.policy.schema import MembershipPolicy, Policy
from auditor.policy.validity import REMEDIES, SPLIT_CHECKS
from auditor.store.membership import Attack, Membership
from auditor.store.parts import Estimate, Outcomed
from auditor.store.record import Check
from auditor.store.wording import attack_name, missing, percent

REGULARISE = "Train on more images, for fewer steps, or with differential privacy, and audit the new checkpoint."
MORE_IMAGES = (
    "Give more held-out images of the same origin that are no near-duplicates of training images, or raise "
    "membership.nonmembers (or .members), and run the audit again."
)
SAME_SOURCE = (
    "Draw the held-out images at random from the same pool as the training images (`auditor split`, before training)."
)


def membership_rule(
    membership: Membership | None,
    policy: Policy,
    checks: Sequence[Check] = (),
    *,
    asked: bool = False,
    network: bool = True,
) -> Outcomed:
    """Outcome of the membership tests under a policy, with reasons and what would settle a "cannot conclude".

    Withheld where a check failed that members and non-members are alike without the model's training.

    Fails if for some attack the lower bounds of AUC and excess exceed policy; passes only if for every attack the
    upper bounds of AUC, excess and TPR at 1% FPR lie within it. Untested passes only where it is not required.
    """
    unlike = [check for check in checks if check.id in SPLIT_CHECKS and check.status == "failed"]
    if membership is not None and unlike:
        reasons = [f"Membership is withheld: {check.title} failed. {check.statement}" for check in unlike]
        return Outcomed(outcome="cannot conclude", reasons=reasons, remedies=[REMEDIES[check.id] for check in unlike])
    rulings = membership_rulings(membership, policy, asked=asked, network=network)
    if not rulings:
        return Outcomed(outcome="pass", reasons=["Membership was not tested; the policy does not ask for it."])
    return combine(rulings)


def membership_rulings(
    membership: Membership | None, policy: Policy, *, asked: bool = False, network: bool = True
) -> list[Ruling]:
    """One rule per attack; none where nothing was tested and the policy does not ask for it.

    Args:
      membership: As recorded; None = not tested.
      policy: What is required.
      asked: Whether the audit was to test it: then too few images stood on a side, and enabling it changes nothing.
      network: Whether there was a checkpoint, without which it cannot be tested.
    """
    if membership is not None and membership.attacks:
        return [_attack(attack, membership, policy.membership) for attack in membership.attacks]
    if not policy.membership.required and membership is None:
        return []
    statement = "Whether membership in the training set can be told was not tested, and the policy asks for it."
    remedy = "Enable the membership attacks (membership.enabled = true) and run the audit again."
    if not network:
        remedy = "Audit the checkpoint that made the images: membership cannot be told from images alone."
    if asked:
        statement = (
            "Membership was to be tested, and the policy asks for it, but too few images stood on a side; what was not "
            "tested says which."
        )
        remedy = MORE_IMAGES
    return [ruling("membership.tested", "Membership tested", "cannot conclude", statement, remedy)]


def _attack(attack: Attack, membership: Membership, policy: MembershipPolicy) -> Ruling:
    id, title = f"membership.{attack.name}", f"Membership attack {attack_name(attack.name)}"
    auc, excess, tpr = attack.auc, attack.excess_over_blind, attack.tpr_at_1pct_fpr
    if _above(auc, policy.max_auc) and _above(excess, policy.max_excess):
        statement = (
            f"{attack_name(attack.name)} tells training images from others: AUC {_interval(auc)} where the policy "
            f"allows {policy.max_auc:.2f}, exceeding the blind baseline by {_interval(excess)}."
        )
        return ruling(id, title, "fail", statement, REGULARISE)
    limits = [(auc, policy.max_auc), (excess, policy.max_excess), (tpr, policy.max_tpr_at_1pct_fpr)]
    if all(estimate.upper is not None and estimate.upper <= limit for estimate, limit in limits):
        statement = (
            f"{attack_name(attack.name)} stays within policy: AUC {_interval(auc)}, excess over blind "
            f"{_interval(excess)}, {_tail(tpr)}."
        )
        return ruling(id, title, "pass", statement)
    statement, remedy = _undecided(attack, membership, policy)
    return ruling(id, title, "cannot conclude", statement, remedy)


def _undecided(attack: Attack, membership: Membership, policy: MembershipPolicy) -> tuple[str, str]:
    """Why an attack neither fails nor passes, the weightiest reason first, and what would settle it."""
    auc, excess, tpr = attack.auc, attack.excess_over_blind, attack.tpr_at_1pct_fpr
    for estimate in (auc, excess, tpr):
        if estimate.upper is None:
            statement = f"{attack_name(attack.name)} gives no {estimate.name}: {missing(estimate)}."
            return statement, "Test more members and non-members (membership.members, membership.nonmembers)."
    if _above(auc, policy.max_auc):
        statement = (
            f"{attack_name(attack.name)} reaches AUC {_interval(auc)}, but it is not shown to know more than the blind "
            f"baseline (AUC {_interval(membership.blind_auc)}, excess {_interval(excess)}): the sets may differ."
        )
        return statement, SAME_SOURCE
    if _above(tpr, policy.max_tpr_at_1pct_fpr):
        statement = (
            f"{attack_name(attack.name)} recognises some members well though not the average one: {_tail(tpr)}, "
            f"where the policy allows {percent(policy.max_tpr_at_1pct_fpr)}."
        )
        return statement, "Look for repeated or unusual training images, remove the repeats and train again."
    statement = (
        f"{attack_name(attack.name)} is too uncertain: AUC {_interval(auc)}, excess over blind {_interval(excess)}, "
        f"{_tail(tpr)}; the policy allows {policy.max_auc:.2f}, {policy.max_excess:.2f} and "
        f"{percent(policy.max_tpr_at_1pct_fpr)}."
    )
    limits = [(auc, policy.max_auc), (excess, policy.max_excess), (tpr, policy.max_tpr_at_1pct_fpr)]
    return statement, _more_images(limits, membership)


def _more_images(limits: list[tuple[Estimate, float]], membership: Membership) -> str:
    """How many images would bring every upper bound within its limit if the values stayed as they are.

    An interval's half-width falls as 1/sqrt(n), so n must grow by ((upper - value) / (limit - value))^2.
    """
    factor = 1.0
    for estimate, limit in limits:
        if estimate.value is None or estimate.upper is None or estimate.upper <= limit:
            continue
        if estimate.value >= limit:
            return (
                "Test more members and non-members; the values themselves lie at the limit or above, so expect a fail."
            )
        factor = max(factor, ((estimate.upper - estimate.value) / (limit - estimate.value)) ** 2)
    members, nonmembers = (math.ceil(factor * size) for size in (membership.members, membership.nonmembers))
    return f"Test about {members:,} members and {nonmembers:,} non-members, if the values stay as they are."


def _above(estimate: Estimate, limit: float) -> bool:
    return estimate.lower is not None and estimate.lower > limit


def _interval(estimate: Estimate) -> str:
    if estimate.value is None or estimate.lower is None or estimate.upper is None:
        return f"unknown ({missing(estimate)})"
    return f"{estimate.value:.3f} [{estimate.lower:.3f}, {estimate.upper:.3f}]"


def _tail(tpr: Estimate) -> str:
    if tpr.value is None or tpr.upper is None:
        return f"true positives at 1% false positives unknown ({missing(tpr)})"
    return f"{percent(tpr.value)} of members recognised at 1% false positives (at most {percent(tpr.upper)})"
