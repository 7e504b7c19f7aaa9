"""Which images stand on the two sides of a membership test, and what can be seen of them without the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.groups import duplicate_groups
from auditor.copies.pool import Pool
from auditor.data import pixels_of
from auditor.search.exact import nearest_neighbours
from auditor.stages.embed import Embedded
from auditor.stages.inputs import Images, Inputs
from auditor.stages.membership.scores import PART
from auditor.stages.pool import digests_of, rows_of
from auditor.store.membership import MixedGroup
from auditor.validity.image_statistics import image_statistics, level_shares


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


@dataclass(frozen=True)
class Standing:
    """Who stands on either side, each image a unit of its own, and who was left out for standing on both."""

    members: list[str]
    nonmembers: list[str]
    mixed: list[MixedGroup]


def stand(
    inputs: Inputs, embedded: Embedded, members: Sequence[str], nonmembers: Sequence[str], threshold: float
) -> Standing:
    """Of each group of near-duplicates one image a side; none where the group lies on both.

    "Both" is asked of the whole sets, not of the images drawn from them: a non-member that repeats any training image
    was trained on as good as those are, and a member that repeats any held-out image is left out alike, for else what
    is common would stand among members alone. Both sets stream through an exact search, so that memory does not grow
    with them.

    Args:
      embedded: An encoder's vectors, whose similarities say which images are near-duplicates.
      members: Distinct training images of which no exact repeat is held out.
      nonmembers: Held-out images; exact repeats count once.
      threshold: Least similarity of near-duplicates.
    """
    trained = {digest: name for name, digest in reversed(inputs.train.digests.items())}
    different = distinct(inputs.holdout, nonmembers)
    repeated = [name for name in different if inputs.holdout.digests[name] in trained]
    others = [name for name in different if inputs.holdout.digests[name] not in trained]
    group = group_images(inputs, embedded, list(members), others, threshold)
    ours, theirs = group[: len(members)], group[len(members) :]
    near_ours = near(inputs.train, embedded.train, members, inputs.holdout, embedded.holdout, threshold)
    near_theirs = near(inputs.holdout, embedded.holdout, others, inputs.train, embedded.train, threshold)
    beyond = [ours[[name in near_ours for name in members]], theirs[[name in near_theirs for name in others]]]
    both = np.unique(np.concatenate([np.intersect1d(ours, theirs), *beyond]))
    mixed = [
        mixed_group(
            [members[row] for row in np.flatnonzero(ours == number).tolist()],
            [others[row] for row in np.flatnonzero(theirs == number).tolist()],
            near_ours,
            near_theirs,
        )
        for number in both
    ]
    exact = [MixedGroup(members=[trained[inputs.holdout.digests[name]]], nonmembers=[name]) for name in repeated]
    return Standing(units(members, ours, both), units(others, theirs, both), exact + mixed)


def near(
    images: Images,
    vectors: NDArray[np.float32],
    ids: Sequence[str],
    others: Images,
    other_vectors: NDArray[np.float32],
    threshold: float,
) -> dict[str, str]:
    """Of the named images those with a near-duplicate anywhere in another set, each with its nearest one there.

    Args:
      images: The set of the named ones; ``vectors`` are of all its images, unit vectors Float32[N D].
      others: The other set; ``other_vectors`` of all its images, Float32[M D], stream through.
      threshold: Least similarity of near-duplicates.
    """
    if len(ids) == 0:
        return {}
    found = nearest_neighbours(np.asarray(vectors[rows_of(images, ids)]), other_vectors, 1)
    names = list(others.digests)
    rows = np.flatnonzero(found.similarity[:, 0] >= threshold).tolist()
    return {ids[row]: names[found.index[row, 0]] for row in rows}


def mixed_group(
    members: list[str], nonmembers: list[str], near_ours: Mapping[str, str], near_theirs: Mapping[str, str]
) -> MixedGroup:
    """A group on both sides: its drawn images, and beyond them the nearest of each on the other side."""
    further_members = [near_theirs[name] for name in nonmembers if name in near_theirs]
    further_nonmembers = [near_ours[name] for name in members if name in near_ours]
    return MixedGroup(
        members=list(dict.fromkeys([*members, *further_members])),
        nonmembers=list(dict.fromkeys([*nonmembers, *further_nonmembers])),
    )


def units(ids: Sequence[str], own: NDArray[np.int64], others: NDArray[np.int64]) -> list[str]:
    """The first id of each of a side's groups ``own``, but for groups that the other side has, too."""
    first = np.zeros(len(ids), np.bool_)
    first[np.unique(own, return_index=True)[1]] = True
    return [ids[row] for row in np.flatnonzero(first & ~np.isin(own, others)).tolist()]


def statistics_of(*sides: tuple[Images, Sequence[str]], levels: bool = False) -> NDArray[np.float32]:
    """What the blind classifier sees of the named images of each side, in their order, Float32[M + N D].

    Args:
      sides: Images with the ids of one side each.
      levels: Whether the share of every grey level stands after the statistics (256 columns more).
    """
    blocks = []
    for images, ids in sides:
        for start in range(0, len(ids), PART):
            pixels = pixels_of(images.source, ids[start : start + PART])
            seen = [image_statistics(pixels), level_shares(pixels)] if levels else [image_statistics(pixels)]
            blocks.append(np.concatenate(seen, axis=1))
    return np.concatenate(blocks)
