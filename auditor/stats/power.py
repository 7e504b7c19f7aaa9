"""What sample sizes can conclude, before anything is measured."""

from __future__ import annotations

import math

from scipy.stats import beta, betabinom, binom, norm

from auditor.stats.delong import OUT_OF_FOLD_VARIANCE
from auditor.stats.roc import loose_count, strict_count

MOST_NEEDED = 1_000_000  # images a side beyond which no size is named


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


def detectable_share(
    members: int, nonmembers: int, fpr: float = 0.01, *, level: float = 0.95, sharing: int = 1, power: float = 0.8
) -> float | None:
    """Least share of members that, recognised outright, lifts the lower end of "TPR at fpr" above fpr.

    The other members score like non-members: the leak of a few records, which an AUC hardly shows. ``level`` and
    ``sharing`` as :func:`auditor.stats.roc.tpr_at_fpr`; the threshold is put at the mean rank of its order statistic.

    Returns:
      The share found with probability ``power``; None where no share is, for too few images on a side.
    """
    k, rest = strict_count(nonmembers, fpr, (1 - level) / 2 / sharing)
    if k < 0 or members == 0:
        return None
    passed = (k + 1) / (nonmembers + 1)
    hits = int(binom.isf(rest, members, fpr)) + 1  # the least with P(at least so many | rate fpr) <= rest
    if hits > members:
        return None
    rate = float(beta.ppf(power, hits, members - hits + 1))  # at which so many come with probability ``power``
    return max(0.0, (rate - passed) / (1 - passed))


def harmless_size(
    max_auc: float, max_excess: float, max_tpr: float, fpr: float = 0.01, *, level: float = 0.95, power: float = 0.8
) -> int | None:
    """Reported images a side with which an attack that knows nothing meets each limit with probability ``power``.

    Knows nothing: AUC 1/2 for it and the blind baseline, TPR = FPR. AUC and excess by the normal approximation, the two
    scores taken as independent; the tail exactly, as beta-binomial.

    Returns:
      The size; None where a limit lies at or below chance, or takes more than a million.
    """
    if max_auc <= 0.5 or max_excess <= 0 or max_tpr <= fpr:
        return None
    deviations = float(norm.isf((1 - level) / 2) + norm.ppf(power))
    # one AUC varies by 1 / (6 n), the blind one by twice as much, for its scores are out of fold
    by_auc = deviations**2 / (6 * (max_auc - 0.5) ** 2)
    by_excess = deviations**2 * (1 + OUT_OF_FOLD_VARIANCE) / (6 * max_excess**2)
    size = max(math.ceil(by_auc), math.ceil(by_excess), nonmembers_for_fpr(fpr))
    while size <= MOST_NEEDED:
        k, rest = loose_count(size, fpr, (1 - level) / 2)
        hits = int(binom.ppf(rest, size, max_tpr)) - 1  # the most with an upper end within the limit
        if hits >= 0 and betabinom.cdf(hits, size, k + 1, size - k) >= power:
            return size
        size += max(1, size // 50)
    return None
