"""Membership that was asked for and cannot be tested: for want of images on a side, or of signals for a whole set."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.config import AuditConfig
from auditor.membership.evaluate import LEAST_A_SLICE, Side, calibration_size
from auditor.stages.inputs import Inputs
from auditor.stages.membership.scores import swept
from auditor.stages.slices import LEAST_NONMEMBERS
from auditor.store.membership import DatasetInference
from auditor.store.wording import count

NOT_TESTED = "Membership, of single images and of sets, though asked for"


def none_set_aside(config: AuditConfig) -> list[str]:
    """Why no held-out image serves as non-member; nothing where membership is not asked for."""
    asked = config.membership
    if not asked.enabled:
        return []
    if asked.nonmembers < LEAST_NONMEMBERS:
        return [
            f"{NOT_TESTED}: membership.nonmembers is {asked.nonmembers}, and at least {LEAST_NONMEMBERS} are needed; "
            "raise it."
        ]
    return [
        f"{NOT_TESTED}: fewer than {LEAST_NONMEMBERS} held-out images can serve as non-members beside the copy test; "
        "give more of the same origin."
    ]


def too_few(members: int, nonmembers: int, share: float) -> list[str]:
    """Why sides of these sizes cannot be tested; nothing where they can.

    Args:
      members: Images that stand, near-duplicates left out.
      nonmembers: Likewise.
      share: Of either, that chooses variants.
    """
    parts = [(size, calibration_size(size, share)) for size in (members, nonmembers)]
    if min(min(chosen, size - chosen) for size, chosen in parts) >= LEAST_A_SLICE:
        return []
    return [
        f"{NOT_TESTED}: without near-duplicates {count(members, 'member')} and {count(nonmembers, 'non-member')} are "
        f"left, and calibration ({share:g} of either) and report need {LEAST_A_SLICE} of each; give more images that "
        "are no near-duplicates of the other side's."
    ]


def slice_counts(sides: Sequence[Side]) -> list[int]:
    """Scored images of either slice of every side."""
    return [int((side.calibration == used).sum()) for side in sides for used in (True, False)]


def unscored(sides: Sequence[Side]) -> list[str]:
    """Why sides with too few finite scores are not tested."""
    members, nonmembers = (len(side.table.ids) for side in sides)
    return [
        f"{NOT_TESTED}: only {count(members, 'member')} and {count(nonmembers, 'non-member')} have finite scores under "
        f"every attack, and calibration and report need {LEAST_A_SLICE} of each; list fewer attacks, or add images."
    ]


def no_signals(inputs: Inputs, sides: Sequence[Side], config: AuditConfig) -> DatasetInference | None:
    """What is said of a set where no attack gives a signal that learns from no labels; None where one does.

    Gradients alone (GSA) do not: one of their two scores learns from labels, which a permutation would have to go
    through as well.
    """
    if swept(config) or not config.membership.dataset_inference:
        return None
    listed = len(inputs.suspects) > 0
    statement = (
        "A whole set is tested by attacks that learn from no labels, and none is among membership.attacks; add one, "
        'such as "loss".'
    )
    return DatasetInference(
        suspects=len(inputs.suspects) if listed else len(sides[0].table.ids),
        heldout=len(sides[1].table.ids),
        listed=listed,
        signals=0,
        outcome="not tested",
        statement=statement,
    )
