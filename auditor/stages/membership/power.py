"""What a membership test of this size could find, and what size the policy's limits take."""

from __future__ import annotations

from auditor.policy.schema import MembershipPolicy
from auditor.stats.power import detectable_auc_excess, detectable_share, harmless_size
from auditor.store.membership import Membership, Power

POWER = 0.8


def power_of(members: int, nonmembers: int, attacks: int, limits: MembershipPolicy, level: float = 0.95) -> Power:
    """The power of a test with so many reported images a side, all attacks considered.

    Args:
      members: Reported, without those that choose variants.
      nonmembers: Likewise.
      attacks: How many share the lower bounds' error.
      limits: What the policy allows.
      level: Of the intervals.
    """
    excess = None
    if min(members, nonmembers) > 0:
        excess = detectable_auc_excess(members, nonmembers, level=1 - (1 - level) / 2 / max(attacks, 1), power=POWER)
    return Power(
        members=members,
        nonmembers=nonmembers,
        power=POWER,
        detectable_auc=0.5 + excess if excess is not None and excess < 0.5 else None,
        detectable_share=detectable_share(members, nonmembers, level=level, sharing=max(attacks, 1), power=POWER),
        max_auc=limits.max_auc,
        max_excess=limits.max_excess,
        max_tpr_at_1pct_fpr=limits.max_tpr_at_1pct_fpr,
        needed=harmless_size(limits.max_auc, limits.max_excess, limits.max_tpr_at_1pct_fpr, level=level, power=POWER),
    )


def with_power(membership: Membership | None, limits: MembershipPolicy, level: float) -> Membership | None:
    """The record's membership part with its power under a policy."""
    if membership is None:
        return None
    members = membership.members - membership.calibration_members
    nonmembers = membership.nonmembers - membership.calibration_nonmembers
    found = power_of(members, nonmembers, len(membership.attacks), limits, level)
    return membership.model_copy(update={"power": found})
