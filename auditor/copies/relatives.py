"""Images that were dealt to training or held-out set as one, though they are no near-duplicates.

Relatives change sides together, so they are one coin: of a group of ten held-out relatives that a generation resembles,
all ten count or none. Only their best may compete.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from auditor.copies.groups import Groups
from auditor.copies.pool import Pool


def families(pool: Pool, groups: Groups, given: Sequence[str | None]) -> NDArray[np.int64]:
    """Int64[I], numbers that duplicate groups share where the split dealt images of theirs as one, on one side.

    Args:
      given: Per pool row, what the split dealt it with; None = nothing. Images of the two sides are never relatives: a
        name that stands on both was not what was dealt.
    """
    sided = [None if name is None else f"{side:d}{name}" for name, side in zip(given, pool.is_training, strict=True)]
    family = np.zeros(len(groups), np.int64)
    family[groups.group] = joined(groups.group, sided)  # a duplicate group lies in one component
    return family


def joined(duplicates: NDArray[np.int64], given: Sequence[str | None]) -> NDArray[np.int64]:
    """Int64[N] numbers that images share where they share either kind of group, or are linked through others that do.

    A split that deals images together which are not quite duplicates leaves the relatives of every held-out image on
    the held-out side. As a placebo query it would land on them, and never on a training image: an honest audit is then
    blocked the more surely the more images it has.

    Args:
      duplicates: Int64[N] duplicate group of each image.
      given: What the split dealt it with; None = nothing.
    """
    names = {
        name: place for place, name in enumerate(dict.fromkeys(filter(None, given)), duplicates.max(initial=-1) + 1)
    }
    listed = [(row, names[name]) for row, name in enumerate(given) if name]
    images = np.array([*range(len(duplicates)), *(row for row, _ in listed)], np.int64)
    groups = np.array([*duplicates, *(group for _, group in listed)], np.int64)
    nodes = len(duplicates) + groups.max(initial=-1) + 1  # images first, then what they belong to
    links = coo_matrix((np.ones(len(images)), (images, len(duplicates) + groups)), shape=(nodes, nodes))
    component: NDArray[np.int64] = connected_components(links, directed=False)[1][: len(duplicates)].astype(np.int64)
    return component
