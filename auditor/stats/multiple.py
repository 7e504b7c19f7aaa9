"""Several tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


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
