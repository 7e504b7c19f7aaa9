"""Margins: is the generation nearer to this image than any other real image is?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from auditor.search.outside import NO_OTHER, Nearest, nearest_outside_group

__all__ = ["NO_OTHER", "Nearest", "examine_from_the_top", "nearest_outside_group"]

CHUNK_ROWS = 1_024
MOST_ROWS = 65_536  # a label-blind limit: items ranked below it are no hits, which can only cost power


def examine_from_the_top(
    items: int,
    nearest: Callable[[slice], NDArray[np.float64]],
    enough: Callable[[NDArray[np.float64]], bool],
    *,
    chunk_rows: int = CHUNK_ROWS,
    most_rows: int = MOST_ROWS,
) -> NDArray[np.float64]:
    """Similarity of the nearest other image, Float64[K], of the first K <= items.

    Args:
      items: How many there are, by falling score, ties in a label-blind order.
      nearest: The similarity of those in a slice of that order.
      enough: Asked after each chunk with what is known so far; True ends the search.
      most_rows: No more items than this are examined.
    """
    known = np.empty(0)
    for start in range(0, min(items, most_rows), chunk_rows):
        known = np.concatenate([known, nearest(slice(start, min(start + chunk_rows, most_rows, items)))])
        if enough(known):
            break
    return known
