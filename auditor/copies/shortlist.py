"""Which real pictures are worth a closer look for each generation: the nearest few, whatever their labels.

Pixels are compared for these pairs alone, so that the cost grows with the generations and not with the training set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.compete import Contest, compete
from auditor.copies.groups import GroupClass, Groups
from auditor.copies.pool import Pool
from auditor.copies.queries import Queries
from auditor.encoders.views import IDENTITY, MIRROR
from auditor.search.exact import nearest_neighbours

CANDIDATES = 8  # pictures of different duplicate groups per generation
NEIGHBOURS = 32  # looked through to find them

PixelsOf = Callable[[NDArray[np.int64]], NDArray[np.uint8]]  # rows Int64[Q] to their pictures UInt8[Q C H W]


@dataclass(frozen=True)
class Pairs:
    """Generations beside real pictures: P pairs, those of one generation together, the nearest first."""

    generation: NDArray[np.int64]  # [P]
    row: NDArray[np.int64]  # [P] pool row, one per duplicate group and generation
    group: NDArray[np.int64]  # [P] duplicate group of that row
    both_ways: bool  # whether to look at generations in the mirror, too: an encoder need not know left from right

    def __len__(self) -> int:
        return len(self.generation)


@dataclass(frozen=True)
class Closest:
    """What a closer look gave each item; arrays have length I."""

    score: NDArray[np.float64]  # by how much its best pair beats what the generation has without it; -inf = never
    pair: NDArray[np.int64]  # that pair, -1 = never

    def contest(self, groups: Groups, competes: NDArray[np.bool_], alpha: float, level: float) -> Contest:
        """Training against held-out items on these scores; a hit has a positive one."""
        is_training = (groups.kind == GroupClass.TRAINING)[competes]
        score = np.where(np.isfinite(self.score), self.score, -1.0)[competes]
        return compete(score, score > 0, is_training, alpha=alpha, level=level)


def shortlist(pool: Pool, groups: Groups, generations: Queries, candidates: int = CANDIDATES) -> Pairs:
    """The nearest pictures of every generation, as it is or mirrored, training and held-out alike.

    Where the views of ``generations`` hold no mirror, only the picture as it is counts; windows never do, since a
    closer look has its own scales.
    """
    looked_at = [number for number, name in enumerate(generations.views) if name in (IDENTITY, MIRROR)]
    count = generations.generations
    vectors = np.concatenate([generations.vectors[number * count : (number + 1) * count] for number in looked_at])
    nearest = nearest_neighbours(vectors, pool.embeddings, NEIGHBOURS)
    depth = nearest.index.shape[1]
    generation = np.repeat(np.tile(np.arange(count), len(looked_at)), depth)
    row, similarity = nearest.index.ravel(), nearest.similarity.ravel()
    group = groups.group[row]
    order = np.lexsort((row, -similarity, generation))
    order = order[_first_of(generation[order] * len(groups) + group[order])]
    place = np.arange(len(order)) - np.searchsorted(generation[order], generation[order])
    kept = order[place < candidates]
    return Pairs(generation[kept], row[kept], group[kept], both_ways=len(looked_at) > 1)


def closest(pairs: Pairs, score: NDArray[np.float64], groups: Groups) -> Closest:
    """Each item's best pair; pairs with a score of -inf do not count.

    Args:
      score: Float64[P], a label-blind function of the pair and of the generation's other pairs.
    """
    order = np.lexsort((np.arange(len(pairs)), -score, pairs.group))
    order = order[np.isfinite(score[order])]
    first = order[_first_of(pairs.group[order])]
    best, pair = np.full(len(groups), -np.inf), np.full(len(groups), -1)
    best[pairs.group[first]], pair[pairs.group[first]] = score[first], first
    return Closest(best, pair)


def _first_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Int64[U], ascending: the first place of each distinct key."""
    return np.sort(np.unique(keys, return_index=True)[1])
