"""Several tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Adjusted p-values, Float64[K] in the order given: rejecting those <= a errs anywhere with probability <= a.

    Valid under any dependence between the tests. Empty in, empty out.

    Source:
      Holm 1979, Scandinavian Journal of Statistics 6: the k-th smallest of K is multiplied by K - k + 1, and may not
      fall below the one before it.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """q-values, Float64[K] in the order given: the false discovery rate at which each would be called.

    Calling those with q <= a keeps the expected share of false ones at a for p-values that are independent, or
    positively dependent as conformal ones against one set of references are (Bates et al. 2023, arXiv 2104.08279,
    theorem 2). Empty in, empty out.

    Source:
      Benjamini and Hochberg 1995, Journal of the Royal Statistical Society B 57: K p_(k) / k, minimum from above.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return np.minimum(q, 1.0)
