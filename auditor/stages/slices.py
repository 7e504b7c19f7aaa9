"""Held-out slices, declared before anything is measured: competition, placebo, membership.

No held-out image serves two purposes, so that no check is judged on what another one was tuned on.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from auditor.errors import ConfigError
from auditor.probes import generator

LEAST_COMPETITORS = 50  # held-out images below which no copy decision is attempted
LEAST_PLACEBO = 50
LEAST_NONMEMBERS = 50


@dataclass(frozen=True)
class SliceSizes:
    """How many held-out images serve what."""

    competition: int
    placebo: int
    membership: int


@dataclass(frozen=True)
class HeldOut:
    """Ids of each slice, in the order of the held-out set."""

    competition: list[str]
    placebo: list[str]
    membership: list[str]


def slice_sizes(training: int, holdout: int, nonmembers: int | None) -> SliceSizes:
    """Sizes that ``holdout`` images are cut into.

    The placebo slice has as many images as there are training items, at least 50 and at most a twentieth of the
    held-out set; membership gets the ``nonmembers`` asked for, at most half; the competition gets the rest, since the
    floor n / (alpha (m + 1)) falls with every image it has.

    Args:
      training: Distinct training images.
      holdout: Distinct held-out images.
      nonmembers: How many membership asks for; None or 0 without membership.

    Raises:
      ConfigError: Too few held-out images for a competition of at least 50.
    """
    placebo = max(LEAST_PLACEBO, min(training, holdout // 20))
    membership = min(nonmembers or 0, holdout // 2)
    if membership < LEAST_NONMEMBERS:
        membership = 0
    competition = holdout - placebo - membership
    if competition < LEAST_COMPETITORS:
        needed, rest = 2 * (LEAST_COMPETITORS + LEAST_PLACEBO), holdout - LEAST_COMPETITORS - placebo
        remedy = "Give more held-out images of the same origin"
        remedy += f", or set membership.nonmembers to {rest} or fewer." if rest >= LEAST_NONMEMBERS else "."
        raise ConfigError("held-out images", holdout, f"at least {needed}", remedy)
    return SliceSizes(competition, placebo, membership)


def slice_holdout(ids: Sequence[str], groups: Sequence[Hashable], sizes: SliceSizes, seed: str) -> HeldOut:
    """Deal whole groups of repeated images at random: placebo first, then membership, the rest competes.

    Args:
      ids: Held-out ids, in the order of the set.
      groups: Which group each id belongs to; images of one group end up in one slice.
      sizes: Wanted sizes; a slice closes as soon as it has as many.
      seed: The audit's root seed.
    """
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    order = generator(seed, "held-out slices").permutation(len(members))
    dealt = list(members.values())
    slices: dict[str, list[int]] = {"placebo": [], "membership": [], "competition": []}
    for position in order:
        if len(slices["placebo"]) < sizes.placebo:
            name = "placebo"
        elif len(slices["membership"]) < sizes.membership:
            name = "membership"
        else:
            name = "competition"
        slices[name] += dealt[position]
    chosen = {name: [ids[row] for row in sorted(rows)] for name, rows in slices.items()}
    return HeldOut(**chosen)
