"""What an audit says nothing about, whatever it found."""

from __future__ import annotations

from auditor.store.membership import Membership

ALWAYS = [
    "Other samplers, guidance scales and numbers of steps than those above.",
    "Objects drawn anew in another scene: only what is repeated in its pixels counts as a part.",
    "Attributes of people or groups that could be inferred without a copy.",
]


def not_tested(membership: Membership | None) -> list[str]:
    """What every audit leaves out, and the kinds of membership attacks that this one did."""
    made = {attack.name for attack in membership.attacks} if membership else set()
    left = []
    if membership is not None:
        left.append(
            "Whether held-out images are real: attacks take what a model generated for members (arXiv 2606.23872), so "
            "that it may not serve as non-member."
        )
    if made.isdisjoint({"lira", "rmia"}):
        left.append("Attacks that compare with reference or shadow models trained alike (LiRA, RMIA).")
    if "gsa" not in made:
        left.append("Attacks that read gradients (GSA).")
    return ALWAYS + left
