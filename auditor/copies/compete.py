"""Training items against held-out items: how many top-ranked training items are more than chance.

If the model does not favour what it was trained on, the labels of the ranked items are exchangeable. So held-out hits
show how many training hits to expect by chance (target-decoy competition; Benjamini-Hochberg on conformal p-values).

    n, m         training and held-out items that compete; of items that the split dealt as one, one
    T(s), D(s)   training and held-out hits with score >= s; ties count on both sides, so a tie never favours training
    FDR(s)       n (1 + D(s)) / ((m + 1) T(s))
    q_i          least FDR(s) over thresholds s <= score_i: nominal rate at which item i is first called
    X            max over thresholds with D <= 20 of T - Vbar(D): at least so many training items are no chance hits
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.stats.bounds import DEPTH, simultaneous_bounds
from auditor.stats.power import competition_floor


@dataclass(frozen=True)
class Contest:
    """Outcome of one competition over I items."""

    n: int
    m: int
    training_hits: int
    holdout_hits: int
    q_value: NDArray[np.float64]  # [I] in (0, 1] for training hits, NaN for other items
    certified: NDArray[np.bool_]  # [I] training hits with q <= alpha
    lower_bound: int  # X
    floor: int  # least number of training hits that could be called at alpha


def compete(
    score: NDArray[np.float64],
    is_hit: NDArray[np.bool_],
    is_training: NDArray[np.bool_],
    *,
    alpha: float = 0.10,
    level: float = 0.95,
    family: NDArray[np.int64] | None = None,
) -> Contest:
    """Certified training items and the lower bound on how many are reproduced.

    Args:
      score: Float64[I], larger = closer to a generation; which items have high scores must not depend on labels
        unless the model does.
      is_hit: Bool[I], label-blind: items that may count at all. The others stay in n and m.
      is_training: Bool[I].
      alpha: Nominal false discovery rate: the mean share of chance items among those certified is at most alpha.
      level: Confidence of X, for all thresholds together.
      family: Int64[I], equal for items that change sides together (:mod:`auditor.copies.relatives`). Then families
        compete: n, m, T and D count them, each by its highest-scored hit, and X is a number of families. An item is
        called where that threshold is, whether or not it is its family's best. None = every item is its own.

    Source:
      Barber and Candes 2015, arXiv 1404.5609 (the +1); Bates et al. 2023, arXiv 2104.08279; Mary and Roquain 2022,
      arXiv 2106.13501. It is Benjamini-Hochberg on the conformal p-values (1 + D) / (m + 1).
    """
    n, m = (count_families(side, family) for side in (is_training, ~is_training))
    best = is_hit if family is None else is_hit & leads(score, is_hit, 2 * family + is_training)
    training, holdout = np.sort(score[best & is_training]), np.sort(score[best & ~is_training])
    thresholds = np.unique(score[is_hit & is_training])[::-1]  # only training scores are worth calling at
    above_t = len(training) - np.searchsorted(training, thresholds, side="left")
    above_d = len(holdout) - np.searchsorted(holdout, thresholds, side="left")
    fdr = n * (1.0 + above_d) / ((m + 1.0) * above_t)
    running = np.minimum(np.minimum.accumulate(fdr[::-1])[::-1], 1.0)
    q_value = np.full(len(score), np.nan)
    called = is_hit & is_training
    q_value[called] = running[np.searchsorted(-thresholds, -score[called])]
    return Contest(
        n=n,
        m=m,
        training_hits=len(training),
        holdout_hits=len(holdout),
        q_value=q_value,
        certified=called & (q_value <= alpha + 1e-12),  # 0.1 is not a binary fraction
        lower_bound=_lower_bound(n, m, above_t, above_d, level),
        floor=competition_floor(n, m, alpha),
    )


def leads(score: NDArray[np.float64], is_hit: NDArray[np.bool_], family: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Bool[I]: the highest-scored hit of each family, ties by item number; of one without hits any item."""
    order = np.lexsort((np.arange(len(score)), -score, ~is_hit, family))
    first = np.ones(len(score), np.bool_)
    first[1:] = family[order][1:] != family[order][:-1]
    found = np.zeros(len(score), np.bool_)
    found[order[first]] = True
    return found


def count_families(which: NDArray[np.bool_], family: NDArray[np.int64] | None) -> int:
    """How many families some items, Bool[I], belong to."""
    return int(which.sum()) if family is None else len(np.unique(family[which]))


def _lower_bound(n: int, m: int, above_t: NDArray[np.int64], above_d: NDArray[np.int64], level: float) -> int:
    """X, at least 0; the depth D <= 20 was fixed before any label was read."""
    within = above_d <= DEPTH
    if not within.any():
        return 0
    bounds = np.array(simultaneous_bounds(n, m, level))
    return max(0, int((above_t[within] - bounds[above_d[within]]).max()))


def settled(
    is_training: NDArray[np.bool_],
    is_hit: NDArray[np.bool_],
    examined: int,
    n: int,
    m: int,
    alpha: float,
    family: NDArray[np.int64] | None = None,
) -> bool:
    """Whether items ranked below the first ``examined`` can change neither X nor any call at alpha.

    X looks no deeper than 20 held-out hits. A call further down needs n (1 + D) / ((m + 1) T) <= alpha, where D can
    only grow and T gains at most all remaining training items; so stopping here gives the very result that examining
    everything would, and no choice depends on labels.

    Args:
      is_training: Bool[I] of the competing items by falling score.
      is_hit: Bool[examined] of the first of them.
      n, m: Families, where these compete.
      family: Int64[I] of the competing items by falling score.
    """
    holdout_hits = count_families(is_hit & ~is_training[:examined], None if family is None else family[:examined])
    at_most = int((is_hit & is_training[:examined]).sum()) + int(is_training[examined:].sum())
    return holdout_hits > DEPTH and n * (1.0 + holdout_hits) > alpha * (1 + 1e-9) * (m + 1.0) * at_most
