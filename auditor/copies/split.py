"""A held-out set that makes the copy test exact: whole duplicate groups dealt at random, before training."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from auditor.errors import ConfigError
from auditor.probes import generator


class TrainHoldout(NamedTuple):
    """Ids of both sides, each in the order given."""

    train: list[str]
    holdout: list[str]


def group_split(
    ids: Sequence[str],
    groups: Sequence[Hashable],
    *,
    seed: str,
    holdout_fraction: float | None = None,
    holdout_count: int | None = None,
) -> TrainHoldout:
    """A simple random sample of duplicate groups as held-out set, the rest for training.

    The number of *groups* is fixed, not that of images, so that every set of so many groups is equally likely: the
    groups' labels are exchangeable exactly, whatever their sizes. The number of images then varies a little.

    Args:
      ids: One per image.
      groups: The duplicate group of each image, such as ``Groups.group`` of the copy test.
      seed: Written down with the split; the same seed gives the same split.
      holdout_fraction: Share of groups to hold out, in (0, 1); or
      holdout_count: images to hold out, on average.

    Raises:
      ConfigError: Neither or both sizes given, or one side would be empty.
    """
    if (holdout_fraction is None) == (holdout_count is None):
        raise ConfigError("held-out size", "neither or both", "a fraction or a count", "Give exactly one.")
    share = holdout_fraction if holdout_fraction is not None else (holdout_count or 0) / max(len(ids), 1)
    distinct = list(dict.fromkeys(groups))
    taken = round(share * len(distinct))
    if not 0 < taken < len(distinct):
        expected = f"between 1 and {len(distinct) - 1} of {len(distinct)} groups"
        raise ConfigError("held-out size", f"{taken} groups", expected, "Change the size, or give more images.")
    order = generator(seed, "group split").permutation(len(distinct))
    held = {distinct[position] for position in order[:taken]}
    train = [identity for identity, group in zip(ids, groups, strict=True) if group not in held]
    holdout = [identity for identity, group in zip(ids, groups, strict=True) if group in held]
    return TrainHoldout(train, holdout)
