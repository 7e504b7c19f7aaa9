"""Duplicate groups of real images, found without looking at who was trained on.

Images that are as near to each other as a planted copy is to its original are one thing: a copy of one is a copy of
all. Leader clustering: in an order given by pixel digests alone, an image joins the first leader it resembles, or
becomes a leader. So every member resembles its leader (no chains: single linkage percolates), the result depends
neither on labels nor on the order of the pool, and equal pixels share a group whatever the encoder says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from auditor.copies.pool import Pool
from auditor.search.exact import pairs_above

PAIRS_PER_IMAGE = 64  # more similar pairs than this mean that look-alikes percolate; also bounds the memory
OVERSIZE_SHARE = 0.01  # of the distinct images; a group beyond it is reported to be looked at
OVERSIZE_LEAST = 10


class GroupClass(IntEnum):
    """Whose images a duplicate group holds."""

    TRAINING = 0
    HELD_OUT = 1
    MIXED = 2


@dataclass(frozen=True)
class Groups:
    """A partition of the pool into I duplicate groups, numbered in label-blind order.

    What a group holds counts rows beyond the pool too, where held-out images were set aside for other purposes.
    """

    group: NDArray[np.int64]  # [N] group of each pool row
    images: NDArray[np.int64]  # [I] rows, repeats included
    distinct: NDArray[np.int64]  # [I] images with different pixels
    kind: NDArray[np.int64]  # [I] GroupClass
    percolated: bool  # look-alikes are so many that only equal pixels were grouped

    def __len__(self) -> int:
        return len(self.images)

    def notes(self) -> list[str]:
        """Sentences about groups that someone should look at; often empty."""
        notes = []
        if self.percolated:
            notes.append(
                f"More than {PAIRS_PER_IMAGE} pairs per image are as similar as planted copies are to their originals: "
                "the encoder does not separate these images, and only equal pixels were grouped."
            )
        limit = max(OVERSIZE_LEAST, OVERSIZE_SHARE * self.distinct.sum())
        for sizes, what in ((self.distinct, "different images"), (self.images, "images")):
            many = int((sizes > limit).sum())
            if many == 1:
                notes.append(f"One duplicate group holds {sizes.max():,} {what}, over 1% of the pool: look at it.")
            elif many:
                largest = f"the largest {sizes.max():,} {what}"
                notes.append(f"{many:,} duplicate groups hold over 1% of the pool each, {largest}: look at them.")
            if many:
                break
        return notes


def duplicate_groups(pool: Pool, threshold: float, *, rows: int | None = None) -> Groups:
    """The pool's duplicate groups at a similarity threshold, label-blind.

    Args:
      pool: Streams through once against itself; of its pairs at most 64 per image are kept.
      threshold: Least similarity of a duplicate; the planted copies' 5th percentile.
      rows: Groups of the first so many rows only; the rows after them still count as members. An image that looks
        single because its duplicate was set aside is not single: whole held-out groups are set aside together, so
        only training images would gain from forgetting the other half.
    """
    _, first, distinct_of = np.unique(pool.pixel_digest, return_index=True, return_inverse=True)
    # np.unique sorts by digest, so a distinct image's number is its rank in the label-blind order
    pairs = _similar_pairs(pool, threshold, first, distinct_of)
    leader = _lead(len(first), pairs) if pairs is not None else np.arange(len(first))
    _, numbered = np.unique(leader, return_inverse=True)
    group = numbered[distinct_of]
    images = np.bincount(group)
    training = np.bincount(group, weights=pool.is_training).astype(np.int64)
    kind = np.where(training == images, GroupClass.TRAINING, GroupClass.MIXED)
    kind[training == 0] = GroupClass.HELD_OUT
    kept, group = np.unique(group[:rows], return_inverse=True)
    return Groups(group, images[kept], np.bincount(numbered)[kept], kind[kept], percolated=pairs is None)


def _similar_pairs(
    pool: Pool, threshold: float, first: NDArray[np.int64], rank: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Int64[E 2] ranks (earlier, later) of similar distinct images, or None once there are too many."""
    stands_for_itself = np.zeros(len(rank), np.bool_)
    stands_for_itself[first] = True  # of equal pixels only the first row counts
    found, total = [np.empty((0, 2), np.int64)], 0
    for rows, cols in pairs_above(pool.embeddings, threshold):
        keep = stands_for_itself[rows] & stands_for_itself[cols]
        pairs = np.stack([rank[rows[keep]], rank[cols[keep]]], axis=1)
        found.append(np.sort(pairs, axis=1))
        total += len(pairs)
        if total > PAIRS_PER_IMAGE * len(first):
            return None
    return np.concatenate(found)


def _lead(images: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Leader of each image, Int64[images]: the earliest leader that it is paired with, else itself."""
    leader = np.arange(images)
    for earlier, later in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]:
        # all pairs of smaller `later` are done, so whether `earlier` leads is settled
        if leader[later] == later and leader[earlier] == earlier:
            leader[later] = earlier
    return leader


def competing(groups: Groups, split: str) -> NDArray[np.bool_]:
    """Which groups compete, Bool[I]: those that a split at random put on one side as one unit.

    ``"group"``: every pure group, as one item. But if any group is mixed, the split's units were finer than these
    groups, and a pure group of k of them would be training with odds (n/m)^k; then only groups of one distinct image
    compete, which no split by group can have cut. ``"image"``, ``"unknown"``: single images only, for the same reason.
    """
    pure: NDArray[np.bool_] = groups.kind != GroupClass.MIXED
    if split != "group":
        single: NDArray[np.bool_] = groups.images == 1
        return single
    return pure if pure.all() else pure & (groups.distinct == 1)
