"""What sample sizes can conclude, before anything is measured."""

from __future__ import annotations

import math

from scipy.stats import norm


def competition_floor(n: int, m: int, alpha: float) -> int:
    """Least number of training hits that can be called when no held-out item scores higher.

    With T training hits and no held-out hit the estimated false discovery rate is n / ((m + 1) T); it has to reach
    alpha (Barber and Candes 2015, arXiv 1404.5609, the +1; Mary and Roquain 2022, arXiv 2106.13501, the matching lower
    bound).

    Args:
      n: Competing training items.
      m: Competing held-out items.
      alpha: Nominal false discovery rate, in (0, 1).
    """
    return max(1, math.ceil(n / (alpha * (m + 1)) - 1e-9))


def holdout_for_floor(n: int, floor: int, alpha: float) -> int:
    """Held-out items at which :func:`competition_floor` comes down to ``floor``."""
    return max(1, math.ceil(n / (alpha * floor) - 1 - 1e-9))


def zero_hit_bound(probes: int, level: float = 0.95) -> float:
    """Upper bound on a rate after no hit among ``probes`` independent trials: 1 - (1 - level)^(1 / probes)."""
    return -math.expm1(math.log1p(-level) / probes)


def detectable_auc_excess(members: int, nonmembers: int, level: float = 0.95, power: float = 0.8) -> float:
    """Least excess of an AUC over 1/2 that a one-sided test at ``level`` finds with probability ``power``.

    From the variance of the Mann-Whitney statistic under the null, (n1 + n2 + 1) / (12 n1 n2), without ties; normal
    approximation, and the null variance used on both sides, which is accurate for small excesses.
    """
    deviation = math.sqrt((members + nonmembers + 1) / (12 * members * nonmembers))
    return float((norm.ppf(level) + norm.ppf(power)) * deviation)


def nonmembers_for_fpr(target: float) -> int:
    """Non-members below which a false positive rate of ``target`` cannot even be realised by one of them."""
    return math.ceil(1 / target - 1e-9)
