"""What a record says about membership: who can be told to have been in the training set, and how well.

Larger score = more likely a member, everywhere.
"""

from __future__ import annotations

from auditor.store.parts import Curve, Estimate, Part


class Attack(Part):
    """One membership attack, its variant chosen on the calibration slice, reported on the other."""

    name: str
    variant: str  # such as "t=200, p=4"
    evaluations_per_image: int
    auc: Estimate
    tpr_at_1pct_fpr: Estimate
    excess_over_blind: Estimate  # paired difference of AUCs
    roc: Curve  # x = FPR, series "attack" and "blind"
    scores: Curve  # histogram: "members", "non-members"


class Membership(Part):
    members: int  # scored; the calibration part included, unscored ones not
    nonmembers: int
    calibration_members: int
    calibration_nonmembers: int
    unscored: list[tuple[str, str]]  # (id, reason)
    blind_auc: Estimate
    attacks: list[Attack]
    denoiser_evaluations: int
    evaluations_unshared: int  # what the attacks would have cost one by one
