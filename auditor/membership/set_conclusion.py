"""What may be concluded of a whole set of records, and what the conclusion rests on, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditor.store.membership import SetControl

CONVICTION = 0.01  # largest p-value at which a set counts as used
SUSPICION = 0.05  # largest p-value without the checkpoint at which that conclusion is withheld
UNLIKE = "The checkpoint treats the suspect records unlike records it never saw."


def conclude(p_value: float, without: Mapping[str, float], familiarity: float, ground: str) -> tuple[str, str]:
    """The outcome, and why in a sentence or two.

    Args:
      p_value: Of the checkpoint's signals.
      without: P-values of tests that never see the checkpoint, by what they are called.
      familiarity: Mean AUC of the signals.
      ground: What "used" rests on, a sentence.
    """
    if p_value > CONVICTION:
        return "not shown", (
            f"The checkpoint does not treat these records clearly unlike records it never saw: p = {p_value:.3g}, and "
            f"{CONVICTION:g} is asked for."
        )
    rejected = [f"{what}: p = {p:.3g}" for what, p in without.items() if p <= SUSPICION]
    if rejected:
        return "withheld", (
            f"The two sets can be told apart, but the images alone tell them apart as well ({'; '.join(rejected)}): "
            "they may differ in origin."
        )
    if familiarity <= 0.5:
        return "withheld", (
            "The two sets can be told apart, but the suspect records are not the more familiar ones to the checkpoint."
        )
    return "used", f"{UNLIKE} {ground}"


def grounds(listed: bool, split: str) -> str:
    """What "used" rests on where no other network was asked."""
    if listed:
        of = "the listed records were chosen without regard to what they show"
        if split == "unknown":
            of += ", and that the held-out ones are of the same origin, though how they were drawn is unknown"
    elif split == "unknown":
        of = "the held-out records are of the same origin, though how they were drawn is unknown"
    else:
        of = "the held-out records are of the same origin, drawn at random as `auditor split` draws them"
    return (
        f"That this comes of their use rests on the assumption that {of}. The images alone do not contradict it, and "
        "cannot prove it: records that are easier by nature would give the same result. A checkpoint that knows "
        "neither set (membership.control) can tell."
    )


def conclude_under(controls: Sequence[SetControl]) -> tuple[str, str]:
    """The outcome for a set that would count as used, after networks that know neither set; at least one."""
    rejected = [control for control in controls if control.p_value <= SUSPICION]
    if rejected:
        return "withheld", (
            f"The two sets can be told apart, but {rejected[0].network} tells them apart as well (p = "
            f"{rejected[0].p_value:.3g}): they differ by nature, or that network knows one of them."
        )
    said = " and ".join(f"{control.network} (p = {control.p_value:.3g})" for control in controls)
    return "used", (
        f"{UNLIKE} The same test under {said}, taken to know neither set, finds no such difference. This rests on "
        "records that are easier by nature being easier there, too, where less may be seen."
    )
