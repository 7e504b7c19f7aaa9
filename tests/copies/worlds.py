"""Small worlds for the copy decision: a population of unit vectors, and generators that do or do not copy.

Vectors stand for embedded images: classes around centres, with spread that makes nearest neighbours about as similar as
those of small photographs. A generator here returns embeddings. Those that do not copy draw from the population or
from the pool without looking at labels, so training and held-out items are exchangeable by construction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditor.copies.compete import Contest, compete
from auditor.copies.groups import GroupClass, Groups, competing, duplicate_groups
from auditor.copies.items import score_items
from auditor.copies.margin import nearest_outside_group
from auditor.copies.pool import Pool

Vectors = NDArray[np.float32]
Generator = Callable[[np.random.Generator, Vectors, int], Vectors]  # (rng, pool, count)
DIM, CLASSES, SPREAD = 16, 12, 0.6
CENTRES = np.random.default_rng(0).standard_normal((CLASSES, DIM))


def unit(rows: NDArray[np.float64]) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def draw(rng: np.random.Generator, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(points, their class centres), Float64[count DIM] each."""
    centre = CENTRES[rng.integers(0, CLASSES, count)]
    return centre + SPREAD * rng.standard_normal((count, DIM)), centre


def population(rng: np.random.Generator, count: int) -> Vectors:
    return unit(draw(rng, count)[0])


def blurred(rng: np.random.Generator, pool: Vectors, count: int) -> Vectors:
    """Fresh points drawn half-way to their centre: closer to everything than a real image is."""
    points, centres = draw(rng, count)
    return unit((points + centres) / 2)


def sharpened(rng: np.random.Generator, pool: Vectors, count: int) -> Vectors:
    """Fresh points pushed away from their centre: farther from everything than a real image is."""
    points, centres = draw(rng, count)
    return unit(centres + 1.5 * (points - centres))


def hub_seeking(rng: np.random.Generator, pool: Vectors, count: int) -> Vectors:
    """Most generations sit on a handful of pool items, and most of those on one; which items, labels do not decide."""
    hubs = pool[rng.choice(len(pool), 8, replace=False)]
    weight = np.array([0.9, 0.04, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01])
    on_hub = hubs[rng.choice(8, count, p=weight)] + 0.02 * rng.standard_normal((count, DIM))
    fresh, _ = draw(rng, count)
    return unit(np.where(rng.random((count, 1)) < 0.6, on_hub, fresh / np.linalg.norm(fresh, axis=1, keepdims=True)))


NULL_GENERATORS: dict[str, Generator] = {"blurred": blurred, "sharpened": sharpened, "hub-seeking": hub_seeking}


def copies_of(rng: np.random.Generator, originals: Vectors, noise: float) -> Vectors:
    return unit(originals + noise * rng.standard_normal(originals.shape))


class Arena:
    """A pool of distinct images whose nearest neighbours are computed once, so that relabelling it is cheap."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.pool = population(rng, size)
        alone = np.arange(size)
        self.nearest_other = nearest_outside_group(alone, self.pool, alone).similarity

    def score(self, generations: Vectors) -> NDArray[np.float64]:
        """S_i of every item."""
        return (self.pool @ generations.T).max(axis=1).astype(np.float64)

    def contest(self, score: NDArray[np.float64], is_training: NDArray[np.bool_], alpha: float = 0.1) -> Contest:
        return compete(score, score > self.nearest_other, is_training, alpha=alpha)


def labels(rng: np.random.Generator, size: int, n: int) -> NDArray[np.bool_]:
    """A random split: n training items among ``size``."""
    is_training = np.zeros(size, np.bool_)
    is_training[rng.choice(size, n, replace=False)] = True
    return is_training


def pool_of(vectors: Vectors, is_training: NDArray[np.bool_], digest: NDArray[np.int64] | None = None) -> Pool:
    """A pool with its training rows first; ids are the rows' numbers in ``vectors``."""
    order = np.argsort(~is_training, kind="stable")
    digest = np.arange(len(vectors)) if digest is None else digest
    return Pool(np.ascontiguousarray(vectors[order]), [str(i) for i in order], is_training[order], digest[order])


def full_contest(
    pool: Pool, generations: Vectors, threshold: float, split: str, everything: Pool | None = None
) -> Contest:
    """The decision's own path from groups to competition."""
    groups = duplicate_groups(everything or pool, threshold, rows=len(pool.ids))
    competes = competing(groups, split)
    items = score_items(pool, groups, generations, competes, alpha=0.1)
    is_training = (groups.kind == GroupClass.TRAINING)[competes]
    return compete(items.score[competes], items.is_hit[competes], is_training)


class GroupedArena:
    """A pool of tight groups of ``size`` look-alikes and of single images, cheap to relabel."""

    threshold = 0.9995

    def __init__(self, rng: np.random.Generator, groups: int, size: int, singles: int) -> None:
        self.cluster = np.concatenate([np.repeat(np.arange(groups), size), groups + np.arange(singles)])
        centres = population(rng, groups + singles)
        self.vectors = unit(centres[self.cluster] + 0.002 * rng.standard_normal((len(self.cluster), DIM)))
        everyone = np.arange(len(self.cluster))
        pool = pool_of(self.vectors, np.ones(len(everyone), np.bool_))
        self.groups = duplicate_groups(pool, self.threshold)
        self.nearest_other = nearest_outside_group(everyone, self.vectors, self.groups.group).similarity

    def contest(
        self, generations: Vectors, is_training: NDArray[np.bool_], rule: Callable[[Groups], NDArray[np.bool_]]
    ) -> Contest:
        """As :func:`full_contest`, for the groups that ``rule`` lets compete."""
        training = np.bincount(self.groups.group, weights=is_training)
        kind = np.where(training == 0, GroupClass.HELD_OUT, GroupClass.MIXED)
        kind[training == self.groups.images] = GroupClass.TRAINING
        competes = rule(replace(self.groups, kind=kind))
        score = (self.vectors @ generations.T).max(axis=1)
        order = np.lexsort((-score, self.groups.group))
        row = order[np.unique(self.groups.group[order], return_index=True)[1]]
        is_hit = score[row] > self.nearest_other[row]
        return compete(
            score[row][competes].astype(np.float64), is_hit[competes], (kind == GroupClass.TRAINING)[competes]
        )
