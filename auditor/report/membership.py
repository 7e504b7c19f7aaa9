"""What the report says about the footing of a membership test: the two sets, near-duplicates in both, and its power."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.store.membership import CaptionControl, Feature, Membership, Power, Shift
from auditor.store.wording import count, decimal, percent

SHIFT_LEVEL = 0.05  # at or below which a difference is called shown


def footing(membership: Membership) -> Iterator[str]:
    """Sentences beside the table of attacks, in reading order; none where a record lacks their figures."""
    if membership.shift is not None:
        yield shift_sentence(membership.shift)
    if membership.mixed_groups:
        groups = membership.mixed_groups
        images = sum(len(group.members) + len(group.nonmembers) for group in groups)
        example = f"{groups[0].members[0]} and {groups[0].nonmembers[0]}"
        yield (
            f"{count(len(groups), 'group')} of near-duplicates ({images:,} images, such as {example}) "
            f"{'stands' if len(groups) == 1 else 'stand'} on both sides and "
            f"{'counts' if len(groups) == 1 else 'count'} for neither; the record lists all."
        )
    if membership.caption_control is not None:
        yield caption_sentence(membership.caption_control)
    if membership.power is not None:
        yield power_sentence(membership.power)


def caption_sentence(control: CaptionControl) -> str:
    """What remains of CLiD under the captions of other images."""
    own, shuffled = (
        f"{decimal(auc.value)} [{decimal(auc.lower)}, {decimal(auc.upper)}]"
        if auc.value is not None and auc.lower is not None and auc.upper is not None
        else "not scored"
        for auc in (control.own, control.shuffled)
    )
    return (
        f"CLiD with every image under its own caption: AUC {own}; under the caption of another image of its side: "
        f"{shuffled}. What lies above 0.5 there is not owed to an image and its caption having been learnt together."
    )


def shift_sentence(shift: Shift) -> str:
    """Whether the two sets differ without the model, and in what most."""
    sizes = f"{shift.members:,} members and {shift.nonmembers:,} non-members"
    p_value = f"p = {shift.p_value:.3g}, {shift.permutations:,} permutations"
    telling = f" The most telling difference is the {_differs(shift.features[0])}." if shift.features else ""
    if shift.p_value <= SHIFT_LEVEL:
        return f"Without the checkpoint, {sizes} are not one set ({p_value}).{telling}"
    return f"Without the checkpoint, {sizes} are not shown to differ ({p_value}).{telling}"


def _differs(feature: Feature) -> str:
    """``share of white pixels, 0.33 standard deviations higher among members (p = 0.001 over all statistics)``."""
    direction = "higher" if feature.difference > 0 else "lower"
    return (
        f"{feature.name}, {abs(feature.difference):.2f} standard deviations {direction} among members "
        f"(p = {feature.p_adjusted:.3g} over all statistics)"
    )


def power_sentence(power: Power) -> str:
    """What a test of this size could have found, and what size the policy's limits take."""
    found = []
    if power.detectable_auc is not None:
        found.append(f"an AUC of {power.detectable_auc:.3f}")
    if power.detectable_share is not None:
        found.append(f"{percent(power.detectable_share)} of members recognised outright")
    sizes = f"{power.members:,} members and {power.nonmembers:,} non-members reported"
    chance = f"{percent(power.power)} probability"
    could = f"would show {' or '.join(found)}, each with {chance}" if found else "are too few to show anything"
    if power.needed is None:
        return f"The {sizes} {could}. No size would let a harmless checkpoint pass at the policy's limits."
    return (
        f"The {sizes} {could}. At the policy's limits (AUC {power.max_auc:.2f}, excess {power.max_excess:.2f}, "
        f"{percent(power.max_tpr_at_1pct_fpr)} at 1% FPR) an attack that knows nothing meets each with {chance} from "
        f"{power.needed:,} reported images a side."
    )
