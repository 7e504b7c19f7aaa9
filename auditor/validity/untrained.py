"""Negative control: a network that was not trained on the members must not tell them from non-members.

Where it does, something other than training tells the sets apart (brightness, compression, content), and what the
audited checkpoint shows may owe as much to it. The blind baseline looks at the images; this control looks through the
very attacks that are reported.

What it sees depends on the network. Fresh weights see what sways any network: format, filters, brightness, contrast.
They have learned no content, so that an image is not hard or easy to them; sets that differ in difficulty alone pass
(measured in decisions/0066, 0075). A checkpoint trained on other images of the kind sees that as well. Passing is no
proof that the sets are of one origin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from auditor.stats.delong import auc_interval
from auditor.stats.multiple import holm
from auditor.stats.power import detectable_auc_excess
from auditor.stats.rank_sum import two_sided_rank_sum_p_value
from auditor.store.record import Check
from auditor.store.wording import attack_name

SAMPLE = 300  # images a side
UNTRAINED = "an untrained network of the same architecture"
BLINDNESS = (
    "An untrained network sees a difference in format or brightness, hardly one in content or difficulty; a checkpoint "
    "trained on other images of the kind, named as membership.control, sees more."
)
ERROR_RATE = 0.01  # of the check alone; the family shares it by Holm's method
UNDERPOWERED = 0.15  # "not tested" where only an AUC further from 1/2 would be seen with 80% power

Scores = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]  # attack -> (members, non-members)


def untrained_check(scores: Scores, network: str, level: float = 0.95) -> Check:
    """Whether any attack tells members from non-members under a network that has never seen either.

    Blocks where the smallest two-sided rank-sum p-value, adjusted over the attacks (Holm), is at most 1%: in either
    direction, for a network that ranks members *lower* has found a difference, too. The smallest adjusted p-value is a
    p-value of "no attack tells them apart", so that the check joins the family of blocking checks by Holm's method.

    Args:
      scores: Per attack those of members and of non-members that the report rests on, at the reported variant.
      network: What the network is: :data:`UNTRAINED`, or "the unrelated checkpoint".
      level: Of the intervals, all attacks together.
    """
    sizes = [(len(ours), len(theirs)) for ours, theirs in scores.values()]
    if not sizes or min(min(size) for size in sizes) < 2:
        return _check("not tested", f"Too few images to run the attacks on {network}.", None, "", [])
    each = 1 - (1 - level) / len(scores)
    aucs = {
        name: auc_interval(*sides, level=each, name=f"AUC of {attack_name(name)} on {network}")
        for name, sides in scores.items()
    }
    p_values = {name: two_sided_rank_sum_p_value(*sides) for name, sides in scores.items()}
    p_value = float(min(holm(list(p_values.values()))))
    worst = min(p_values, key=lambda name: p_values[name])
    members, nonmembers = sizes[0]
    excess = detectable_auc_excess(members, nonmembers, level=1 - ERROR_RATE / 2 / len(scores))
    farthest = aucs[worst]
    statement = (
        f"On {network}, {attack_name(worst)} ranks {members:,} members against {nonmembers:,} non-members with AUC "
        f"{farthest.value:.3f} [{farthest.lower:.3f}, {farthest.upper:.3f}], the farthest from 0.5 of "
        f"{len(scores)} {'attack' if len(scores) == 1 else 'attacks'}; sets that are alike give 0.5."
    )
    power = f"With these numbers an AUC of {min(0.5 + excess, 1):.2f} on that network is found with 80% power."
    power += f" {BLINDNESS}" if network == UNTRAINED else ""
    if excess > UNDERPOWERED or math.isnan(excess):
        return _check("not tested", statement, p_value, power, list(aucs.values()))
    return _check("failed" if p_value <= ERROR_RATE else "passed", statement, p_value, power, list(aucs.values()))


def _check(status: str, statement: str, p_value: float | None, power: str, estimates: list[object]) -> Check:
    return Check.model_validate(
        {
            "id": "untrained",
            "title": "A network that knows no member tells none",
            "encoder": None,
            "status": status,
            "statement": statement,
            "p_value": p_value,
            "power": power,
            "estimates": estimates,
        }
    )
