"""Where a generation lands: on a real image, or somewhere between several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.search.exact import nearest_neighbours
from auditor.search.outside import nearest_outside_group
from auditor.search.rows import Rows

NOWHERE = -1  # the item of a generation that lands on no real image


@dataclass(frozen=True)
class Landing:
    """Per generation, G rows; an item is a duplicate group of real images."""

    item: NDArray[np.int64]  # [G] group of the nearest pool row
    on_item: NDArray[np.bool_]  # [G] nearer to that row than any pool row outside its group is
    similarity: NDArray[np.float64]  # [G] to the nearest pool row
    row: NDArray[np.int64]  # [G] that row; of equally near ones the first

    @property
    def landed(self) -> NDArray[np.int64]:
        """Int64[G]: the item, or -1 where the generation lands on none."""
        return np.where(self.on_item, self.item, NOWHERE)


def land(generations: NDArray[np.float32], pool: Rows, group: NDArray[np.int64]) -> Landing:
    """The real image that each generation is nearest to, and whether it lands on it.

    A generation lands if it is nearer to the image than any other real image is, duplicates of it aside: the
    per-image floor that tells a copy from a look-alike where no threshold can. It knows no labels. Everything is exact
    and decided in float64; only rows that are somebody's nearest are searched for theirs.

    Args:
      generations: Unit vectors Float32[G D]; G = 0 gives empty results.
      pool: Unit vectors Float32[N D] of all real images, training and held-out; an ``np.memmap`` or shards.
      group: Int64[N] duplicate group of each pool row, numbered from 0.
    """
    found = nearest_neighbours(generations, pool, 1)
    similarity, row = found.similarity[:, 0], found.index[:, 0]
    distinct, position = np.unique(row, return_inverse=True)
    other = nearest_outside_group(distinct, pool, group).similarity[position]
    return Landing(group[row], similarity > other, similarity, row)


def item_of(generations: NDArray[np.float32], rows: Rows, group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Int64[G]: the group of each generation's nearest row; for a memorizer, whose samples are its points.

    Args:
      generations: Unit vectors Float32[G D].
      rows: Unit vectors Float32[n D] of the memorizer's own points only.
      group: Int64[n] duplicate group of each of them, in the whole pool's numbering.
    """
    return group[nearest_neighbours(generations, rows, 1).index[:, 0]]
