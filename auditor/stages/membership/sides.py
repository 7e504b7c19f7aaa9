"""Which images stand on the two sides of a membership test, and what can be seen of them without the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.copies.groups import duplicate_groups
from auditor.copies.pool import Pool
from auditor.data import pixels_of
from auditor.stages.embed import Embedded
from auditor.stages.inputs import Images, Inputs
from auditor.stages.membership.scores import PART
from auditor.stages.pool import digests_of, rows_of
from auditor.validity.image_statistics import image_statistics


def distinct(images: Images, ids: Sequence[str]) -> list[str]:
    """The ids without exact repeats of an earlier one."""
    first = {images.digests[name]: name for name in reversed(ids)}
    return [name for name in ids if first[images.digests[name]] == name]


def group_images(
    inputs: Inputs, embedded: Embedded, members: list[str], nonmembers: list[str], threshold: float
) -> NDArray[np.int64]:
    """Duplicate group of every member and non-member, Int64[M + N]."""
    rows = rows_of(inputs.train, members), rows_of(inputs.holdout, nonmembers)
    vectors = np.concatenate([embedded.train[rows[0]], embedded.holdout[rows[1]]])
    digests = np.concatenate([digests_of(inputs.train)[rows[0]], digests_of(inputs.holdout)[rows[1]]])
    is_member = np.arange(len(vectors)) < len(members)
    return duplicate_groups(Pool(vectors, [*members, *nonmembers], is_member, digests), threshold).group


def statistics_of(*sides: tuple[Images, Sequence[str]]) -> NDArray[np.float32]:
    """What the blind classifier sees of the named images of each side, in their order, Float32[M + N D]."""
    blocks = []
    for images, ids in sides:
        for start in range(0, len(ids), PART):
            blocks.append(image_statistics(pixels_of(images.source, ids[start : start + PART])))
    return np.concatenate(blocks)
