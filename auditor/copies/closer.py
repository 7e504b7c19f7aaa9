"""A closer look at shortlisted pairs: parts and blends, each decided by a competition of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.blends import Blends, blends
from auditor.copies.compete import Contest
from auditor.copies.parts import Alignments, align, excess
from auditor.copies.pool import Pool
from auditor.copies.queries import Queries
from auditor.copies.shortlist import Closest, Pairs, PixelsOf, closest, shortlist
from auditor.copies.summary import Measured

Align = Callable[[Pairs], Alignments]
Blend = Callable[[Pairs], Blends]


@dataclass(frozen=True)
class CloserLook:
    """All that was found about the shortlisted pairs; ``parts`` are None where pictures are too small for any."""

    pairs: Pairs
    blends: Blends
    blended: Closest
    blend_contest: Contest  # over the competing items, in item order
    alignments: Alignments | None = None
    parts: Closest | None = None
    part_contest: Contest | None = None

    def pair_of(self, generation: int, group: int) -> int:
        """The pair of a generation and a duplicate group; -1 where it was not shortlisted."""
        start, end = np.searchsorted(self.pairs.generation, [generation, generation + 1])
        place = np.flatnonzero(self.pairs.group[start:end] == group)
        return int(start + place[0]) if len(place) else -1


def look_closer(
    pool: Pool,
    found: Measured,
    generations: Queries,
    *,
    align: Align | None,
    blend: Blend,
    alpha: float = 0.10,
    level: float = 0.95,
) -> CloserLook:
    """Which training images the generations repeat in part, or blend with another.

    Each competition keeps its own false discovery rate; neither enters the decision about whole images.

    Args:
      found: Duplicate groups and competing items, as the decision about whole images found them.
      align: :func:`auditor.copies.parts.align` on the pictures; None = too small.
      blend: :func:`auditor.copies.blends.blends` on the pictures.
    """
    groups, competes = found.groups, found.competes
    pairs = shortlist(pool, groups, generations)
    mixed = blend(pairs)
    blended = closest(pairs, mixed.score, groups)
    contest = blended.contest(groups, competes, alpha, level)
    if align is None:
        return CloserLook(pairs, mixed, blended, contest)
    aligned = align(pairs)
    parts = closest(pairs, excess(pairs, aligned.size), groups)
    return CloserLook(pairs, mixed, blended, contest, aligned, parts, parts.contest(groups, competes, alpha, level))


def on_pixels(generations: PixelsOf, pool: PixelsOf) -> tuple[Align, Blend]:
    """Both closer looks at pictures that are read when they are asked for."""
    return (
        lambda pairs: align(pairs, generations, pool),
        lambda pairs: blends(pairs, generations, pool),
    )


def certified_items(contest: Contest, competes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bool[I]: items that a contest certifies."""
    certified = np.zeros(len(competes), np.bool_)
    certified[competes] = contest.certified
    return certified
