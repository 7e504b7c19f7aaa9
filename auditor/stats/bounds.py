"""How many training items can outrank the held-out ones by chance: bounds valid at all depths at once.

    n, m    training and held-out items in the competition
    V_d     training items ranked above the (d + 1)-th held-out item, were the labels dealt at random
    Vbar_d  upper bound of V_d; with probability >= level, V_d <= Vbar_d for every d = 0..depth

Under random labels every one of the C(n + m, n) label orders is equally likely. V_d is then negative hypergeometric,
and P(V_0 <= b_0, ..., V_D <= b_D) is a count of lattice paths below a staircase, so it is computed, not simulated.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

DEPTH = 20  # held-out items the bounds look past; fixed in advance, for the guarantee holds over these depths
_BISECTIONS = 16  # halvings of log u: u is at most 0.005% below the largest possible, and never above it


@lru_cache(maxsize=256)
def simultaneous_bounds(n: int, m: int, level: float = 0.95, depth: int = DEPTH) -> tuple[int, ...]:
    """Vbar_0..Vbar_depth, non-decreasing: P(V_d > Vbar_d for any d <= depth) <= 1 - level.

    Vbar_d is the marginal upper-u quantile of V_d, with the largest u for which the joint probability holds. It also
    bounds the null items of a mixture: taking non-null items out of the order, or items that are no hits, only
    lowers V_d.

    Args:
      n: Training items, >= 0.
      m: Held-out items, >= 0; where m <= d there is no (d + 1)-th held-out item, and Vbar_d = n.

    Source:
      Song, Jin and Candes 2026, arXiv 2605.20726; Ebadi et al. 2023, arXiv 2302.11837. Differs: the joint law is
      summed exactly where they sample it, and u is the conservative value, not a random one between its neighbours.
    """
    last = min(depth, m - 1)
    if n == 0 or last < 0:
        return (n,) * (depth + 1)
    low, high = np.log((1.0 - level) / (last + 1)), np.log(1.0 - level)  # Bonferroni holds; more than 1 - level cannot
    bounds = _quantiles(n, m, last, high)
    if crossing_probability(n, m, bounds) > 1.0 - level:
        bounds = _quantiles(n, m, last, low)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2.0
            tried = _quantiles(n, m, last, middle)
            if crossing_probability(n, m, tried) <= 1.0 - level:
                low, bounds = middle, tried
            else:
                high = middle
    return (*map(int, bounds), *((n,) * (depth - last)))


def crossing_probability(n: int, m: int, bounds: NDArray[np.int64]) -> float:
    """P(V_d > bounds[d] for any d) under random labels, for non-decreasing Int64[D + 1] bounds <= n and D < m.

    ``paths[v]`` counts the label orders up to the (d + 1)-th held-out item that have v training items before it and
    stayed within the bounds: each comes from any smaller v one depth earlier, hence a cumulative sum per depth.
    Relative accuracy about 1e-8 at n = m = 10^6 (log-gamma cancellation), 1e-12 for thousands.
    """
    last = len(bounds) - 1
    paths = np.ones(int(bounds[0]) + 1)
    for d in range(1, last + 1):
        paths = np.cumsum(np.pad(paths, (0, int(bounds[d]) + 1 - len(paths))))
    left = n - np.arange(int(bounds[last]) + 1)
    log_orders = np.log(paths) + _log_choose(left + m - last - 1, left)
    return float(-np.expm1(logsumexp(log_orders) - _log_choose(np.array(n + m), np.array(n))))


def exceedance(n: int, m: int, d: NDArray[np.int64], v: NDArray[np.int64]) -> NDArray[np.float64]:
    """log P(V_d >= v) elementwise: among the first v + d labels at most d are held-out (hypergeometric).

    Int64[K] d < m and v in 0..n; -inf for v > n.
    """
    held_out = np.arange(int(d.max()) + 1)
    drawn, terms = (v + d)[:, None], held_out[None, :]
    possible = (terms <= d[:, None]) & (drawn - terms <= n)
    training = np.where(possible, drawn - terms, 0)
    log_terms = _log_choose(np.full_like(terms, m), terms) + _log_choose(np.full_like(training, n), training)
    log_terms = np.where(possible, log_terms, -np.inf)
    inside = np.minimum(drawn[:, 0], n + m)
    log_tail: NDArray[np.float64] = logsumexp(log_terms, axis=1) - _log_choose(np.full_like(inside, n + m), inside)
    return np.where(v > n, -np.inf, np.minimum(log_tail, 0.0))


def _quantiles(n: int, m: int, last: int, log_u: float) -> NDArray[np.int64]:
    """Smallest v with P(V_d > v) <= u for d = 0..last, by bisection over 0..n for all depths together."""
    d = np.arange(last + 1)
    low, high = np.full(last + 1, -1), np.full(last + 1, n)  # P(V_d > low) > u >= P(V_d > high)
    while np.any(high - low > 1):
        middle = np.where(high - low > 1, (low + high) // 2, high)
        enough = exceedance(n, m, d, middle + 1) <= log_u
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return high


def _log_choose(total: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithm of the binomial coefficient, elementwise."""
    result: NDArray[np.float64] = gammaln(total + 1.0) - gammaln(chosen + 1.0) - gammaln(total - chosen + 1.0)
    return result
