"""Parts: what a generation repeats of a training picture, though the whole is another one.

A pair's size is the share of the generation's patches that repeat the picture in one placement (see alignment.py). An
item's score is by how much its size beats that of any other real picture in the same generation, so that what many
pictures share (a frame, a horizon, a letter) counts for none of them; training and held-out items compete on it.

Two looks make a size: a fine one for what is repeated as large as it was, and a coarse one at several scales, for
crops. Small patches at many scales agree by chance more easily, a tenth of them in the best of a few real pictures; so
much is taken off, that the coarse look does not drown the fine one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.alignment import Patches, Raster, painted, place, rasters
from auditor.copies.shortlist import Pairs, PixelsOf
from auditor.encoders.views import IDENTITY, MIRROR, view

COARSE = Raster(side=32, patch=8, stride=4, scales=(0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0))
FINE = Raster(side=48, patch=12, stride=4, scales=(1.0,))
BY_CHANCE = {COARSE: 0.1, FINE: 0.0}
LEAST_SIDE = 32  # pixels: a smaller picture has too little in a patch
LEAST_SIZE = 0.04  # share of the patches from which on something is repeated at all
MASK = 16  # pixels a side of the mask that is kept
ROWS = 128  # pictures read at a time
GENERATIONS = 512


@dataclass(frozen=True)
class Alignments:
    """How each pair's picture lies in its generation; P rows."""

    size: NDArray[np.float64]  # [P] share of the patches
    mirrored: NDArray[np.bool_]  # [P] more of them in the mirror; what follows is of the generation so turned
    scale: NDArray[np.float64]  # [P] the picture enlarged by so much looks as it does in the generation
    covered: NDArray[np.float64]  # [P] share of the patches with contrast that repeat the picture
    mask: NDArray[np.bool_]  # [P MASK MASK] where they lie

    def put(self, where: NDArray[np.int64], patches: Patches, picture: NDArray[np.float32], ways: int) -> None:
        """Enter one picture's placements in the generations of the pairs ``where``, wherever they are larger.

        Args:
          patches: Of those generations as they are, and then, if ``ways`` is 2, of the same in the mirror.
        """
        placed, raster = place(patches, picture), patches.raster
        size = np.maximum(placed.score - BY_CHANCE[raster], 0).reshape(ways, -1)
        best = size.argmax(axis=0)
        for column in np.flatnonzero(size.max(axis=0) > self.size[where]):
            pair, way, row = where[column], best[column], best[column] * len(where) + column
            self.size[pair], self.mirrored[pair], self.scale[pair] = size[way, column], way == 1, placed.scale[row]
            self.covered[pair] = placed.found[row].sum() / max(int(patches.informative[row].sum()), 1)
            step = raster.side // MASK
            self.mask[pair] = painted(raster, placed.found[row])[step // 2 :: step, step // 2 :: step]


def align(pairs: Pairs, generations: PixelsOf, pool: PixelsOf) -> Alignments:
    """Every pair's best placement, as it is or in the mirror.

    Args:
      generations: Pixels of generations by number.
      pool: Pixels of pool rows, asked for at most 128 at a time.

    Generations go through 512 at a time, for their patches take 0.4 MB each.
    """
    count = len(pairs)
    found = Alignments(
        np.full(count, -1.0), np.zeros(count, np.bool_), np.ones(count), np.zeros(count),
        np.zeros((count, MASK, MASK), np.bool_),
    )  # fmt: skip
    asked = np.unique(pairs.generation)
    for start in range(0, len(asked), GENERATIONS):
        block = asked[start : start + GENERATIONS]
        which = np.flatnonzero(np.isin(pairs.generation, block))
        position = np.searchsorted(block, pairs.generation)
        pixels = np.concatenate([generations(block[at : at + ROWS]) for at in range(0, len(block), ROWS)])
        ways = [view(pixels, name) for name in (IDENTITY, MIRROR)[: 1 + pairs.both_ways]]
        for raster in (FINE, COARSE):
            patches = Patches(raster, np.concatenate([rasters(turned, raster.side) for turned in ways]))
            for row, picture in _pictures(pairs.row[which], pool, 2 * raster.side):
                where = which[pairs.row[which] == row]
                asked_for = np.concatenate([position[where] + way * len(block) for way in range(len(ways))])
                found.put(where, patches.only(asked_for), picture, len(ways))
    return found


def excess(pairs: Pairs, size: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much each pair's size beats the best of its generation's other pairs; -inf for all but the best.

    A generation's pairs are of different duplicate groups, so its second best is another picture's.
    """
    result = np.full(len(pairs), -np.inf)
    order = np.lexsort((-size, pairs.generation))
    first = np.flatnonzero(np.r_[True, np.diff(pairs.generation[order]) > 0]) if len(order) else order
    best, second = order[first], np.zeros(len(first))
    follows = np.minimum(first + 1, len(order) - 1)
    same = (pairs.generation[order[follows]] == pairs.generation[best]) & (follows > first)
    second[same] = size[order[follows[same]]]
    enough = size[best] >= LEAST_SIZE
    result[best[enough]] = (size[best] - second)[enough]
    return result


def _pictures(rows: NDArray[np.int64], pool: PixelsOf, side: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(pool row, raster Float32[C side side]) of every distinct row."""
    distinct = np.unique(rows)
    for start in range(0, len(distinct), ROWS):
        block = distinct[start : start + ROWS]
        yield from zip(block.tolist(), rasters(pool(block), side), strict=True)
